"""Rows out of a log: the projection's own rules over its topics, into a temporary database on disk.

What a stage said twice has the same key, so it is one row. Memory is bounded: SQLite spills to a file of its own,
which is gone when it is closed.
"""

import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from agents.rules.projection import BY_TOPIC, EDGE, Source
from infra.auditor.log import Log, Place, Span, side_by_side
from infra.auditor.origins import Origins
from infra.auditor.report import Report
from infra.reports.day import Day
from infra.reports.notes import Notes
from infra.reports.rows import HOUR_NS
from schemas import codec, topics
from schemas.flat import (
    FlatMarketData,
    FlatOrderEvent,
    FlatPosition,
    FlatReference,
    FlatRiskEvent,
    FlatSettlement,
    FlatTrade,
)
from schemas.record import Record
from schemas.sinks import BY_RECORD, VERSION, Sink

R = TypeVar("R", bound=Record)

MARK: Final = "MarkChanged"
TOPICS_OF: Final[Mapping[type[Record], tuple[str, ...]]] = {
    FlatOrderEvent: (topics.ACCOUNT_COMMANDS, topics.ACCOUNT_EVENTS),
    FlatTrade: (topics.TRADES,),
    FlatSettlement: (topics.SETTLEMENT_EVENTS,),
    FlatPosition: (topics.SETTLEMENT_EVENTS, topics.POSITIONS),
    FlatMarketData: (topics.MARKET_DATA,),
    FlatReference: (topics.ACCOUNT_EVENTS, topics.REFERENCE),
    FlatRiskEvent: (topics.ACCOUNT_EVENTS,),
}
"""Which topics make which rows. States are on compacted topics too, which outlast what they were made of."""
BATCH: Final = 5_000
NS_PER_MS: Final = 10**6
GAP: Final = "the log has a gap, or says two things"
UNREADABLE: Final = "records cannot be read"


class LogRows:
    """`Rows` of a log; made once, then read."""

    def __init__(self, log: Log, epoch: int, records: Sequence[type[Record]], notes: Notes) -> None:
        """Reads the log for these records; what is wrong with it is noted."""
        self._epoch, self._records = epoch, frozenset(records)
        self._db = sqlite3.connect("")  # a file of SQLite's own, deleted when it is closed
        for record in records:
            _create(self._db, BY_RECORD[record])
        spans = _spans(log, records)
        self.since_ns = _since_ns(log, spans)
        self._load(log, spans, notes)

    def close(self) -> None:
        """Lets go of the file."""
        self._db.close()

    def happened(
        self, record: type[R], begin_ns: int, end_ns: int, events: tuple[str, ...] = ()
    ) -> Iterator[R]:
        """Rows of a span of time."""
        sink = BY_RECORD[record]
        for row in self._select(sink, "at_ns >= ? AND at_ns < ?", begin_ns, end_ns):
            if not events or row.event in events:
                yield row

    def orders_before(self, day: Day) -> Iterator[FlatOrderEvent]:
        """Earlier rows of the day's orders."""
        sink = BY_RECORD[FlatOrderEvent]
        of_the_day = f"SELECT order_id FROM {sink.table} WHERE at_ns >= ? AND at_ns < ?"  # noqa: S608 - our own names
        where = f"at_ns < ? AND (at_ns >= ? OR order_id IN ({of_the_day}))"
        begin_ns = day.begin_ns
        yield from self._select(sink, where, begin_ns, begin_ns - HOUR_NS, begin_ns, day.end_ns)

    def latest(self, record: type[R]) -> Iterator[R]:
        """States, by key."""
        yield from self._select(BY_RECORD[record], "true")

    def marks(self, end_ns: int) -> Mapping[str, int]:
        """Marks, the last of each instrument."""
        return {it.instrument: it.price_ticks for it in self.happened(FlatMarketData, 0, end_ns, (MARK,))}

    def _select(self, sink: Sink, where: str, *values: int) -> Iterator[Any]:
        query = f"SELECT value FROM {sink.table} WHERE {where} ORDER BY {', '.join(sink.key)}"  # noqa: S608
        for (value,) in self._db.execute(query, values):
            yield codec.decode(value)

    def _load(self, log: Log, spans: Mapping[Place, Span], notes: Notes) -> None:
        report = Report()
        origins = Origins(report, cut_off=frozenset(place for place, (begin, _) in spans.items() if begin))
        waiting: dict[type[Record], list[Record]] = {record: [] for record in self._records}
        for place, record in side_by_side(log, spans):
            for row in self._rows(place, record.offset, record.value or b"", origins, notes):
                batch = waiting.get(type(row))
                if batch is not None and _counts(row):
                    batch.append(row)
                    if len(batch) >= BATCH:
                        self._insert(batch)
        for batch in waiting.values():
            self._insert(batch)
        for tally in report:
            for example in tally.examples:
                notes.incomplete(GAP, example)

    def _rows(
        self, place: Place, offset: int, value: bytes, origins: Origins, notes: Notes
    ) -> Iterator[Record]:
        try:
            said: Any = (
                codec.decode(value) if value else None
            )  # a tombstone of a compacted topic says nothing
        except codec.DecodeError:
            notes.incomplete(UNREADABLE, f"{place[0]} {place[1]} at {offset}")
            return
        flatten = BY_TOPIC.get(place[0])
        if flatten is None:
            if said is not None and said.epoch == self._epoch:
                yield said
            return
        origin = said.origin
        if origin is not None and not origins.take(place, offset, origin, value):
            return
        who, number = (
            (EDGE, offset) if origin is None else (f"{origin.stage}-{origin.partition}", origin.sequence)
        )
        for index, item in enumerate(said.items):
            source = Source(self._epoch, f"{who}/{place[0]}", place[1], number, index)
            for _, row in flatten(item, source):
                yield row

    def _insert(self, batch: list[Record]) -> None:
        if not batch:
            return
        sink = BY_RECORD[type(batch[0])]
        columns = _columns(sink)
        places = ", ".join("?" * (len(columns) + 1))
        newer = (
            f"DO UPDATE SET value = excluded.value, {VERSION} = excluded.{VERSION}"
            f" WHERE excluded.{VERSION} > {VERSION}"
        )
        self._db.executemany(
            f"INSERT INTO {sink.table} ({', '.join(columns)}, value) VALUES ({places})"  # noqa: S608
            f" ON CONFLICT {newer if sink.is_state else 'DO NOTHING'}",
            [(*(getattr(row, it) for it in columns), codec.encode(row)) for row in batch],
        )
        batch.clear()


def _counts(row: Record) -> bool:
    """Whether a report may ask for it: of market data only marks are."""
    return not isinstance(row, FlatMarketData) or row.event == MARK


def _columns(sink: Sink) -> tuple[str, ...]:
    more = (VERSION,) if sink.is_state else ("order_id",) if sink.record is FlatOrderEvent else ()
    return (*sink.key, *more)


def _create(db: sqlite3.Connection, sink: Sink) -> None:
    columns = ", ".join(_columns(sink))
    db.execute(
        f"CREATE TABLE {sink.table} ({columns}, value, PRIMARY KEY ({', '.join(sink.key)})) WITHOUT ROWID"
    )
    if sink.record is FlatOrderEvent:
        db.execute(f"CREATE INDEX of_order ON {sink.table} (order_id)")


def _spans(log: Log, records: Sequence[type[Record]]) -> dict[Place, Span]:
    there = log.topics()
    names = {topic for record in records for topic in TOPICS_OF[record] if topic in there}
    places = [(name, partition) for name in sorted(names) for partition in range(there[name])]
    return {place: log.bounds(place) for place in places}


def _since_ns(log: Log, spans: Mapping[Place, Span]) -> int:
    """From when on all is there: 0 where nothing was deleted. Compaction deletes what a newer state replaced."""
    since_ms = 0
    for place, (begin, end) in spans.items():
        if begin and place[0] in BY_TOPIC:
            first = next(iter(log.read(place, (begin, end))), None)
            since_ms = max(since_ms, first.timestamp_ms if first else time.time_ns() // NS_PER_MS)
    return since_ms * NS_PER_MS
