"""A changelog partition on Kafka: one transaction a checkpoint, read back read_committed."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tables.checkpointed.ports import Bounds, ChangelogDoubtful, ChangelogFenced, ChangelogRecord
from tables.checkpointed.reader import LogReader
from tables.section import Change

COMMIT_TIMEOUT_S: Final = 10.0  # under it a broker's restart is waited out; over it nobody knows
INIT_TIMEOUT_S: Final = 30.0
POLL_S: Final = 1.0
SLICE: Final = (
    64  # records (100 us) between two pauses: else the fold's thread fights for the interpreter until
)
PAUSE_S: Final = 0.0005  # all is written, and every order of that time is late
MARKER: Final = 1  # a committed transaction leaves one control record behind its last
_FENCING: Final = {KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH}  # noqa: SLF001


def ensure_changelog(config: Mapping[str, Any], topic: NewTopic) -> None:
    """Creates a changelog topic unless it is there; KafkaException if the broker refuses."""
    admin = AdminClient(dict(config))
    if topic.topic in admin.list_topics(timeout=INIT_TIMEOUT_S).topics:
        return
    try:
        admin.create_topics([topic])[topic.topic].result(INIT_TIMEOUT_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


class KafkaChangelog:
    """A ``Changelog`` of one partition. Its transactional id outlives the process that owns it."""

    def __init__(self, config: Mapping[str, Any], reader: LogReader, topic: str, partition: int) -> None:
        """``config`` is librdkafka's, for any client; nothing connects before the first call."""
        self._config, self._reader = dict(config), reader
        self._topic, self._partition = topic, partition
        self._producer: Producer | None = None
        self._last_offset = -1

    def fence(self) -> None:
        """Shuts out every earlier owner, and ends the transaction it left open.

        A new producer each time: after a commit that timed out the old one may not be used again.
        """
        self._producer = Producer(
            {
                **self._config,
                "transactional.id": f"{self._topic}-{self._partition}",
                "transaction.timeout.ms": int(COMMIT_TIMEOUT_S * 1000),
                "linger.ms": 5,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._guarded(lambda producer: producer.init_transactions(INIT_TIMEOUT_S))

    def bounds(self) -> Bounds:
        """The offsets that can be read."""
        return self._reader.bounds(self._topic, self._partition)

    def read(self, begin: int) -> Iterator[ChangelogRecord]:
        """Every committed record from ``begin`` to the end, as it was when this was called."""
        for message in self._reader.read(self._topic, self._partition, begin):
            yield _record(message)

    def commit(self, entries: Iterable[Change]) -> int:
        """Writes all entries in one transaction, in order, and returns the end behind it."""
        self._guarded(lambda producer: self._transact(producer, entries))
        return self._last_offset + 1 + MARKER

    def _transact(self, producer: Producer, entries: Iterable[Change]) -> None:
        producer.begin_transaction()
        topic, partition = self._topic, self._partition
        held: Change | None = None
        for count, entry in enumerate(entries, 1):
            if held is not None:
                self._produce(producer, topic, partition, held)
            held = entry
            if not count % SLICE:
                time.sleep(PAUSE_S)
        assert held is not None, "a checkpoint has META at least"
        self._produce(producer, topic, partition, held, on_delivery=self._last_delivered)
        producer.commit_transaction(COMMIT_TIMEOUT_S)

    @staticmethod
    def _produce(producer: Producer, topic: str, partition: int, entry: Change, **callback: Any) -> None:
        while True:
            try:
                producer.produce(topic, entry[1], entry[0], partition, **callback)
            except BufferError:
                producer.poll(POLL_S)
            except KafkaException as failure:
                if failure.args[0].code() == KafkaError._FATAL:  # noqa: SLF001
                    producer.commit_transaction(COMMIT_TIMEOUT_S)  # commits nothing any more, but tells why
                raise
            else:
                return

    def _last_delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is None:
            self._last_offset = message.offset()

    def _guarded(self, act: Any) -> None:
        assert self._producer is not None, "fence() comes first"
        try:
            act(self._producer)
        except KafkaException as failure:
            error = failure.args[0]
            if error.code() in _FENCING:
                raise ChangelogFenced(f"{self._topic} {self._partition}: {error.str()}") from failure
            raise ChangelogDoubtful(f"{self._topic} {self._partition}: {error.str()}") from failure


def _record(message: Any) -> ChangelogRecord:
    return ChangelogRecord(message.offset(), message.key(), message.value())
