"""The files of the recorded session, read in place from the package ob-analytics: rows as typed values.

Thirty minutes of Bitstamp's BTC/USD, order by order. The collector added a snapshot of the book at the start
and closing rows at the end, one for each order that still rested.
"""

import csv
import gzip
from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Literal

import msgspec

from infra.demo.accounts import LOTS_PER_BTC, TICKS_PER_USD
from infra.demo.plain_book import Fill
from infra.errors import OperatorError
from schemas.record import Side

Action = Literal["created", "changed", "deleted"]
_SIDES: Final[dict[str, Side]] = {"bid": "BUY", "ask": "SELL", "buy": "BUY", "sell": "SELL"}
_NS_PER_MS: Final = 1_000_000


class RecordingNotInstalledError(OperatorError):
    """The optional dependency with the recording is not there."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One row of orders.csv.gz; ``lots`` is what is left of the order, ``at_ns`` the exchange's time."""

    order_id: str
    action: Action
    side: Side
    price_ticks: int
    lots: int
    at_ns: int
    closing: bool


class RecordedTrade(msgspec.Struct, frozen=True, gc=False):
    """One row of trades.csv."""

    fill: Fill
    aggressor: Side
    at_ns: int

    @property
    def aggressor_id(self) -> str:
        """The order that took."""
        return self.fill.buy_id if self.aggressor == "BUY" else self.fill.sell_id


def sample_folder() -> Path:
    """Where ob-analytics keeps its sample; the package is not imported, since that takes seconds (pandas)."""
    spec = find_spec("ob_analytics")
    if spec is None or not spec.submodule_search_locations:
        raise RecordingNotInstalledError(
            "The recorded session is in the package ob-analytics: pip install 'trading-engine[demo]'"
        )
    return Path(spec.submodule_search_locations[0]) / "_sample_data"


def read_rows(folder: Path) -> list[Row]:
    """Every row of orders.csv.gz in the file's order, whose times never fall."""
    with gzip.open(folder / "orders.csv.gz", "rt", newline="", encoding="ascii") as file:
        table = list(csv.reader(file))[1:]
    end = table[-1][1]  # a closing row is stamped with one time as sent and as received
    return [
        Row(
            order_id,
            action,  # type: ignore[arg-type]  # the file knows these three
            _SIDES[side],
            _scaled(price, TICKS_PER_USD),
            _scaled(volume, LOTS_PER_BTC),
            int(sent) * _NS_PER_MS,
            received == sent == end,
        )
        for order_id, received, sent, price, volume, action, side in table
    ]


def read_trades(folder: Path) -> list[RecordedTrade]:
    """Every row of trades.csv in the file's order."""
    with (folder / "trades.csv").open(newline="", encoding="ascii") as file:
        return list(_trades(csv.reader(file)))


def _trades(table: Iterator[list[str]]) -> Iterator[RecordedTrade]:
    next(table)
    for _, _, sent, price, amount, buy_id, sell_id, side in table:
        fill = Fill(buy_id, sell_id, _scaled(price, TICKS_PER_USD), _scaled(amount, LOTS_PER_BTC))
        yield RecordedTrade(fill, _SIDES[side], int(sent) * _NS_PER_MS)


def _scaled(text: str, scale: int) -> int:
    number = Decimal(text) * scale
    assert number == int(number), f"{text} is not on the grid of 1/{scale}"
    return int(number)
