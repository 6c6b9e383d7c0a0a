"""The desk's line to a running engine: commands go to their inbox, and each waits for its outcome."""

import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.errors import OperatorError
from infra.settings import KafkaConfig
from schemas import codec
from schemas.commands import CashCommand, ControlCommand
from schemas.control_events import CommandApplied
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.events import CashDeposited, CashWithdrawn, CommandRefused
from schemas.partitioner import partition_of
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    BY_NAME,
    CONTROL,
    CONTROL_EVENTS,
    PartitionCounts,
)

PER_RECORD: Final = 200  # reference data of 200 accounts is some 30 KB
TIMEOUT_S: Final = 30.0
Outcome = CommandApplied | CommandRefused | CashDeposited | CashWithdrawn
_OUTCOMES: Final = (CommandApplied, CommandRefused, CashDeposited, CashWithdrawn)


class NoOutcomeError(OperatorError):
    """The engine did not answer in time; a repeat with the same id is safe."""


class Desk:
    """Opened before the first command, so that no outcome is missed; not for two threads."""

    def __init__(self, kafka: KafkaConfig, counts: PartitionCounts, timeout_s: float = TIMEOUT_S) -> None:
        self._counts, self._timeout_s = counts, timeout_s
        self._producer = Producer({**kafka, "acks": "all", "enable.idempotence": True, "linger.ms": 1})
        self._consumer = Consumer(
            {**kafka, "group.id": "desk", "enable.auto.commit": False, "fetch.queue.backoff.ms": 1}
        )
        places = [
            TopicPartition(name, partition)
            for name in (CONTROL_EVENTS, ACCOUNT_EVENTS)
            for partition in range(counts.of(BY_NAME[name]))
        ]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=timeout_s)[1]
        self._consumer.assign(places)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def control(self, commands: Sequence[ControlCommand]) -> list[Outcome]:
        """Sends commands to control and returns their outcomes, in their order.

        Raises:
            NoOutcomeError: the engine did not answer all of them in time.

        """
        for start in range(0, len(commands), PER_RECORD):
            self._send(
                CONTROL, 0, ControlCommands(items=tuple(_stamped(commands[start : start + PER_RECORD])))
            )
        return self._outcomes([(None, command.command_id) for command in commands])  # type: ignore[union-attr]

    def cash(self, commands: Sequence[CashCommand]) -> list[Outcome]:
        """Sends deposits and withdrawals to their accounts' inbox and returns their outcomes, in their order.

        Raises:
            NoOutcomeError: the engine did not answer all of them in time.

        """
        by_partition: dict[int, list[CashCommand]] = {}
        for command in _stamped(commands):
            by_partition.setdefault(partition_of(command.account, self._counts.accounts), []).append(command)
        for partition, group in by_partition.items():
            for start in range(0, len(group), PER_RECORD):
                self._send(
                    ACCOUNT_COMMANDS,
                    partition,
                    AccountCommands(items=tuple(group[start : start + PER_RECORD])),
                )
        return self._outcomes([(command.account, command.command_id) for command in commands])

    def _send(self, topic: str, partition: int, envelope: Any) -> None:
        self._producer.produce(topic, codec.encode(envelope), None, partition)

    def _outcomes(self, wanted: Sequence[tuple[str | None, str]]) -> list[Outcome]:
        if self._producer.flush(self._timeout_s):
            raise NoOutcomeError("the broker takes no commands: is it running?")
        missing, found = set(wanted), {}
        until = time.monotonic() + self._timeout_s
        while missing:
            if time.monotonic() > until:
                raise NoOutcomeError(
                    f"no outcome of {len(missing)} commands within {self._timeout_s:.0f} s: is the engine running?"
                    " Asking again with the same id is safe"
                )
            for message in self._consumer.consume(500, 0.1):
                if message.error() is None:
                    for key, outcome in _found(codec.decode(message.value()).items, missing):
                        found[key] = outcome
                        missing.discard(key)
        return [found[key] for key in wanted]


def _stamped(commands: Iterable[Any]) -> list[Any]:
    """The desk is an edge: it stamps the time, once."""
    now_ns = time.time_ns()
    return [it if it.at_ns else msgspec.structs.replace(it, at_ns=now_ns) for it in commands]


def _found(
    items: Iterable[Any], missing: set[tuple[str | None, str]]
) -> Iterable[tuple[tuple[str | None, str], Outcome]]:
    for item in items:
        if isinstance(item, _OUTCOMES):
            key = (getattr(item, "account", None), item.command_id)
            if key in missing:
                yield key, item
