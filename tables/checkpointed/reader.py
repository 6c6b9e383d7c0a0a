"""Reads partitions from a place to their end, committed records only, by one consumer for one thread."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from tables.checkpointed.ports import Bounds

TIMEOUT_S: Final = 30.0
BATCH: Final = 10_000


class LogReader:
    """A consumer in no group; a partition is assigned while it is read, and one is read at a time."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """``config`` is librdkafka's; connects on first use."""
        self._consumer = Consumer(
            {
                "group.id": "reader",  # librdkafka wants one; nothing is committed to it
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.queue.backoff.ms": 1,
                "fetch.wait.max.ms": 10,
                **config,
            }
        )

    def bounds(self, topic: str, partition: int) -> Bounds:
        """First offset that is kept, and the offset behind the last; KafkaException if nobody says."""
        place = TopicPartition(topic, partition)
        return Bounds(*self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_S))

    def read(self, topic: str, partition: int, begin: int | None = None) -> Iterator[Message]:
        """Every committed record from ``begin``, or the first, to the end as it is when this begins."""
        start, end = self.bounds(topic, partition)
        place = TopicPartition(topic, partition, start if begin is None else begin)
        if place.offset >= end:
            return
        self._consumer.assign([place])
        while place.offset < end:
            first = self._consumer.poll(TIMEOUT_S)
            if first is None:
                raise TimeoutError(
                    f"{topic} {partition} gave nothing for {TIMEOUT_S:.0f} s: is the broker there?"
                )
            for message in [first, *self._consumer.consume(BATCH, 0)]:
                error = message.error()
                if error is None:
                    yield message
                elif error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own codes
                    raise KafkaException(error)
            # a transaction's marker moves the place and is no record
            place.offset = max(place.offset, self._consumer.position([place])[0].offset)
        self._consumer.unassign()

    def close(self) -> None:
        """Lets go of the connections."""
        self._consumer.close()
