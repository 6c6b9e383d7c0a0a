"""Halts, kills and mass cancels; a kill and a mass cancel are sweeps over the partitions of the books.

A sweep goes out behind the orders that were let through, from the same origin, so none slips by it; each book
answers with its count, and the last answer makes one MassCancelled of them.
"""

from typing import Literal

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import outcomes
from agents.rules.risk.checks import count_message
from agents.rules.risk.desk import Desk
from schemas.book_commands import RemoveOrders
from schemas.commands import MassCancel
from schemas.control_events import (
    KillActivated,
    KillLifted,
    MassCancelOrdered,
    TradingHalted,
    TradingResumed,
)
from schemas.events import MassCancelled, OrdersRemoved
from schemas.partitioner import partition_of
from schemas.record import Side
from schemas.topics import BOOK_COMMANDS
from tables.risk import ALL, DONE, NO_ORDER, KillRow, SweepRow, pair

SweepReason = Literal["mass_cancel", "killed"]


def halted(desk: Desk, item: TradingHalted, place: Place, outbox: Outbox) -> None:  # noqa: ARG001  (all alike)
    """Orders and replaces are refused from here on."""
    desk.tables.halts[item.instrument or ALL] = True


def resumed(desk: Desk, item: TradingResumed, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """A halt of exactly this scope is over."""
    desk.tables.halts.pop(item.instrument or ALL, None)


def killed(desk: Desk, item: KillActivated, place: Place, outbox: Outbox) -> None:
    """New orders are refused from here on, and those that work are swept away."""
    if _concerns(desk, item.account):
        desk.tables.kills[_scope(item)] = KillRow(item.allow_reducing)
        sweep = _sweep(item.command_id, item.account, item.instrument, None)
        _send(desk, sweep, "killed", place, outbox)


def kill_lifted(desk: Desk, item: KillLifted, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The kill of exactly this scope is over."""
    desk.tables.kills.pop(_scope(item), None)


def mass_cancel_ordered(desk: Desk, item: MassCancelOrdered, place: Place, outbox: Outbox) -> None:
    """An operator's mass cancel, for the accounts of this partition."""
    if _concerns(desk, item.account):
        side: Side | None = "BUY" if item.side == "BUY" else "SELL" if item.side == "SELL" else None
        sweep = _sweep(item.command_id, item.account, item.instrument, side)
        _send(desk, sweep, "mass_cancel", place, outbox)


def mass_cancel(desk: Desk, item: MassCancel, place: Place, outbox: Outbox) -> None:
    """A client's mass cancel, of its own account."""
    assert item.account is not None, "without an account it is an operator's, which control takes"
    key = pair(item.account, item.command_id)
    if outcomes.is_answered(desk, item, key, place, outbox):
        return
    if ledger := desk.ledgers.get(item.account):
        count_message(desk, ledger, place.now_ns)
    if outcomes.is_too_old(item, place.now_ns):
        detail = "ids so old are not kept: send it anew, under a new id"
        desk.say(outbox, outcomes.refusal(item, "command_too_old", place.now_ns, (detail,)))
    elif ledger is None:
        _refuse(desk, key, item, place, outbox, ("unknown_account", f"there is no account {item.account}"))
    elif item.instrument is not None and item.instrument not in desk.markets:
        fault = "unknown_instrument", f"there is no instrument {item.instrument}"
        _refuse(desk, key, item, place, outbox, fault)
    else:
        outcomes.await_answer(desk, key, item, place, NO_ORDER)
        sweep = _sweep(item.command_id, item.account, item.instrument, item.side, is_clients=True)
        _send(desk, sweep, "mass_cancel", place, outbox)


def orders_removed(desk: Desk, item: OrdersRemoved, place: Place, outbox: Outbox) -> None:
    """One partition of the books has done its part; the last one ends the sweep."""
    sweep = desk.tables.sweeps[item.sweep_id]
    waiting, removed = sweep.waiting_count - 1, sweep.removed_count + item.removed_count
    if waiting:
        desk.tables.sweeps[item.sweep_id] = SweepRow(
            sweep.command_id,
            sweep.account,
            sweep.instrument,
            sweep.side,
            sweep.is_clients,
            waiting,
            removed,
        )
        return
    del desk.tables.sweeps[item.sweep_id]
    if sweep.is_clients and sweep.account is not None:
        key = pair(sweep.account, sweep.command_id)
        outcomes.answer(desk, key, desk.tables.commands[key], place.now_ns, DONE, (removed,))
    desk.say(
        outbox,
        MassCancelled(
            command_id=sweep.command_id,
            account=sweep.account,
            instrument=sweep.instrument,
            side=sweep.side,
            count=removed,
            at_ns=place.now_ns,
        ),
    )


def _concerns(desk: Desk, account: str | None) -> bool:
    return account is None or partition_of(account, desk.counts.accounts) == desk.partition


def _scope(item: KillActivated | KillLifted) -> str:
    return pair(item.account or ALL, item.instrument or ALL)


def _sweep(
    command_id: str,
    account: str | None,
    instrument: str | None,
    side: Side | None,
    *,
    is_clients: bool = False,
) -> SweepRow:
    return SweepRow(command_id, account, instrument, side, is_clients, 0, 0)


def _send(desk: Desk, sweep: SweepRow, reason: SweepReason, place: Place, outbox: Outbox) -> None:
    """Asks the instrument's book partition, or all of them."""
    books = desk.counts.books
    asked = range(books) if sweep.instrument is None else (partition_of(sweep.instrument, books),)
    sweep_id = place.id()
    desk.tables.sweeps[sweep_id] = SweepRow(
        sweep.command_id, sweep.account, sweep.instrument, sweep.side, sweep.is_clients, len(asked), 0
    )
    for partition in asked:
        outbox.send(
            BOOK_COMMANDS,
            partition,
            RemoveOrders(
                command_id=sweep.command_id,
                account_partition=desk.partition,
                account=sweep.account,
                instrument=sweep.instrument,
                side=sweep.side,
                reason=reason,
                at_ns=place.now_ns,
                sweep_id=sweep_id,
            ),
        )


def _refuse(
    desk: Desk, key: str, item: MassCancel, place: Place, outbox: Outbox, fault: tuple[str, str]
) -> None:
    reason, detail = fault
    outcomes.row_of(desk, key, item, place, reason, (detail,))
    desk.say(outbox, outcomes.refusal(item, reason, place.now_ns, (detail,)))
