"""The empty cluster that a day is restored into: topics are made and filled by one writer, which nobody disturbs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not export what it documents
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from infra.archive.bucket import ArchiveError
from infra.archive.record_keys import key_of
from infra.auditor.log import LogRecord, Place
from infra.processes import wait_until
from infra.settings import Settings
from infra.topics_admin import Wanted, ensure, existing
from schemas.maximums import RECORD_BYTES
from schemas.topics import OFFSET_HEADER, RESTORED
from tables.checkpointed.restored import Offsets, Run, offset_header

TIMEOUT_S: Final = 30.0
FLUSH_S: Final = 120.0
POLL_S: Final = 0.1
TIMESTAMPS: Final = "message.timestamp.type"
FOR_EVER: Final = ("retention.ms", "-1")  # what is restored is old, and would expire as soon as it is written


class Row(NamedTuple):
    """A record to be written."""

    value: bytes | None
    key: bytes | None = None
    timestamp_ms: int = 0  # now
    headers: list[tuple[str, str | bytes | None]] | None = None


class Copied(NamedTuple):
    """What was written of a partition: where it lies, how much, and the original offset behind it."""

    offsets: Offsets
    records: int

    @property
    def end(self) -> int:
        """Where the partition goes on."""
        return self.offsets.original(self.records)


class Target:
    """A cluster that has none of an engine's topics yet; ArchiveError or TopicError where it does not take them."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` are those of the engine that is to be."""
        self._settings = settings
        self._kafka = settings.kafka() | {"log_level": 0}
        self._admin = AdminClient(self._kafka)
        self._producer = Producer(
            {
                **self._kafka,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 20,
                "message.max.bytes": RECORD_BYTES,
                "message.timeout.ms": int(FLUSH_S * 1000),
                "queue.buffering.max.kbytes": 65_536,
            }
        )
        self._failure: KafkaError | None = None
        self._next = self._written = 0

    def demand_empty(self, names: Iterable[str]) -> None:
        """Refuses a cluster that has any of these topics, or those of a restore."""
        there = sorted({*names, RESTORED} & existing(self._settings).keys())
        if there:
            raise ArchiveError(
                f"Kafka at {self._settings.kafka_bootstrap} has {', '.join(there[:3])} already"
                f"{' and more' if len(there) > 3 else ''}: a day is restored into an empty cluster only"  # noqa: PLR2004
            )

    def make(self, topics: Iterable[Wanted]) -> None:
        """Makes topics that keep their records for ever, under the times that they come with."""
        held = [it._replace(config=_held(it.config)) for it in topics]
        ensure(self._settings, held)

    def make_changelog(self, topic: NewTopic) -> None:
        """Makes a changelog as its stage would."""
        self._done(self._admin.create_topics([topic])[topic.topic])

    def stamp_again(self, topics: Iterable[Wanted]) -> None:
        """From now on the broker's clock rules where it did: in topics that foreign producers write."""
        changes = [
            ConfigResource(
                ResourceType.TOPIC,
                it.name,
                incremental_configs=[
                    ConfigEntry(TIMESTAMPS, kind, incremental_operation=AlterConfigOpType.SET)
                ],
            )
            for it in topics
            if (kind := dict(it.config).get(TIMESTAMPS))
        ]
        for done in self._admin.incremental_alter_configs(changes).values() if changes else ():
            self._done(done)

    def copy(self, place: Place, begin: int, records: Iterable[LogRecord], *, dense: bool) -> Copied:
        """Writes a partition's records where they were; ``dense``: no record may be missing between two others.

        ``begin`` is where it goes on if there are none.
        """
        runs: list[Run] = []

        def rows() -> Iterator[Row]:
            expected = begin
            for count, record in enumerate(records):
                if record.offset != expected and dense:
                    raise ArchiveError(_gap(place, expected, record.offset))
                if record.offset != expected or not runs:
                    runs.append((count, record.offset))
                expected = record.offset + 1
                header: list[tuple[str, str | bytes | None]] = [(OFFSET_HEADER, offset_header(record.offset))]
                yield Row(record.value, key_of(place[0], record.value), record.timestamp_ms, header)

        count = self.write(place, rows())
        return Copied(Offsets(runs or [(0, begin)]), count)

    def write(self, place: Place, rows: Iterable[Row], behind: int = 0) -> int:
        """Writes all, acknowledged, in their order, into a partition that nobody else writes; gives the count.

        ``behind`` is how many it has already.
        """
        count = 0
        self._next, self._written = behind, 0
        for row in rows:
            self._produce(place, row)
            count += 1
        if self._producer.flush(FLUSH_S) or self._failure is not None or self._written != count:
            why = "it gives no answer" if self._failure is None else self._failure.str()
            raise ArchiveError(
                f"Kafka at {self._settings.kafka_bootstrap} took {self._written} of {count} records of {place[0]}"
                f" {place[1]} ({why}): remove what was restored, and restore anew"
            )
        return count

    def commit(self, group: str, places: Mapping[Place, int]) -> None:
        """Lets a group go on at these offsets of the broker's; they are read back, as each may fail by itself.

        The first group of a cluster finds its coordinator busy being made.
        """
        if not wait_until(lambda: self._commit(group, places) == places, TIMEOUT_S):
            raise ArchiveError(
                f"group {group} did not take its offsets within {TIMEOUT_S:.0f} s: look at the brokers' logs, remove"
                " what was restored, and restore anew"
            )

    def _commit(self, group: str, places: Mapping[Place, int]) -> dict[Place, int]:
        """What the group has after one attempt."""
        offsets = [TopicPartition(*place, offset) for place, offset in places.items()]
        try:
            for done in self._admin.alter_consumer_group_offsets(
                [ConsumerGroupTopicPartitions(group, offsets)]
            ).values():
                done.result(TIMEOUT_S)
            asked = ConsumerGroupTopicPartitions(group, [TopicPartition(*place) for place in places])
            found = self._admin.list_consumer_group_offsets([asked])[group].result(TIMEOUT_S)
        except KafkaException:
            return {}
        return {(it.topic, it.partition): it.offset for it in found.topic_partitions or ()}

    def _done(self, asked: Any) -> None:
        try:
            asked.result(TIMEOUT_S)
        except KafkaException as error:
            raise ArchiveError(
                f"Kafka at {self._settings.kafka_bootstrap} refuses ({error.args[0].str()}): remove what was restored,"
                " and restore anew"
            ) from error

    def _produce(self, place: Place, row: Row) -> None:
        while True:
            try:
                self._producer.produce(
                    place[0],
                    row.value,
                    row.key,
                    place[1],
                    on_delivery=self._delivered,
                    timestamp=row.timestamp_ms,
                    headers=row.headers,
                )
            except BufferError:
                self._producer.poll(POLL_S)
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failure = error
        elif message.offset() == self._next:  # else somebody else writes there
            self._next += 1
            self._written += 1


def _held(config: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Without a time after which records go, and with the times that producers give."""
    kept: dict[str, Any] = dict(config)
    kept.pop(TIMESTAMPS, None)
    return tuple({**kept, **dict([FOR_EVER])}.items())


def _gap(place: Place, expected: int, found: int) -> str:
    return (
        f"{place[0]} {place[1]} misses the offsets {expected} to {found - 1} in the archive: a stage cannot do without"
        " them. `trading archive verify` tells more; restore from another copy of the bucket"
    )
