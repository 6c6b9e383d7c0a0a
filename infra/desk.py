"""The desk's line to a running engine: commands go to their inbox, and each waits for its outcome.

Each command is an act of whoever asks: it is in `audit` before it is sent, and again with its outcome.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from infra.acts import Actor, Deed, deed_of
from infra.cluster import connected, counts_of
from infra.errors import OperatorError
from infra.settings import KafkaConfig, Settings
from infra.tail import consumer_at_end
from schemas import codec
from schemas.audit import Act
from schemas.commands import CashCommand, ControlCommand, Tick
from schemas.control_events import CommandApplied
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.events import CashDeposited, CashWithdrawn, CommandRefused, MassCancelled
from schemas.partitioner import partition_of
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    AUDIT,
    BY_NAME,
    CONTROL,
    CONTROL_EVENTS,
    PartitionCounts,
)

PER_RECORD: Final = 200  # reference data of 200 accounts is some 30 KB
TIMEOUT_S: Final = 30.0
Outcome = CommandApplied | CommandRefused | CashDeposited | CashWithdrawn
_Key = tuple[int, str, str]
"""The account partition that a cash command or a sweep is answered by (-1: control), account, command id."""
_BY_CONTROL: Final = -1
States = Callable[[Any], tuple[Any, Any]]
"""Gives the state before and after a command of what it changed; asked once it was applied, so it may take time."""
_REPEAT: Final = "a repeat of this command id: it was applied at the first time"


def unknown_states(_command: Any) -> tuple[Any, Any]:
    """For commands that nobody knows the states of."""
    return None, None


class NoOutcomeError(OperatorError):
    """The engine did not answer in time; a repeat with the same id is safe."""


class Desk:
    """Opened before the first command, so that no outcome is missed; not for two threads.

    ``timeout_s`` is the longest silence: each outcome that comes starts it again. KafkaException where Kafka does
    not answer at once.
    """

    def __init__(
        self,
        kafka: KafkaConfig,
        counts: PartitionCounts,
        timeout_s: float = TIMEOUT_S,
        actor: Actor | None = None,
    ) -> None:
        """Without an ``actor`` (a benchmark, a demo) no acts are written."""
        self._actor = actor
        self._refused: list[str] = []
        self._counts, self._timeout_s = counts, timeout_s
        self._producer = Producer({**kafka, "acks": "all", "enable.idempotence": True, "linger.ms": 1})
        topics = [(name, counts.of(BY_NAME[name])) for name in (CONTROL_EVENTS, ACCOUNT_EVENTS)]
        self._consumer = consumer_at_end(kafka, topics)
        self._answers: dict[_Key, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def control(self, commands: Sequence[ControlCommand], states: States = unknown_states) -> list[Outcome]:
        """Sends commands to control and returns their outcomes, in their order.

        Raises:
            NoOutcomeError: the engine did not answer all of them in time.

        """
        assert not any(isinstance(command, Tick) for command in commands), "nobody answers the clock"
        deeds = self._ask(commands)
        for items in _parts(_stamped(commands)):
            self._producer.produce(CONTROL, codec.encode(ControlCommands(items=items)), None, 0)
        keys: list[_Key] = [(_BY_CONTROL, "", it.command_id) for it in commands]  # type: ignore[union-attr]
        return self._told(deeds, commands, keys, states)

    def cash(self, commands: Sequence[CashCommand]) -> list[Outcome]:
        """Sends deposits and withdrawals to their accounts' inbox and returns their outcomes, in their order.

        Raises:
            NoOutcomeError: the engine did not answer all of them in time.

        """
        deeds = self._ask(commands)
        by_partition: dict[int, list[CashCommand]] = {}
        for command in _stamped(commands):
            by_partition.setdefault(self._partition(command.account), []).append(command)
        for partition, group in by_partition.items():
            for items in _parts(group):
                value = codec.encode(AccountCommands(items=items))
                self._producer.produce(ACCOUNT_COMMANDS, value, None, partition)
        keys = [(self._partition(it.account), it.account, it.command_id) for it in commands]
        return self._told(deeds, commands, keys, unknown_states)

    def swept(self, command_id: str, account: str | None) -> int:
        """Waits until a kill or a mass cancel that control applied is done, and gives how many orders it cancelled.

        Raises:
            NoOutcomeError: not every account partition has said so in time.

        """
        partitions = range(self._counts.accounts) if account is None else (self._partition(account),)
        try:
            done = self._outcomes([(partition, account or "", command_id) for partition in partitions])
        except NoOutcomeError as error:
            raise NoOutcomeError(
                f"control applied {command_id}, but the orders are not known to be gone after {self._timeout_s:.0f} s:"
                " they go, and new ones are refused, as soon as risk and matching run; see `trading status`"
            ) from error
        return sum(it.count for it in done)

    def _ask(self, commands: Sequence[Any]) -> list[Deed]:
        """Writes down what is about to be asked for."""
        deeds = [deed_of(command) for command in commands]
        self._write([self._actor.act(deed, "ASKED") for deed in deeds] if self._actor else [])
        return deeds

    def _told(
        self, deeds: Sequence[Deed], commands: Sequence[Any], keys: Sequence[_Key], states: States
    ) -> list[Any]:
        """Waits for the outcomes, and writes them down."""
        actor = self._actor
        try:
            outcomes = self._outcomes(keys)
        except NoOutcomeError:
            if actor is not None:
                self._write(
                    [_known(actor, *it) for it in zip(deeds, map(self._answers.get, keys), strict=True)]
                )
            raise
        if actor is not None:
            for deed, command, outcome in zip(deeds, commands, outcomes, strict=True):
                if not isinstance(outcome, CommandRefused) and not outcome.possible_resend:
                    deed.before, deed.after = states(command)
            self._write([_known(actor, *it) for it in zip(deeds, outcomes, strict=True)])
        return outcomes

    def _write(self, acts: Sequence[Act]) -> None:
        for act in acts:
            self._producer.produce(AUDIT, codec.encode(act), act.operator, 0, on_delivery=self._on_delivery)
        if acts and (self._producer.flush(self._timeout_s) or self._refused):
            why = self._refused[0] if self._refused else f"no answer within {self._timeout_s:.0f} s"
            raise NoOutcomeError(
                f"Kafka did not take the record of {acts[0].action} ({acts[0].outcome}) into {AUDIT}: {why}."
                f" {'Nothing was asked for' if acts[0].outcome == 'ASKED' else 'What was asked for stands'}"
            )

    def _on_delivery(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused.append(error.str())

    def _partition(self, account: str) -> int:
        return partition_of(account, self._counts.accounts)

    def _outcomes(self, wanted: Sequence[_Key]) -> list[Any]:
        if self._producer.flush(self._timeout_s):
            raise NoOutcomeError(
                f"Kafka took no commands within {self._timeout_s:.0f} s: is it running? {_again(wanted)}"
            )
        missing = set(wanted) - self._answers.keys()
        until = time.monotonic() + self._timeout_s
        while missing:
            if self._read() and (heard := missing & self._answers.keys()):
                missing -= heard
                until = time.monotonic() + self._timeout_s
            if time.monotonic() > until:
                raise NoOutcomeError(
                    f"no outcome of {len(missing)} commands within {self._timeout_s:.0f} s: `trading status` shows"
                    f" whether the engine runs. {_again(sorted(missing))}"
                )
        return [self._answers[key] for key in wanted]

    def _read(self) -> bool:
        """Keeps every answer there is: a sweep's may come before control's own."""
        for message in self._consumer.consume(500, 0.1):
            topic, partition, value = message.topic(), message.partition(), message.value()
            if message.error() is None and value is not None and partition is not None:
                at = _BY_CONTROL if topic == CONTROL_EVENTS else partition
                self._answers.update(_answers(at, codec.decode(value)))
        return bool(self._answers)


@contextmanager
def open_desk(settings: Settings, timeout_s: float) -> Iterator[Desk]:
    """Open the line to the engine, for whoever runs this; raises as `connected`."""
    with (
        connected(settings) as kafka,
        Desk(kafka, counts_of(settings), timeout_s, Actor.of(settings)) as desk,
    ):
        yield desk


def _answers(at: int, envelope: Any) -> Iterable[tuple[_Key, Any]]:
    for item in envelope.items:
        match item:
            case CommandApplied() | CommandRefused() if at == _BY_CONTROL:
                yield (at, "", item.command_id), item
            case CommandRefused() | CashDeposited() | CashWithdrawn() | MassCancelled():
                yield (at, item.account or "", item.command_id), item
            case _:
                pass  # of no concern to an operator who waits


def _known(actor: Actor, deed: Deed, outcome: Outcome | None) -> Act:
    match outcome:
        case None:
            return actor.act(deed, "UNKNOWN", "no outcome came in time")
        case CommandRefused():
            return actor.act(deed, "REFUSED", f"{outcome.reason}: {outcome.detail}".removesuffix(": "))
        case _:
            return actor.act(deed, "APPLIED", _REPEAT if outcome.possible_resend else None)


def _stamped(commands: Iterable[Any]) -> list[Any]:
    """The desk is an edge: it stamps the time, once."""
    now_ns = time.time_ns()
    return [it if it.at_ns else msgspec.structs.replace(it, at_ns=now_ns) for it in commands]


def _parts(commands: list[Any]) -> Iterable[tuple[Any, ...]]:
    return (tuple(commands[start : start + PER_RECORD]) for start in range(0, len(commands), PER_RECORD))


def _again(keys: Sequence[_Key]) -> str:
    first = keys[0][2]
    return f"Asking again with the same id ({first}{', ...' if len(keys) > 1 else ''}) is safe"
