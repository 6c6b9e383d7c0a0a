"""The thread that fetches what a stage reads, and drives the agent's body with what it fetched.

An agent is a coroutine: anybody may send it its next batch. Faust's stream does so on the event loop; this
thread does so where the records are, and saves the hand-off (350 us a batch, measured in the design).
"""

import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Mapping
from types import coroutine
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition
from faust.types import TP

from agents.stage.errors import StageError, StartRefused
from agents.stage.fold import InboxRecord
from tables.checkpointed.restored import NOWHERE, Displaced, Offsets, broker_of

POLL_S: Final = 0.05  # how long a change of assignment or a stop may wait for an idle inbox
BATCH_RECORDS: Final = 500


class Batch(NamedTuple):
    """What one fetch brought of one partition of a topic, in order."""

    topic: str
    partition: int
    records: list[InboxRecord]


Body = Callable[[AsyncIterator[Batch]], Coroutine[Any, Any, None]]


class HandFed(AsyncIterator[Batch]):
    """A stream whose next batch is whatever is sent into the coroutine that awaits it."""

    @coroutine
    def __anext__(self) -> Generator[None, Batch, Batch]:
        return (yield)


class FetchThread(threading.Thread):
    """Fetches by its own confluent-kafka consumer; the group's membership stays with Faust.

    A stage error that the body raises goes to ``on_death``, which must not return.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        stage: str,
        body: Body,
        on_death: Callable[[Exception], None],
        pace_s: float = 0.0,
        offsets: Mapping[tuple[str, int], Offsets] = NOWHERE,
    ) -> None:
        """Fetches nothing before the first ``assign``; two batches begin at least ``pace_s`` apart.

        ``offsets`` tells of partitions that were restored; all that comes and goes here is by original offsets.
        """
        super().__init__(name=f"fetch-{stage}", daemon=True)
        self._config = {
            "group.id": f"fetch-{stage}",  # librdkafka wants one; this consumer joins none
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 1,  # its default of a second is a pause under load
            "queued.min.messages": 20_000,
            "check.crcs": True,
            **config,
        }
        self._body, self._on_death, self._pace_s, self._offsets = body, on_death, pace_s, offsets
        self._wanted: dict[TP, int] = {}
        self._is_wanted_new = threading.Event()
        self._is_done = threading.Event()

    def assign(self, positions: Mapping[TP, int]) -> None:
        """From the next round on, fetches exactly these partitions from these offsets.

        The consumer itself is assigned by its own thread: from another, ``assign`` may hang.
        """
        self._wanted = dict(positions)
        self._is_wanted_new.set()

    def stop(self) -> None:
        """Ends the thread after the batch in hand."""
        self._is_done.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        """Polls for the first record, takes what else is there, and sends it to the body."""
        try:
            self._run()
        except Exception as error:  # noqa: BLE001 - whatever it is, this thread's death is the stage's
            self._on_death(error)

    def _run(self) -> None:
        consumer = Consumer(self._config)
        body = self._body(HandFed())
        body.send(None)
        next_at_s = 0.0
        try:
            while not self._is_done.is_set():
                if self._is_wanted_new.is_set():
                    self._reassign(consumer)
                first = consumer.poll(POLL_S)
                if first is None or self._is_wanted_new.is_set():
                    continue
                if (wait_s := next_at_s - time.monotonic()) > 0:  # what comes meanwhile travels together
                    time.sleep(wait_s)
                next_at_s = time.monotonic() + self._pace_s
                for batch in _by_partition([first, *consumer.consume(BATCH_RECORDS - 1, 0)], self._offsets):
                    body.send(batch)
        finally:
            body.close()
            consumer.close()

    def _reassign(self, consumer: Consumer) -> None:
        self._is_wanted_new.clear()
        wanted = sorted(self._wanted.items())
        consumer.assign(
            [
                TopicPartition(tp.topic, tp.partition, broker_of(self._offsets, tp, offset))
                for tp, offset in wanted
            ]
        )


def _by_partition(messages: list[Message], offsets: Mapping[tuple[str, int], Offsets]) -> list[Batch]:
    batches: dict[tuple[Any, Any], list[InboxRecord]] = {}
    for message in messages:
        error = message.error()
        if error is not None:
            _check(error, message)
            continue
        place: Any = _offset(message, offsets) if offsets else message.offset()
        record = InboxRecord(place, message.timestamp()[1], message.key(), message.value())
        batches.setdefault((message.topic(), message.partition()), []).append(record)
    return [Batch(*tp, records) for tp, records in batches.items()]


def _offset(message: Message, offsets: Mapping[tuple[str, int], Offsets]) -> Any:
    """The original offset, in a restored engine; in any other no header is looked at."""
    place: Any = message.topic(), message.partition()
    moved = offsets.get(place)
    try:
        return message.offset() if moved is None else moved.checked(message)
    except Displaced as error:
        raise StartRefused(str(error), partition=place[1], offset=message.offset()) from error


def _check(error: KafkaError, message: Message) -> None:
    """A lost place ends the stage; what the client retries by itself does not."""
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's own codes
        raise StartRefused(
            f"the inbox no longer holds the place to go on from: {error.str()}",
            partition=message.partition(),
            offset=message.offset(),
        )
    if error.fatal():
        raise StageError(f"the consumer failed: {error.str()}")
