"""The rows in Postgres against the topics that they come from: each missing, extra or differing one is named.

First everything on the engine's topics must have been projected; then every record of a flat topic must be a row of
its table with the same content, and every row such a record. Of a state only the highest version counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.auditor.cut import changelogs, last_checkpoint
from infra.auditor.log import KafkaLog, Log, Place
from infra.auditor.report import Report, Tally
from infra.database import connected
from infra.settings import Settings
from schemas import codec
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.sinks import SINKS, TIME, VERSION, Sink
from schemas.topics import ACCOUNT_EVENTS, BY_NAME, ORDER_STATES, PROJECTED, PartitionCounts
from tables.checkpointed.restored import original_of

NAMED_MAX: Final = 10_000  # of one table's breaches
POLL_S: Final = 0.2
LOOK_S: Final = 1.0  # between two readings of a table that is behind
ROWS_A_FETCH: Final = 5_000
_PROJECTED: Final = "everything on the engine's topics is projected"

Key = tuple[Any, ...]


class Told(NamedTuple):
    """What a topic says of one row: a digest of its content, its time, and of a state its version."""

    digest: bytes
    at_ns: int
    version: int


class Expected:
    """What one table must hold, as far as its topic has been read."""

    def __init__(self, sink: Sink, partitions: int) -> None:
        self.sink = sink
        self.rows: dict[Key, Told] = {}
        self.contradictions: list[Key] = []
        self.unreadable: list[str] = []
        self.complete_since_ns = 0  # before it, the topic may have had more than it still has
        self._places = [(sink.topic, partition) for partition in range(partitions)]
        self._next: dict[Place, int] = {}

    def read_on(self, log: Log) -> None:
        """Takes what the topic has got since."""
        for record in self._records(log):
            key, told = tell(self.sink, msgspec.structs.asdict(record))
            known = self.rows.get(key)
            if known is None or told.version > known.version:
                self.rows[key] = told
            elif told.version == known.version and told.digest != known.digest:
                self.contradictions.append(key)

    def originals(self, log: Log, keys: set[Key]) -> dict[Key, dict[str, Any]]:
        """The records of some rows, read anew; of a state the last."""
        again = Expected(self.sink, len(self._places))
        found: dict[Key, dict[str, Any]] = {}
        for record in again._records(log):
            values = msgspec.structs.asdict(record)
            key, told = tell(self.sink, values)
            if key in keys and told == self.rows[key]:
                found[key] = values
        return found

    def _records(self, log: Log) -> Iterator[Any]:
        for place in self._places:
            start, end = log.bounds(place)
            begin = self._next.setdefault(place, start)
            is_first = begin == start > 0
            for record in log.read(place, (begin, end)):
                if is_first:
                    since_ns = record.timestamp_ms * 10**6
                    self.complete_since_ns, is_first = max(self.complete_since_ns, since_ns), False
                try:
                    yield codec.decode(record.value or b"")
                except codec.DecodeError as error:
                    self.unreadable.append(f"{place[0]} {place[1]} at {record.offset}: {error}")
            self._next[place] = end


class Differences(NamedTuple):
    """What a table has other than its topic; a differing row with its content."""

    compared: int
    missing: list[Key]
    extra: list[Key]
    differing: dict[Key, dict[str, Any]]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.missing or self.extra or self.differing)


def tell(sink: Sink, values: Mapping[str, Any]) -> tuple[Key, Told]:
    """A row's key, and what is compared of it."""
    content = msgspec.msgpack.encode([values[it] for it in sink.record.__struct_fields__])
    version = values[VERSION] if sink.is_state else 0
    told = Told(blake2b(content, digest_size=16).digest(), values[TIME], version)
    return tuple(values[it] for it in sink.key), told


def name_of(sink: Sink, key: Key) -> str:
    """A row in words: `trades at_ns=5 epoch=1 trade_id=7`."""
    return " ".join((sink.table, *(f"{name}={value}" for name, value in zip(sink.key, key, strict=True))))


async def compare_sinks(settings: Settings, report: Report, timeout_s: float) -> None:
    """Compares every table; waits for sinks that are behind. AuditError where that cannot be done."""
    counts = PartitionCounts(settings.account_partitions, settings.book_partitions)
    deadline = time.monotonic() + timeout_s
    log = KafkaLog(settings.kafka())
    try:
        await_projection(settings, log, counts, report.tally(_PROJECTED, NAMED_MAX), deadline)
        async with connected(settings) as connection:
            kept_since = await _kept_since_ns(connection)
            for sink in SINKS:
                expected = Expected(sink, counts.of(BY_NAME[sink.topic]))
                tally = report.tally(f"{sink.table} has the rows of {sink.topic}", NAMED_MAX)
                kept_ns = kept_since.get(sink.table, 0)
                found = await _settled(connection, log, expected, kept_ns, deadline)
                _tell(tally, expected, found, log)
    finally:
        log.close()


def await_projection(
    settings: Settings, log: KafkaLog, counts: PartitionCounts, tally: Tally, deadline: float
) -> None:
    """Waits until what stood on the engine's topics when this began has been projected, and checks it."""
    places = [(topic, number) for topic in PROJECTED for number in range(counts.of(BY_NAME[topic]))]
    ends = {place: log.bounds(place)[1] for place in places}
    admin = AdminClient(settings.kafka())
    while True:
        done = _projected(admin, settings.env, places, log)
        states = _order_states(log, settings.env, counts)
        behind = {
            f"projection, {topic} {number}": (done.get((topic, number), 0), end)
            for (topic, number), end in ends.items()
        }
        behind |= {
            f"order-states, {ACCOUNT_EVENTS} {number}": (states.get(number, 0), ends[ACCOUNT_EVENTS, number])
            for number in range(counts.accounts)
        }
        late = {name: it for name, it in behind.items() if it[0] < it[1]}
        if not late or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    for name, (at, end) in behind.items():
        tally.expect(at >= end, f"{name}: read to {at} of {end}; does its worker run?")


def _projected(admin: AdminClient, env: str, places: list[Place], log: KafkaLog) -> dict[Place, int]:
    """How far the projection is, of the replica that is furthest: what one has projected need no other."""
    groups = [it.group_id for it in admin.list_consumer_groups().result().valid]
    furthest: dict[Place, int] = {}
    for group in (it for it in groups if it.startswith(f"{env}-projection-")):
        for place, offset in _committed(admin, group, places, log).items():
            furthest[place] = max(furthest.get(place, 0), offset)
    return furthest


def _committed(admin: AdminClient, group: str, places: list[Place], log: KafkaLog) -> dict[Place, int]:
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(*place) for place in places])
    answer = admin.list_consumer_group_offsets([asked])[group].result()
    done = {(it.topic, it.partition): it.offset for it in answer.topic_partitions or () if it.offset >= 0}
    return {place: original_of(log.offsets, place, offset) for place, offset in done.items()}


def _order_states(log: Log, env: str, counts: PartitionCounts) -> dict[int, int]:
    """How far the checkpoints of the stage of orders' states are, of the replica that is furthest."""
    checkpoints = [
        (partition, last_checkpoint(log, name, partition))
        for name in changelogs(log, env, ORDER_STATES)
        for partition in range(counts.accounts)
    ]
    furthest: dict[int, int] = {}
    for partition, it in checkpoints:
        if it is not None:
            furthest[partition] = max(furthest.get(partition, 0), it.meta.next_offset)
    return furthest


async def _settled(
    connection: Any, log: Log, expected: Expected, kept_since_ns: int, deadline: float
) -> Differences:
    """The differences once there are none, or no time is left."""
    while True:
        expected.read_on(log)
        found = await compare(connection, expected, kept_since_ns)
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(LOOK_S)


async def compare(connection: Any, expected: Expected, kept_since_ns: int) -> Differences:
    """One table as it is now against what it must hold.

    Left out is what the topic may have had and has no longer, and what the table is not to keep.
    """
    sink, rows = expected.sink, expected.rows
    unseen = {key for key, told in rows.items() if told.at_ns >= kept_since_ns}
    extra: list[Key] = []
    differing: dict[Key, dict[str, Any]] = {}
    count = 0
    async for values in _rows(connection, sink):
        key, told = tell(sink, values)
        known = rows.get(key)
        unseen.discard(key)
        if told.at_ns < kept_since_ns:
            continue
        count += 1
        if known is None:
            if told.at_ns >= expected.complete_since_ns:
                extra.append(key)
        elif told != known:
            differing[key] = values
    return Differences(count, sorted(unseen), sorted(extra), differing)


def _tell(tally: Tally, expected: Expected, found: Differences, log: Log) -> None:
    sink = expected.sink
    tally.count += found.compared
    for text in expected.unreadable:
        tally.breach(text)
    for key in expected.contradictions:
        tally.breach(f"{name_of(sink, key)}: the topic says two things of it")
    for key in found.missing:
        tally.miss(f"{name_of(sink, key)}: missing in Postgres")
    for key in found.extra:
        tally.breach(f"{name_of(sink, key)}: not on the topic {sink.topic}")
    originals = expected.originals(log, set(found.differing)) if found.differing else {}
    for key, values in sorted(found.differing.items()):
        told = originals.get(key, values)
        others = [f"{it} is {values[it]!r}, not {told[it]!r}" for it in values if values[it] != told[it]]
        tally.breach(f"{name_of(sink, key)}: {', '.join(others)}")
    if expected.complete_since_ns:
        tally.note = "the topic no longer has its start: older rows are not looked at"


async def _rows(connection: Any, sink: Sink) -> AsyncIterator[dict[str, Any]]:
    columns = ", ".join(sink.record.__struct_fields__)
    query = f"SELECT {columns} FROM trading.{sink.table}"  # noqa: S608 - names of our own
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        async for row in connection.cursor(query, prefetch=ROWS_A_FETCH):
            yield dict(row)


async def _kept_since_ns(connection: Any) -> dict[str, int]:
    """The time before which a series may have been dropped."""
    rows = await connection.fetch(
        "SELECT name, (now() AT TIME ZONE 'UTC')::date - date '1970-01-01' - retain_days AS day"
        " FROM trading.series WHERE retain_days IS NOT NULL"
    )
    return {row["name"]: row["day"] * NANOSECONDS_PER_DAY for row in rows}
