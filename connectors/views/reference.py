"""The units in which a view shows prices, quantities and money.

A symbol's tick, lot and currency, and a currency's exponent, never change once they are defined: what was
learnt once stays right, wherever it came from.
"""

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from connectors.decimals import Grid, Units
from schemas.reference import Instrument

_NS: Final = 10**9
_AVERAGE_PLACES: Final = 4  # of an average price, beyond the instrument's own
_E9: Final = Grid(1, "billionth")
_MINOR_UNITS: Final = Grid(1, "minor unit", 0)


class UnitsUnknownError(LookupError):
    """An instrument, or else a currency, that has not been learnt yet."""

    def __init__(self, instrument: str | None, currency: str | None = None) -> None:
        super().__init__(instrument or currency)
        self.instrument, self.currency = instrument, currency


class Reference(Units):
    """Units that are never guessed: what has not been learnt raises UnitsUnknownError."""

    def __init__(self) -> None:
        """Knows none."""
        super().__init__()
        self._instruments: dict[str, Instrument] = {}
        self._currencies: set[str] = set()
        self._unnamed: set[str] = set()

    def define(self, instrument: Instrument) -> None:
        """Learns an instrument and its currency."""
        super().define(instrument)
        self._currencies.add(instrument.currency)
        self._instruments[instrument.symbol] = instrument

    def count_in_minor(self, currency: str) -> None:
        """Learns that no instrument names a currency: until one does, its amounts are minor units."""
        self._unnamed.add(currency)

    def knows(self, unknown: UnitsUnknownError) -> bool:
        """Whether that has been learnt since."""
        return unknown.instrument in self._instruments or unknown.currency in self._currencies

    def instrument(self, symbol: str) -> Instrument:
        """A definition, whose unchangeable fields can be relied on."""
        if symbol not in self._instruments:
            raise UnitsUnknownError(symbol)
        return self._instruments[symbol]

    def of(self, instrument: str) -> tuple[Grid, Grid]:
        """The grids of an instrument's prices and quantities."""
        return super().of(self.instrument(instrument).symbol)

    def money(self, currency: str) -> Grid:
        """The grid of a currency's amounts."""
        if currency in self._currencies:
            return super().money(currency)
        if currency not in self._unnamed:
            raise UnitsUnknownError(None, currency)
        return _MINOR_UNITS


def price(grid: Grid, ticks: int | None) -> str | None:
    """A price that may be missing."""
    return None if ticks is None else grid.format(ticks)


def e9(steps_e9: int) -> str:
    """A tick or lot size."""
    return _E9.format(steps_e9)


def average(grid: Grid, cost_minor: int, quantity_lots: int, minor_per_tick_lot: int) -> str | None:
    """The price at which a position was opened, rounded half to even some places beyond its instrument's."""
    if not quantity_lots:
        return None
    tick = Decimal(grid.format(1))
    exact = tick * cost_minor / (quantity_lots * minor_per_tick_lot)
    rounded = exact.quantize(Decimal(1).scaleb(-grid.places - _AVERAGE_PLACES), ROUND_HALF_EVEN)
    return f"{rounded.normalize():f}"


def moment(at_ns: int) -> str:
    """A time in ISO 8601, UTC, to the nanosecond."""
    seconds, rest = divmod(at_ns, _NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
