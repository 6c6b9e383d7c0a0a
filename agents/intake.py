"""Intake: what is open to every producer becomes commands in risk's inbox, or is refused with a reason.

An edge, not a stage: it keeps no state. It checks form alone, stamps the time at which the broker took the
order and whose topic it came by, and sends on by the engine's own partitioner. A batch's commands for one
partition travel together.

Whether a client may speak for an account is risk's to say. So a client's malformed command is not refused to
the account that it names, which may be another's: it becomes a dead letter.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, assert_never

import msgspec

from agents.rules.intake import is_identifier, refusal
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord, Output
from schemas import codec
from schemas.commands import CancelOrder, ClientCommand, MassCancel, PlaceOrder, ReplaceOrder
from schemas.envelopes import AccountCommands, AccountEvents, DeadLetter
from schemas.events import CancelRejected, CommandRefused, OrderRejected, ReplaceRejected
from schemas.maximums import COMMANDS_PER_RECORD
from schemas.partitioner import partition_of
from schemas.reasons import code
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, DEAD_LETTERS, ORDER_RECORDS, client_of

NS_PER_MS: Final = 1_000_000
_TYPES: Final = frozenset(ORDER_RECORDS)


class Intake:
    """Equal batches give equal outputs; ``refused`` and ``dead_letters`` count by topic and reason."""

    def __init__(self, account_partitions: int) -> None:
        """``account_partitions`` is the engine's."""
        self._partitions = account_partitions
        self.refused: Counter[tuple[str, str]] = Counter()
        self.dead_letters: Counter[tuple[str, str]] = Counter()

    def decide(self, batch: Batch) -> Iterator[Output]:
        """Commands by partition in their order, then refusals, then dead letters."""
        commands: dict[int, list[ClientCommand]] = {}
        refusals: dict[int, list[Any]] = {}
        letters: list[DeadLetter] = []
        client = client_of(batch.topic)
        for record in batch.records:
            at_ns = record.timestamp_ms * NS_PER_MS
            try:
                command: Any = codec.decode(record.value or b"")
            except codec.DecodeError as error:
                letters.append(self._letter(batch, record, _reason(error), str(error)))
                continue
            if type(command) not in _TYPES:
                detail = f"{type(command).__name__} is no command for {batch.topic}"
                letters.append(self._letter(batch, record, "unknown_type", detail))
                continue
            fault = refusal(command)
            account = command.account
            if fault is None and account is not None:
                stamped = msgspec.structs.replace(command, at_ns=at_ns, client=client)
                commands.setdefault(partition_of(account, self._partitions), []).append(stamped)
            elif fault is not None and client is None and _can_be_answered(command):
                self.refused[batch.topic, fault[0]] += 1
                refused = _refused(command, *fault, at_ns)
                refusals.setdefault(partition_of(account, self._partitions), []).append(refused)
            else:
                letters.append(self._letter(batch, record, *(fault or _NO_ACCOUNT)))
        yield from _packed(ACCOUNT_COMMANDS, AccountCommands, commands)
        yield from _packed(ACCOUNT_EVENTS, AccountEvents, refusals)
        for letter in letters:
            yield Output((DEAD_LETTERS,), 0, codec.encode(letter))

    def _letter(self, batch: Batch, record: InboxRecord, reason: str, detail: str) -> DeadLetter:
        self.dead_letters[batch.topic, reason] += 1
        return DeadLetter(
            topic=batch.topic,
            partition=batch.partition,
            offset=record.offset,
            reason=reason,
            reason_code=code(reason),
            detail=detail,
            key=record.key,
            value=record.value,
            at_ns=record.timestamp_ms * NS_PER_MS,
        )


_NO_ACCOUNT: Final = ("invalid_identifier", "a mass cancel from a client names its account")


def _reason(error: codec.DecodeError) -> str:
    return "unknown_schema" if isinstance(error, codec.UnknownSchema) else "undecodable"


def _can_be_answered(command: ClientCommand) -> bool:
    """An answer needs a name to send it to, and an id to name the command by."""
    command_id = command.command_id if isinstance(command, MassCancel) else command.client_order_id
    return bool(command.account and is_identifier(command.account) and is_identifier(command_id))


def _packed(topic: str, envelope: Any, items: dict[int, list[Any]]) -> Iterator[Output]:
    for partition, list_ in items.items():
        for start in range(0, len(list_), COMMANDS_PER_RECORD):
            part = tuple(list_[start : start + COMMANDS_PER_RECORD])
            yield Output((topic,), partition, codec.encode(envelope(items=part)))


def _refused(command: ClientCommand, reason: str, detail: str, at_ns: int) -> Any:
    match command:
        case PlaceOrder():
            return OrderRejected(
                account=command.account,
                client_order_id=command.client_order_id,
                instrument=command.instrument if is_identifier(command.instrument) else "",
                order_id=None,
                reason=reason,
                reason_code=code(reason),
                at_ns=at_ns,
            )
        case CancelOrder() | ReplaceOrder():
            rejected = CancelRejected if isinstance(command, CancelOrder) else ReplaceRejected
            original = command.original_client_order_id
            return rejected(
                account=command.account,
                client_order_id=command.client_order_id,
                original_client_order_id=original if is_identifier(original) else "",
                instrument=None,
                order_id=None,
                reason=reason,
                reason_code=code(reason),
                at_ns=at_ns,
            )
        case MassCancel():
            return CommandRefused(
                command_id=command.command_id,
                account=command.account,
                reason=reason,
                reason_code=code(reason),
                detail=detail,
                at_ns=at_ns,
            )
        case _:
            assert_never(command)
