"""What a worker says: produced at once, outside any transaction, and awaited before a checkpoint."""

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaError, Message, Producer

from agents.stage.errors import DeliveryFailed
from agents.stage.fold import Output
from schemas.maximums import RECORD_BYTES

POLL_S: Final = 0.01
# A broker that was fenced for a moment leaves a client of librdkafka without a leader for good (its issue 5430).
STALL_S: Final = 15.0
FROZEN_S: Final = (
    5.0  # who did not look for so long was stopped himself, and must look again before he doubts
)
QUEUE_MESSAGES: Final = 1_000_000


class _Destination:
    """One topic-partition: how many records were handed to the client, and how many the broker took.

    ``reported`` is how many it had taken at ``reported_at_s``, when ``check`` last saw that change.
    """

    __slots__ = ("delivered", "failure", "reported", "reported_at_s", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.delivered = self.reported = 0
        self.reported_at_s = time.monotonic()
        self.failure: KafkaError | None = None

    def on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failure = error
        self.delivered += 1


class Outputs:
    """An idempotent producer, acks=all, that never gives a record up; one for each stage of a worker.

    The producer is served by whoever holds ``_serving``: delivery reports come in one at a time.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """``config`` is librdkafka's for a producer, linger included."""
        self._producer = Producer(
            {
                **config,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": 0,  # a broker that is away is waited for; a lost output is a gap
                "message.max.bytes": RECORD_BYTES,  # a sweep's fills are one record; the default is a megabyte
                "queue.buffering.max.messages": QUEUE_MESSAGES,
            }
        )
        self._destinations: dict[tuple[str, int], _Destination] = {}
        self._serving = threading.Lock()
        self._checked_at_s = time.monotonic()

    def send(self, outputs: Iterable[Output]) -> None:
        """Hands records to the client, in order for each destination; waits while its queue is full."""
        for topics, partition, value, key in outputs:
            for topic in topics:
                self.produce(topic, partition, value, key)

    def produce(self, topic: str, partition: int, value: bytes, key: bytes | None = None) -> None:
        """Hands one record to the client."""
        try:
            destination = self._destinations[topic, partition]
        except KeyError:
            destination = self._destinations[topic, partition] = _Destination()
        while True:
            try:
                self._producer.produce(topic, value, key, partition, destination.on_delivery)
            except BufferError:
                self._serve_for(POLL_S)
            else:
                destination.sent += 1
                return

    def serve(self) -> None:
        """Takes in delivery reports, unless a checkpoint that waits for them is doing so."""
        if self._serving.acquire(blocking=False):
            try:
                self._producer.poll(0)
            finally:
                self._serving.release()

    def _serve_for(self, timeout_s: float) -> None:
        with self._serving:
            self._producer.poll(timeout_s)

    def mark(self) -> dict[tuple[str, int], int]:
        """How much has been said to each destination so far; call it where no record is half done."""
        return {place: destination.sent for place, destination in list(self._destinations.items())}

    def wait(self, mark: Mapping[tuple[str, int], int]) -> None:
        """Returns when the broker has taken all that ``mark`` counts; DeliveryFailed if it refused one, or is silent.

        This waits for the last report of each destination rather than for a flush, which need not end on
        a busy producer.
        """
        for place, count in mark.items():
            destination = self._destinations[place]
            while destination.delivered < count:
                self._serve_for(POLL_S)
                self.check()
            if destination.failure is not None:
                raise DeliveryFailed(f"{place[0]} {place[1]}: {destination.failure.str()}")

    def check(self) -> None:
        """DeliveryFailed where something is under way to a destination, and no report has come for STALL_S."""
        self.serve()
        now_s = time.monotonic()
        was_frozen, self._checked_at_s = now_s - self._checked_at_s > FROZEN_S, now_s
        for (topic, partition), it in list(self._destinations.items()):
            if was_frozen or it.delivered != it.reported or it.delivered == it.sent:
                it.reported, it.reported_at_s = it.delivered, now_s
            elif now_s - it.reported_at_s > STALL_S:
                raise DeliveryFailed(f"{topic} {partition}: nothing was acknowledged for {STALL_S:.0f} s")

    def close(self) -> None:
        """Waits for all that was said."""
        self.wait(self.mark())
