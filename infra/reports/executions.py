"""Trades with both their fills and both their confirmations: what belongs together must all be there."""

from collections.abc import Iterator, Mapping
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Final, NamedTuple

from infra.reports.day import Day
from infra.reports.notes import Notes
from infra.reports.rows import Rows
from schemas.flat import FlatOrderEvent, FlatSettlement, FlatTrade
from schemas.ids import TRADE_NUMBER_BITS
from schemas.record import Record

PARTS: Final = {"trade", "MAKER fill", "TAKER fill", "MAKER confirmation", "TAKER confirmation"}
RECORDS: Final = (FlatTrade, FlatOrderEvent, FlatSettlement)
MISSING: Final = "parts of trades are missing"
NUMBERS: Final = "trade numbers have a gap"


class Execution(NamedTuple):
    """A trade, its sides' fills and what settlement confirmed of them, by FIX 851 (MAKER, TAKER)."""

    trade: FlatTrade
    fills: Mapping[str, FlatOrderEvent]
    confirmations: Mapping[str, FlatSettlement]


def executions(rows: Rows, day: Day, notes: Notes) -> Iterator[Execution]:
    """The day's trades in their order, those that have all their parts; what is missing is noted.

    All parts of a trade bear its time, so that side by side only the trades of one moment wait for each other.
    """
    span = day.begin_ns, day.end_ns
    parts: Iterator[Record] = merge(
        rows.happened(FlatTrade, *span),
        rows.happened(FlatOrderEvent, *span, ("OrderFilled",)),
        rows.happened(FlatSettlement, *span, ("TradeConfirmed",)),
        key=_AT,
    )
    numbers = _Numbers(notes)
    for _, moment in groupby(parts, key=_AT):
        yield from _joined(list(moment), numbers, notes)


_AT: Final = attrgetter("at_ns")


def _joined(parts: list[Record], numbers: "_Numbers", notes: Notes) -> Iterator[Execution]:
    found: dict[int, dict[str, Record]] = {}
    for part in parts:
        match part:
            case FlatTrade(trade_id=trade_id):
                found.setdefault(trade_id, {})["trade"] = part
                numbers.see(trade_id)
            case FlatOrderEvent(trade_id=int(trade_id), liquidity=liquidity):
                found.setdefault(trade_id, {})[f"{liquidity} fill"] = part
            case FlatSettlement(trade_id=int(trade_id), liquidity=liquidity):
                found.setdefault(trade_id, {})[f"{liquidity} confirmation"] = part
            case _:
                raise AssertionError(part)
    for trade_id, known in sorted(found.items()):
        if missing := sorted(PARTS - known.keys()):
            notes.incomplete(MISSING, f"{trade_id} has no {' and no '.join(missing)}")
        else:
            yield _execution(known)


def _execution(parts: Mapping[str, Record]) -> Execution:
    trade = parts["trade"]
    assert isinstance(trade, FlatTrade), trade
    fills = {it: part for it in ("MAKER", "TAKER") if isinstance(part := parts[f"{it} fill"], FlatOrderEvent)}
    confirmations = {
        it: part
        for it in ("MAKER", "TAKER")
        if isinstance(part := parts[f"{it} confirmation"], FlatSettlement)
    }
    return Execution(trade, fills, confirmations)


class _Numbers:
    """The numbers of each partition's trades, which rise by one."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._last: dict[int, int] = {}

    def see(self, trade_id: int) -> None:
        partition = trade_id >> TRADE_NUMBER_BITS
        last = self._last.get(partition)
        if last is not None and trade_id != last + 1:
            self._notes.incomplete(NUMBERS, f"{last} is followed by {trade_id}")
        self._last[partition] = trade_id
