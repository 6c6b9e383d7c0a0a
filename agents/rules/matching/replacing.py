"""Replace: another quantity, another price, or both; what is not a mere reduction loses its priority."""

from msgspec.structs import replace

from agents.rules.matching import stops
from agents.rules.matching.conditions import would_trade
from agents.rules.matching.crossing import work
from agents.rules.matching.turn import Turn
from schemas.book_commands import AmendOrder
from schemas.events import OrderReplaced, ReplaceRejected
from schemas.reasons import code
from tables.book import Book
from tables.matching import BookOrder, shown_of


def amend(turn: Turn, book: Book, command: AmendOrder) -> None:
    """Takes a replace that risk let through."""
    order = turn.books.orders.get(command.order_id)
    if order is None:
        reject(turn, command, "unknown_order")
        return
    leaves = order.leaves_quantity_lots
    if command.quantity_lots is not None:
        leaves = max(0, command.quantity_lots - order.cum_quantity_lots)
    amended = replace(
        order,
        client_order_id=command.client_order_id,
        price_ticks=order.price_ticks if command.price_ticks is None else command.price_ticks,
        leaves_quantity_lots=leaves,
        shown_lots=min(order.shown_lots, leaves),
    )
    reason = _refusal(book, order, amended)
    if reason is not None:
        reject(turn, command, reason)
        return
    _tell(turn, command, amended)
    if leaves == 0:
        turn.books.remove(order)
        turn.cancelled(amended, amended.cum_quantity_lots, 0, "replaced_to_filled", command.client_order_id)
    elif leaves <= order.leaves_quantity_lots and amended.price_ticks == order.price_ticks:
        _reduce(turn, book, order, amended)
    else:
        _enter_again(turn, book, order, amended)


def _refusal(book: Book, order: BookOrder, amended: BookOrder) -> str | None:
    if book.refusal is not None:
        return book.refusal
    if order.price_ticks is None and amended.price_ticks is not None:
        return "price_not_allowed"
    if amended.post_only and not amended.waiting and would_trade(book, amended):
        return "post_only_would_trade"
    return None


def _reduce(turn: Turn, book: Book, order: BookOrder, amended: BookOrder) -> None:
    """Keeps the place; the hidden part has given first."""
    if not order.waiting and amended.shown_lots != order.shown_lots:
        side = book.buys if order.side == "BUY" else book.sells
        level = side.touch((order.price_ticks or 0) * side.sign)
        level.quantity_lots -= order.shown_lots - amended.shown_lots
    turn.books.orders[order.order_id] = amended


def _enter_again(turn: Turn, book: Book, order: BookOrder, amended: BookOrder) -> None:
    turn.books.remove(order)
    shown = shown_of(amended.leaves_quantity_lots, amended.display_quantity_lots)
    fresh = replace(amended, shown_lots=shown, priority=turn.priority())
    if fresh.waiting:
        stops.await_or_trigger(turn, book, fresh)
    else:
        work(turn, book, fresh)


def _tell(turn: Turn, command: AmendOrder, amended: BookOrder) -> None:
    turn.answer(
        amended.account,
        OrderReplaced(
            account=amended.account,
            client_order_id=amended.client_order_id,
            original_client_order_id=command.original_client_order_id,
            instrument=amended.instrument,
            order_id=amended.order_id,
            price_ticks=amended.price_ticks,
            quantity_lots=amended.cum_quantity_lots + amended.leaves_quantity_lots,
            cum_quantity_lots=amended.cum_quantity_lots,
            leaves_quantity_lots=amended.leaves_quantity_lots,
            at_ns=turn.now_ns,
        ),
    )


def reject(turn: Turn, command: AmendOrder, reason: str) -> None:
    """Answers that the order stands as it was."""
    turn.answer(
        command.account,
        ReplaceRejected(
            account=command.account,
            client_order_id=command.client_order_id,
            original_client_order_id=command.original_client_order_id,
            instrument=command.instrument,
            order_id=command.order_id,
            reason=reason,
            reason_code=code(reason),
            at_ns=turn.now_ns,
        ),
    )
