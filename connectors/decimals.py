"""Decimal strings at the edges, integers inside: exact both ways, with no float between.

A grid is a step (tick, lot, or minor unit) in billionths of a unit: the text "100.05" on a step of 0.01 is
10,005 steps. The plain form (digits, one point) takes the short way; a sign or an exponent goes by Decimal.
"""

import re
from decimal import Decimal
from typing import Final, TypeVar

from schemas.reference import Instrument

_PLAIN_LENGTH_MAX: Final = 40  # an int64 with its point is shorter
_LENGTH_MAX: Final = 200  # far over what any quantity needs, far under what is work
# Decimal itself would take "1_0", other scripts' digits, spaces, and an exponent of any size.
_DECIMAL: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?").fullmatch


_KNOWN_MAX: Final = 1 << 15  # the prices of a day; a few MB

K = TypeVar("K")
V = TypeVar("V")


class OffGridError(ValueError):
    """A number that is no whole multiple of the step."""


class Grid:
    """The multiples of one step; ``name`` says in errors what the step is ("tick size", "lot size")."""

    __slots__ = ("_powers", "_step", "_steps", "_texts", "name", "places")

    def __init__(self, step_e9: int, name: str, places: int = 9) -> None:
        """Takes the step, above zero, in units of 10**-places: billionths unless told."""
        while places and step_e9 % 10 == 0:
            step_e9, places = step_e9 // 10, places - 1
        self.name = name
        self.places = places
        self._step = step_e9
        self._steps: dict[str, int] = {}  # what was parsed and formatted lately: prices come again and again
        self._texts: dict[int, str] = {}
        self._powers: tuple[int, ...] = tuple(10 ** (places - digits) for digits in range(places + 1))

    def parse(self, text: object) -> int:
        """The number of steps in a decimal string or an integer; ValueError says what is wrong.

        OffGridError, one of them, is for what is a number but not of this grid.
        """
        if type(text) is not str:
            return self._parse_any(text)
        steps = self._steps.get(text)
        if steps is None:
            steps = self._parse_plain(text)
            _remember(self._steps, text, steps)
        return steps

    def format(self, steps: int) -> str:
        """The shortest decimal string of a number of steps: no trailing zeros, no exponent."""
        text = self._texts.get(steps)
        if text is None:
            text = self._format(steps) if steps >= 0 else "-" + self._format(-steps)
            _remember(self._texts, steps, text)
        return text

    def _format(self, steps: int) -> str:
        text, places = str(steps * self._step), self.places
        if not places:
            return text
        if len(text) <= places:
            text = text.zfill(places + 1)
        fraction = text[-places:].rstrip("0")
        return f"{text[:-places]}.{fraction}" if fraction else text[:-places]

    def _parse_plain(self, text: str) -> int:
        if len(text) <= _PLAIN_LENGTH_MAX:
            whole, _, fraction = text.partition(".")
            digits = whole + fraction
            if whole and digits.isdecimal() and digits.isascii() and len(fraction) <= self.places:
                steps, rest = divmod(int(digits) * self._powers[len(fraction)], self._step)
                if not rest:
                    return steps
        return self._parse_any(text)

    def _parse_any(self, text: object) -> int:
        plain = str(text) if type(text) is int else text
        if not isinstance(plain, str) or not _DECIMAL(plain) or len(plain) > _LENGTH_MAX:
            raise ValueError(f"{text!r} is not a decimal number")
        numerator, denominator = Decimal(plain).as_integer_ratio()
        steps, rest = divmod(numerator * self._powers[0], denominator * self._step)
        if rest:
            raise OffGridError(f"{text} is not a multiple of the {self.name} {self.format(1)}")
        return steps


def _remember(known: dict[K, V], key: K, value: V) -> None:
    """Keeps what was worked out; now and then all is forgotten, which costs less than to know what is old."""
    if len(known) >= _KNOWN_MAX:
        known.clear()
    known[key] = value


class Units:
    """The grids of every instrument and currency, as they are defined; an unknown one counts in 10**-8."""

    def __init__(self) -> None:
        """Knows none."""
        self._grids: dict[str, tuple[Grid, Grid]] = {}
        self._money: dict[str, Grid] = {}

    def define(self, instrument: Instrument) -> None:
        """Takes an instrument's tick and lot, and its currency's minor unit."""
        self._grids[instrument.symbol] = (
            Grid(instrument.tick_size_e9, "tick size"),
            Grid(instrument.lot_size_e9, "lot size"),
        )
        self._money[instrument.currency] = Grid(1, "minor unit", instrument.currency_exponent)

    def of(self, instrument: str) -> tuple[Grid, Grid]:
        """The grids of an instrument's prices and quantities."""
        return self._grids.get(instrument, DEFAULT_GRIDS)

    def money(self, currency: str) -> Grid:
        """The grid of a currency's amounts."""
        return self._money.get(currency, DEFAULT_GRIDS[1])


DEFAULT_STEP_E9: Final = 10
DEFAULT_GRIDS: Final = Grid(DEFAULT_STEP_E9, "tick size"), Grid(DEFAULT_STEP_E9, "lot size")
