"""The demo as a client of Kafka: a producer of orders, an operator, and a reader of all that comes out."""

import time
from collections.abc import Iterable, Sequence
from logging import getLogger
from typing import Final, cast

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from infra.demo.collector import TOPICS, Collector
from infra.demo.session import ClientCommand
from infra.errors import OperatorError
from infra.settings import Settings
from schemas import codec
from schemas.commands import ControlCommand, Deposit
from schemas.envelopes import AccountCommands, ControlCommands, Envelope
from schemas.maximums import COMMANDS_PER_RECORD
from schemas.partitioner import partition_of
from schemas.topics import ACCOUNT_COMMANDS, BY_NAME, CONTROL, ORDERS, PartitionCounts

_MESSAGES_PER_READ: Final = 500
_log = getLogger("librdkafka")  # the embedded broker keeps it silent: what matters comes as an error
_FLUSH_TIMEOUT_S: Final = 30
_TIMEOUT_S: Final = 10


class DemoError(OperatorError):
    """The demo could not go on; the message says what was missing."""


class Outlet:
    """What is sent: orders as any in-house producer would, and what an operator says."""

    def __init__(self, settings: Settings) -> None:
        self._accounts = settings.account_partitions
        # idempotence keeps the order of what is sent, which here is the order of the recording
        self._producer = Producer(settings.kafka(enable_idempotence=True, linger_ms=1), logger=_log)
        self._failed: KafkaError | None = None

    def order(self, command: ClientCommand) -> None:
        """Send a client's command into ``orders``, by any partitioner: intake sends on by the engine's."""
        self._produce(ORDERS, codec.encode(command), key=command.account)

    def operate(self, commands: Sequence[ControlCommand]) -> None:
        """Send what control is asked for."""
        for start in range(0, len(commands), COMMANDS_PER_RECORD):
            items = tuple(commands[start : start + COMMANDS_PER_RECORD])
            self._produce(CONTROL, codec.encode(ControlCommands(items=items)), partition=0)

    def deposit(self, deposits: Iterable[Deposit]) -> None:
        """Send cash to the accounts' inbox, as operators do."""
        for each in deposits:
            value = codec.encode(AccountCommands(items=(each,)))
            self._produce(
                ACCOUNT_COMMANDS,
                value,
                key=each.account,
                partition=partition_of(each.account, self._accounts),
            )

    def serve(self) -> None:
        """Take delivery reports.

        Raises:
            DemoError: something could not be delivered.

        """
        self._producer.poll(0)
        if self._failed is not None:
            raise DemoError(f"Kafka took no more orders: {self._failed.str()}")

    def flush(self) -> None:
        """Wait until all is delivered."""
        if self._producer.flush(_FLUSH_TIMEOUT_S):
            raise DemoError(f"Kafka took no orders for {_FLUSH_TIMEOUT_S} s")
        self.serve()

    def _produce(self, topic: str, value: bytes, key: str | None = None, partition: int = -1) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=self._delivered)
            except BufferError:  # the queue is full: the broker restarts or is slow
                self._producer.poll(0.1)
            else:
                return

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._failed = self._failed or error


class Tap:
    """What is read: every partition of the collector's topics from its start, in the order of each."""

    def __init__(self, settings: Settings, collector: Collector) -> None:
        self._collector = collector
        self._consumer = Consumer(
            settings.kafka(
                group_id="demo", enable_auto_commit=False, fetch_queue_backoff_ms=1, fetch_wait_max_ms=10
            ),
            logger=_log,
        )
        counts = PartitionCounts(settings.account_partitions, settings.book_partitions)
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in TOPICS
                for partition in range(counts.of(BY_NAME[topic]))
            ]
        )

    def read(self, wait_s: float) -> None:
        """Give the collector what is there, after waiting for it at most so long."""
        for message in self._consumer.consume(_MESSAGES_PER_READ, wait_s):
            error, value = message.error(), message.value()
            if error is not None:
                raise DemoError(f"{message.topic()} cannot be read: {error.str()}")
            topic, partition = message.topic(), message.partition()
            assert topic is not None, "a message has a place"
            assert partition is not None, "a message has a place"
            record = cast("Envelope", codec.decode(value or b""))
            self._collector.take(topic, partition, record, time.monotonic_ns())

    def ends(self) -> list[TopicPartition]:
        """Where each partition ends now."""
        return [
            TopicPartition(it.topic, it.partition, self._consumer.get_watermark_offsets(it, _TIMEOUT_S)[1])
            for it in self._consumer.assignment()
        ]

    def has_read(self, ends: list[TopicPartition]) -> bool:
        """Whether the collector has all up to these places; where nothing was read yet, a position is below zero."""
        positions = self._consumer.position(ends)
        return all(max(at.offset, 0) >= end.offset for at, end in zip(positions, ends, strict=True))

    def close(self) -> None:
        """Leave Kafka."""
        self._consumer.close()
