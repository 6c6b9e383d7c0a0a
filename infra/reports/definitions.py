"""Reference data of a report: units that turn integers into decimals, and what accounts were set to."""

import msgspec

from connectors.decimals import Grid
from infra.reports.notes import Notes
from infra.reports.rows import Rows
from schemas.flat import FlatReference
from schemas.reference import Account, Instrument

_UNDEFINED = "the source does not define"


class Definitions:
    """What is defined in the source; what is not is noted when it is asked for."""

    def __init__(self, rows: Rows, notes: Notes) -> None:
        """Reads them all: a definition is small."""
        self._notes = notes
        self.instruments: dict[str, Instrument] = {}
        self.accounts: dict[str, tuple[Account, int]] = {}
        self._prices: dict[str, Grid] = {}
        self._quantities: dict[str, Grid] = {}
        self._money: dict[str, Grid] = {}
        for row in rows.latest(FlatReference):
            if row.kind == "INSTRUMENT":
                self._define(msgspec.json.decode(row.definition, type=Instrument))
            elif row.kind == "ACCOUNT":
                account = msgspec.json.decode(row.definition, type=Account)
                self.accounts[account.account] = account, row.at_ns

    def price(self, instrument: str | None, ticks: int | None) -> str | None:
        """A price in units of its currency."""
        return self._text(self._prices, f"instrument {instrument}", instrument, ticks)

    def quantity(self, instrument: str | None, lots: int | None) -> str | None:
        """A quantity in units."""
        return self._text(self._quantities, f"instrument {instrument}", instrument, lots)

    def money(self, currency: str | None, minor: int | None) -> str | None:
        """An amount in units of its currency."""
        return self._text(self._money, f"currency {currency}", currency, minor)

    def currency(self, instrument: str | None) -> str | None:
        """What an instrument is priced in."""
        known = self.instruments.get(instrument or "")
        return None if known is None else known.currency

    def _define(self, it: Instrument) -> None:
        self.instruments[it.symbol] = it
        self._prices[it.symbol] = Grid(it.tick_size_e9, "tick size")
        self._quantities[it.symbol] = Grid(it.lot_size_e9, "lot size")
        self._money[it.currency] = Grid(1, "minor unit", it.currency_exponent)

    def _text(self, grids: dict[str, Grid], what: str, name: str | None, steps: int | None) -> str | None:
        if steps is None or name is None:
            return None
        grid = grids.get(name)
        if grid is None:
            self._notes.incomplete(_UNDEFINED, what)
            return None
        return grid.format(steps)
