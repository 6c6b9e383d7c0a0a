"""The log as an auditor reads it: places, their bounds and their records. Kafka here, memory in the tests."""

import heapq
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaException, TopicPartition

from infra.errors import OperatorError
from schemas.topics import RESTORED
from tables.checkpointed.restored import (
    NOWHERE,
    Displaced,
    HalfRestored,
    Offsets,
    Restoration,
    original_of,
    understood,
)

Place = tuple[str, int]
"""A topic and a partition of it."""
Span = tuple[int, int]
"""From an offset to the one behind the last."""

CHUNK: Final = 2_000  # records held of each partition while many are read side by side
POLL_S: Final = 0.05
TIMEOUT_S: Final = 30.0
SILENCE_MAX: Final = int(TIMEOUT_S / POLL_S)  # empty polls before the log counts as unreadable


class AuditError(OperatorError):
    """The audit cannot be made."""


class LogRecord(NamedTuple):
    """A record as it was fetched; the timestamp is the broker's or the producer's, in milliseconds.

    Its offset is the one at which it was first written: in a restored engine not the broker's.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Log(Protocol):
    """All topics of an engine, committed records only."""

    def topics(self) -> Mapping[str, int]:
        """How many partitions each topic has."""

    def bounds(self, place: Place) -> Span:
        """The first offset that is kept, and the one behind the last that is committed."""

    def read(self, place: Place, span: Span) -> Iterator[LogRecord]:
        """The records of a span, in their order; compaction and transactions leave gaps."""


class KafkaLog:
    """A log on Kafka, read by one consumer in chunks: as many places side by side as one likes."""

    def __init__(self, config: Mapping[str, Any], *, as_stored: bool = False) -> None:
        """``config`` is librdkafka's, for any client; ``as_stored``: by the broker's offsets, as Connect has them."""
        self._at: tuple[Place, int] | None = None  # what is fetched now, and from where it goes on
        self._restoration: Restoration | None = None
        self._is_known = as_stored
        self._consumer = Consumer(
            {
                **config,
                "group.id": "auditor",  # librdkafka wants one; nothing is committed to it
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 1,
                "fetch.wait.max.ms": 20,
                "queued.max.messages.kbytes": 16_384,
            }
        )

    def close(self) -> None:
        """Lets go of the broker."""
        self._consumer.close()

    def topics(self) -> Mapping[str, int]:
        """How many partitions each topic has."""
        topics = self._consumer.list_topics(timeout=TIMEOUT_S).topics
        return {name: len(topic.partitions) for name, topic in topics.items()}

    def bounds(self, place: Place) -> Span:
        """The first offset that is kept, and the one behind the last that is committed."""
        try:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=TIMEOUT_S)
        except KafkaException as error:
            raise AuditError(f"{place[0]} {place[1]}: {error.args[0].str()}") from error
        return original_of(self.offsets, place, low), original_of(self.offsets, place, high)

    def first_since(self, place: Place, timestamp_ms: int) -> int:
        """The offset of the first record that is not older; the one behind the last where all are."""
        asked = TopicPartition(*place, timestamp_ms)
        try:
            (found,) = self._consumer.offsets_for_times([asked], timeout=TIMEOUT_S)
        except KafkaException as error:
            raise AuditError(f"{place[0]} {place[1]}: {error.args[0].str()}") from error
        return self.bounds(place)[1] if found.offset < 0 else original_of(self.offsets, place, found.offset)

    def read(self, place: Place, span: Span) -> Iterator[LogRecord]:
        """The records of a span, a chunk at a time; AuditError when the broker does not give them."""
        if span[0] >= span[1]:
            return
        moved = self.offsets.get(place)
        if moved is None:
            yield from self._read(place, *span)
            return
        try:
            begin, end = map(moved.broker, span)
        except Displaced as error:
            raise AuditError(f"{place[0]} {place[1]}: {error}") from error
        for record in self._read(place, begin, end):
            yield record._replace(offset=moved.original(record.offset))

    @property
    def offsets(self) -> Mapping[Place, Offsets]:
        """Where the original offsets of restored partitions lie; AuditError after a restore that did not end."""
        restoration = self.restoration
        return NOWHERE if restoration is None else restoration.offsets

    @property
    def restoration(self) -> Restoration | None:
        """What the cluster was restored from; AuditError as `offsets`."""
        if not self._is_known:
            self._is_known = True  # `restored` itself was not
            self._restoration = self._read_restoration()
        return self._restoration

    def _read_restoration(self) -> Restoration | None:
        place = RESTORED, 0
        if RESTORED not in self.topics():
            return None
        try:
            return understood(it.value for it in self._read(place, *self.bounds(place)))
        except HalfRestored as error:
            raise AuditError(str(error)) from error

    def _read(self, place: Place, begin: int, end: int) -> Iterator[LogRecord]:
        while begin < end:
            records, begin = self._fetch(place, begin, end)
            yield from records

    def _fetch(self, place: Place, begin: int, end: int) -> tuple[list[LogRecord], int]:
        """Some records of a span that has any, and where to go on."""
        consumer, records = self._consumer, list[LogRecord]()
        if self._at != (place, begin):  # else it goes on where it is, with what it has fetched ahead
            consumer.assign([TopicPartition(*place, begin)])
            self._at = None
        for _ in range(SILENCE_MAX):
            for message in consumer.consume(min(CHUNK, end - begin), POLL_S):
                error = message.error()
                if error is not None:
                    raise AuditError(f"{place[0]} {place[1]} at {begin}: {error.str()}")
                stamp, offset = message.timestamp()[1], message.offset() or 0
                records.append(LogRecord(offset, stamp, message.key(), message.value()))
            position = consumer.position([TopicPartition(*place)])[0].offset
            if position >= end or records:
                self._at = place, max(position, begin)
                return [record for record in records if record.offset < end], self._at[1]
        raise AuditError(
            f"{place[0]} {place[1]} cannot be read from {begin} to {end}: look at the brokers' logs"
        )


def side_by_side(
    log: Log, spans: Mapping[Place, Span], progress: Callable[[int], object] = lambda _: None
) -> Iterator[tuple[Place, LogRecord]]:
    """All records of many places, each place in its order, all of them by time as well as it is known.

    So what belongs together is read close together, and what waits for its other half stays little.
    ``progress`` gets the count of records from time to time.
    """
    merged = heapq.merge(*(_stamped(log, *item) for item in spans.items()), key=itemgetter(0))
    count = 0
    for count, (_, place, record) in enumerate(merged, 1):
        yield place, record
        if not count % CHUNK:
            progress(count)
    progress(count)


def _stamped(log: Log, place: Place, span: Span) -> Iterator[tuple[int, Place, LogRecord]]:
    latest = 0  # producers' clocks differ: a merge wants them to rise
    for record in log.read(place, span):
        latest = max(latest, record.timestamp_ms)
        yield latest, place, record
