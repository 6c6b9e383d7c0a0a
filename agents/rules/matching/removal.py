"""Cancels: of one order by its id, of many by a filter, of those whose time has come by the clock."""

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from agents.rules.matching.turn import ANSWERS, Turn
from schemas.book_commands import ContinueExpiry, RemoveOrder, RemoveOrders
from schemas.events import CancelRejected, OrderExpired, OrdersRemoved
from schemas.maximums import INT64_MAX
from schemas.reasons import code
from schemas.topics import BOOK_COMMANDS
from tables.books import Books
from tables.matching import BookOrder


def remove(turn: Turn, command: RemoveOrder) -> None:
    """Takes a cancel of one order; it works in a halt too."""
    order = turn.books.orders.get(command.order_id)
    if order is not None:
        turn.cancel(order, "requested", command.client_order_id)
        return
    turn.answer(
        command.account,
        CancelRejected(
            account=command.account,
            client_order_id=command.client_order_id,
            original_client_order_id=command.original_client_order_id,
            instrument=command.instrument,
            order_id=command.order_id,
            reason="unknown_order",
            reason_code=code("unknown_order"),
            at_ns=turn.now_ns,
        ),
    )


def remove_many(turn: Turn, command: RemoveOrders) -> None:
    """Cancels, in order-id order, what the filters select; the last record of a sweep answers with the count.

    What a sweep has still to visit is kept from record to record, or else found again: the same orders, as
    those that enter later have greater ids than the sweep's, which is a place in the same log.
    """
    orders, sweep = turn.books.orders, (command.account_partition, command.sweep_id)
    ids = turn.sweeps.pop(sweep, None)
    if ids is None:
        ids = deque(sorted(_selected(turn, command)))
    last, count = command.after_order_id, command.removed_count
    while ids and (turn.removals_left or ids[0] not in orders):
        order = orders.get(ids.popleft())
        if order is not None:
            turn.cancel(order, command.reason, command.command_id)
            turn.removals_left -= 1
            last, count = order.order_id, count + 1
    if ids:
        turn.sweeps[sweep] = ids
        rest = replace(command, after_order_id=last, removed_count=count)
        turn.send((BOOK_COMMANDS, turn.partition), rest)
    else:
        _tell_removed(turn, command, count)


def _selected(turn: Turn, command: RemoveOrders) -> Iterator[int]:
    """The ids of the orders that a sweep has still to cancel, in no order."""
    before = INT64_MAX if command.sweep_id < 0 else command.sweep_id
    for order in _candidates(turn.books, command):
        if (
            command.after_order_id < order.order_id < before
            and command.account in (None, order.account)
            and command.instrument in (None, order.instrument)
            and command.side in (None, order.side)
            and turn.account_partition(order.account) == command.account_partition
        ):
            yield order.order_id


def _candidates(books: Books, command: RemoveOrders) -> Iterable[BookOrder]:
    """As few orders as an index gives: an account's, or all."""
    if command.account is None:
        return books.orders.values()
    return (books.orders[order_id] for order_id in books.by_account.get(command.account, ()))


def _tell_removed(turn: Turn, command: RemoveOrders, count: int) -> None:
    turn.send(
        (ANSWERS, command.account_partition),
        OrdersRemoved(
            command_id=command.command_id,
            book_partition=turn.partition,
            removed_count=count,
            at_ns=turn.now_ns,
            sweep_id=command.sweep_id,
        ),
    )


def expire(turn: Turn) -> None:
    """Ends what is due at the last tick; what does not fit the record goes on by a continuation."""
    tick_ns = turn.tables.clock.last_tick_ns
    for order in turn.books.due(tick_ns):
        if not turn.removals_left:
            turn.send((BOOK_COMMANDS, turn.partition), ContinueExpiry(tick_ns=tick_ns, at_ns=turn.now_ns))
            return
        turn.removals_left -= 1
        turn.books.remove(order)
        turn.answer(
            order.account,
            OrderExpired(
                account=order.account,
                client_order_id=order.client_order_id,
                instrument=order.instrument,
                order_id=order.order_id,
                cancelled_quantity_lots=order.leaves_quantity_lots,
                cum_quantity_lots=order.cum_quantity_lots,
                at_ns=turn.now_ns,
            ),
        )
