"""When the last order was settled: read from the topics after the fact, so that looking costs nothing."""

import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from confluent_kafka import Message

from infra.bench.load import Load
from infra.errors import OperatorError
from infra.settings import KafkaConfig
from schemas import codec
from schemas.events import OrderFilled
from schemas.settlement_events import TradeConfirmed
from schemas.topics import ACCOUNT_EVENTS, SETTLEMENT_EVENTS
from tables.checkpointed.reader import LogReader

QUIET_S: Final = 1.0
POLL_S: Final = 0.05


class Settled(NamedTuple):
    """When settlement said its last word (UTC ms, as its producer stamped it), and the fills it confirmed."""

    at_ms: int
    fills: int


class SettledWatch:
    """Made before a load; ``wait`` once every order has its report."""

    def __init__(self, kafka: KafkaConfig, namespace: str, partitions: int) -> None:
        self._reader = LogReader(kafka)
        self._partitions = range(partitions)
        self._events, self._words = namespace + ACCOUNT_EVENTS, namespace + SETTLEMENT_EVENTS
        self._begin = {topic: self._ends(topic) for topic in (self._events, self._words)}

    @classmethod
    def of(cls, load: Load) -> "SettledWatch":
        """The watch for what a load is sent to."""
        return cls(load.kafka, load.namespace, load.partitions)

    def wait(self, patience_s: float) -> Settled:
        """Waits until every fill is confirmed.

        Raises:
            OperatorError: settlement fell silent before.

        """
        until = time.monotonic() + patience_s
        while time.monotonic() < until:
            self._quiet()
            fills, _ = self._count(self._events, OrderFilled)
            confirmed, at_ms = self._count(self._words, TradeConfirmed)
            if fills == confirmed:
                self._reader.close()
                return Settled(at_ms, fills)
        raise OperatorError(f"of {fills} fills only {confirmed} were confirmed after {patience_s:.0f} s")

    def _quiet(self) -> None:
        """Settlement has nothing to say to ticks: its topic stands still once all is settled."""
        ends: list[int] = []
        grown_at = time.monotonic()
        while time.monotonic() - grown_at < QUIET_S:
            now = self._ends(self._words)
            if now != ends:
                ends, grown_at = now, time.monotonic()
            time.sleep(POLL_S)

    def _ends(self, topic: str) -> list[int]:
        return [self._reader.bounds(topic, partition).end for partition in self._partitions]

    def _count(self, topic: str, kind: type) -> tuple[int, int]:
        """How many items of a kind were said since the start, and when the last record was."""
        count = at_ms = 0
        for message in self._messages(topic):
            at_ms = max(at_ms, message.timestamp()[1])
            envelope: Any = codec.decode(message.value())
            count += sum(type(item) is kind for item in envelope.items)
        return count, at_ms

    def _messages(self, topic: str) -> Iterator[Message]:
        """What came since the start, up to the end as it is now: ticks go on for ever."""
        for partition, begin in zip(self._partitions, self._begin[topic], strict=True):
            yield from self._reader.read(topic, partition, begin)
