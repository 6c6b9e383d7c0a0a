"""Command ids: the first outcome of each, said again to whoever repeats the command.

One namespace an account, over orders, cancels, replaces, mass cancels and cash. A repeat with other content
is refused; one whose answer is still to come gets that answer, so nothing is said twice. An id goes when it
is closed and older than the command window (``desk.kept_until_ns``); a command older than that is refused.
"""

from collections.abc import Callable
from heapq import heappop
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, TypeVar, assert_never
from zlib import crc32

import msgspec

from agents.rules.outbox import Outbox, Place
from agents.rules.risk.desk import Desk, kept_until_ns
from schemas.commands import (
    AccountCommand,
    CancelOrder,
    ClientCommand,
    Deposit,
    MassCancel,
    PlaceOrder,
    ReplaceOrder,
    Withdraw,
)
from schemas.events import (
    CancelRejected,
    CashDeposited,
    CashWithdrawn,
    CommandRefused,
    MassCancelled,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderReplaced,
    ReplaceRejected,
)
from schemas.maximums import COMMAND_WINDOW_NS, EVICTIONS_PER_RECORD
from schemas.reasons import CODES
from schemas.record import Record
from tables.risk import DONE, NO_ORDER, PENDING, CommandKind, CommandRow

REASONS: Final = MappingProxyType({number: reason for reason, number in CODES.items()})

_KINDS: Final[dict[type[Record], CommandKind]] = {
    PlaceOrder: "P",
    CancelOrder: "C",
    ReplaceOrder: "R",
    MassCancel: "M",
    Deposit: "D",
    Withdraw: "W",
}
_NOT_CONTENT: Final = frozenset({"client_order_id", "command_id", "at_ns", "client"})
_encode: Final = msgspec.msgpack.Encoder().encode
R = TypeVar("R", bound=AccountCommand)


# The fields that each command was released with: those of later versions count only where they are told, so
# that a repeat of a command from before an upgrade is a repeat. Never to be changed: digests are remembered.
_FIRST_CONTENT: Final[dict[type[Record], tuple[str, ...]]] = {
    PlaceOrder: (
        "account",
        "instrument",
        "side",
        "order_type",
        "time_in_force",
        "quantity_lots",
        "price_ticks",
        "stop_price_ticks",
        "display_quantity_lots",
        "minimum_quantity_lots",
        "post_only",
        "expires_at_ns",
        "self_trade_prevention",
    ),
    CancelOrder: ("account", "original_client_order_id"),
    ReplaceOrder: ("account", "original_client_order_id", "price_ticks", "quantity_lots"),
    MassCancel: ("account", "instrument", "side"),
    Deposit: ("account", "currency", "amount_minor"),
    Withdraw: ("account", "currency", "amount_minor"),
}


def content_of(command: type[Record], first: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """What makes two commands of one id the same: all but the id, and what a retry may have stamped anew.

    The ``first`` fields by their values, then each later one that is not at its default, with its name.
    """
    released = attrgetter(*first)
    later = sorted(
        (field.name, field.default)
        for field in msgspec.structs.fields(command)
        if field.name not in _NOT_CONTENT and field.name not in first
    )
    if not later:
        return released

    def content(it: Any) -> tuple[Any, ...]:
        told = ((name, value) for name, default in later if (value := getattr(it, name)) != default)
        return (*released(it), *told)

    return content


_CONTENTS: Final = {command: content_of(command, first) for command, first in _FIRST_CONTENT.items()}


def digest_of(command: AccountCommand) -> int:
    """Stands for a command's content: a crc32, which any change within four bytes of it must change."""
    kind = type(command)
    return crc32(_encode((_KINDS[kind], _CONTENTS[kind](command))))


def is_answered(desk: Desk, command: ClientCommand, key: str, place: Place, outbox: Outbox) -> bool:
    """Answers what a stranger says, and what was said before: neither counts as a message of the account."""
    if command.client is not None and _is_strangers(desk, command, place, outbox):
        return True
    known = desk.known(key)
    if known is None:
        return False
    repeat(desk, command, known, place, outbox)
    return True


def _is_strangers(desk: Desk, command: ClientCommand, place: Place, outbox: Outbox) -> bool:
    """Refuses what a client says for an account that is not his, before anything else.

    Neither the command's id nor a message is counted: a stranger can use up nothing of others, nor tell from
    the answer what they have done.
    """
    ledger = desk.ledgers.get(command.account or "")
    if ledger is not None and command.client in ledger.account.clients:
        return False
    reason, detail = (
        ("unknown_account", f"there is no account {command.account}")
        if ledger is None
        else ("not_your_account", f"the account {command.account} does not list {command.client}")
    )
    desk.say(outbox, refusal(command, reason, place.now_ns, (detail,)))
    return True


def is_too_old(command: AccountCommand, now_ns: int) -> bool:
    """Whether a command is older than ids are kept, so that nobody can say whether it was seen."""
    return command.at_ns < now_ns - COMMAND_WINDOW_NS


def row_of(
    desk: Desk,
    key: str,
    command: AccountCommand,
    place: Place,
    reason: str | None,
    first: tuple[int | str | None, ...] = (),
    order_id: int = NO_ORDER,
) -> None:
    """Remembers a command that was answered at once: refused for a reason, or done."""
    kind, digest = _KINDS[type(command)], digest_of(command)
    number = CODES[reason] if reason else DONE
    until = kept_until_ns(key, place.now_ns)
    desk.keep_id(key, CommandRow(kind, digest, order_id, number, place.now_ns, until, first))


def await_answer(desk: Desk, key: str, command: AccountCommand, place: Place, order_id: int) -> None:
    """Remembers a command that was let through and waits for matching's answer."""
    row = CommandRow(_KINDS[type(command)], digest_of(command), order_id, PENDING, place.now_ns, 0)
    desk.tables.commands[key] = row


def answer(
    desk: Desk, key: str, row: CommandRow, at_ns: int, reason_code: int, first: tuple[int | str | None, ...]
) -> None:
    """Remembers the answer to a command that waited, and lets its id go in time."""
    until = kept_until_ns(key, at_ns)
    desk.keep_id(key, CommandRow(row.kind, row.digest, row.order_id, reason_code, at_ns, until, first))


def name_order(
    desk: Desk, key: str, row: CommandRow, at_ns: int, first: tuple[int | str | None, ...] = ()
) -> None:
    """Remembers a yes by which the id became the name of an open order: it may not go before the order."""
    desk.tables.commands[key] = CommandRow(row.kind, row.digest, row.order_id, DONE, at_ns, 0, first)


def close_name(desk: Desk, key: str, now_ns: int, session_end_minute_utc: int) -> None:
    """Lets an id go in time: its order closed, or goes by another one."""
    row = desk.known(key)
    assert row is not None, f"{key} names an order and was never heard of"
    until = kept_until_ns(key, now_ns, session_end_minute_utc)
    desk.keep_id(
        key,
        CommandRow(row.kind, row.digest, row.order_id, row.reason_code, row.at_ns, until, row.first),
    )


def forget(desk: Desk, now_ns: int) -> None:
    """Drops the ids that are due: those of at most so many, and the rest of that moment's."""
    left, due = EVICTIONS_PER_RECORD, desk.due_times
    while due and due[0] <= now_ns and left > 0:
        keys = desk.closed_ids.pop(heappop(due))
        left -= len(keys)
        for key in keys:
            del desk.tables.commands[key]


def repeat(desk: Desk, command: AccountCommand, row: CommandRow, place: Place, outbox: Outbox) -> None:
    """Answers a command whose id is known."""
    if row.kind != _KINDS[type(command)] or row.digest != digest_of(command):
        is_order = isinstance(command, (PlaceOrder, CancelOrder, ReplaceOrder))
        reason = "client_order_id_already_used" if is_order else "command_id_already_used"
        detail = "the id names a command of other content: take a new one"
        desk.say(outbox, refusal(command, reason, place.now_ns, (detail,)))
    elif row.reason_code != PENDING:
        desk.say(outbox, first_outcome(command, row))


def first_outcome(command: AccountCommand, row: CommandRow) -> Record:
    """The first outcome of a command once more, from the command itself and what was remembered."""
    if row.reason_code == DONE:
        return _yes(command, row)
    order_id = None if row.order_id == NO_ORDER else row.order_id
    return refusal(
        command, REASONS[row.reason_code], row.at_ns, row.first, order_id=order_id, possible_resend=True
    )


def refusal(
    command: AccountCommand,
    reason: str,
    at_ns: int,
    first: tuple[Any, ...] = (),
    *,
    order_id: int | None = None,
    possible_resend: bool = False,
) -> Record:
    """The no to a command. ``first``: a cancel's or replace's instrument, any other command's detail."""
    match command:
        case PlaceOrder():
            return OrderRejected(
                account=command.account,
                client_order_id=command.client_order_id,
                instrument=command.instrument,
                order_id=order_id,
                reason=reason,
                reason_code=CODES[reason],
                at_ns=at_ns,
                possible_resend=possible_resend,
            )
        case CancelOrder() | ReplaceOrder():
            return (CancelRejected if isinstance(command, CancelOrder) else ReplaceRejected)(
                account=command.account,
                client_order_id=command.client_order_id,
                original_client_order_id=command.original_client_order_id,
                instrument=first[0] if order_id is not None else None,
                order_id=order_id,
                reason=reason,
                reason_code=CODES[reason],
                at_ns=at_ns,
                possible_resend=possible_resend,
            )
        case MassCancel() | Deposit() | Withdraw():
            return CommandRefused(
                command_id=command.command_id,
                account=command.account,
                reason=reason,
                reason_code=CODES[reason],
                detail=first[0],
                at_ns=at_ns,
                possible_resend=possible_resend,
            )
        case _:
            assert_never(command)


def _yes(command: AccountCommand, row: CommandRow) -> Record:
    first: tuple[Any, ...] = row.first
    match command:
        case PlaceOrder():
            return OrderAccepted(
                account=command.account,
                client_order_id=command.client_order_id,
                instrument=command.instrument,
                order_id=row.order_id,
                side=command.side,
                order_type=command.order_type,
                time_in_force=command.time_in_force,
                quantity_lots=command.quantity_lots,
                price_ticks=command.price_ticks,
                stop_price_ticks=command.stop_price_ticks,
                at_ns=row.at_ns,
                possible_resend=True,
            )
        case CancelOrder():
            client_order_id, instrument, cancelled, cum = first
            return OrderCancelled(
                account=command.account,
                client_order_id=client_order_id,
                instrument=instrument,
                order_id=row.order_id,
                reason="requested",
                reason_code=CODES["requested"],
                command_id=command.client_order_id,
                cancelled_quantity_lots=cancelled,
                cum_quantity_lots=cum,
                at_ns=row.at_ns,
                possible_resend=True,
            )
        case ReplaceOrder():
            instrument, price, quantity, cum, leaves = first
            return OrderReplaced(
                account=command.account,
                client_order_id=command.client_order_id,
                original_client_order_id=command.original_client_order_id,
                instrument=instrument,
                order_id=row.order_id,
                price_ticks=price,
                quantity_lots=quantity,
                cum_quantity_lots=cum,
                leaves_quantity_lots=leaves,
                at_ns=row.at_ns,
                possible_resend=True,
            )
        case MassCancel():
            return MassCancelled(
                command_id=command.command_id,
                account=command.account,
                instrument=command.instrument,
                side=command.side,
                count=first[0],
                at_ns=row.at_ns,
                possible_resend=True,
            )
        case Deposit() | Withdraw():
            return (CashDeposited if isinstance(command, Deposit) else CashWithdrawn)(
                account=command.account,
                command_id=command.command_id,
                currency=command.currency,
                amount_minor=command.amount_minor,
                at_ns=row.at_ns,
                possible_resend=True,
            )
        case _:
            assert_never(command)
