"""A new order: refused, or accepted and then let wait, trade and rest by its type."""

from agents.rules.matching import stops
from agents.rules.matching.conditions import unmet
from agents.rules.matching.crossing import work
from agents.rules.matching.turn import Turn
from schemas.book_commands import EnterOrder
from schemas.events import OrderAccepted, OrderRejected
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.reasons import code
from tables.book import Book
from tables.matching import BookOrder, shown_of

_NANOSECONDS_PER_MINUTE = 60 * 1_000_000_000


def enter(turn: Turn, book: Book, command: EnterOrder) -> None:
    """Takes an order that risk let through."""
    assert command.order_id not in turn.books.orders, f"order {command.order_id} was entered before"
    assert command.quantity_lots > 0, f"order {command.order_id} has no quantity"
    order = _order(turn, book, command)
    reason = _refusal(turn, book, order)
    if reason is not None:
        reject(turn, command, reason)
        return
    _accept(turn, command, book.instrument)
    if order.waiting:
        stops.await_or_trigger(turn, book, order)
    else:
        work(turn, book, order)


def _order(turn: Turn, book: Book, command: EnterOrder) -> BookOrder:
    """The order as it would rest; texts that most orders share are kept once."""
    account, group, quantity = command.account, command.self_trade_group, command.quantity_lots
    expires_at_ns = command.expires_at_ns
    if expires_at_ns is None and command.time_in_force == "DAY":
        expires_at_ns = next_session_end_ns(turn.now_ns, book.session_end_minute_utc)
    return BookOrder(
        command.order_id,
        account,
        command.client_order_id,
        book.instrument,
        command.side,
        command.order_type,
        command.time_in_force,
        command.price_ticks,
        command.stop_price_ticks,
        command.worst_price_ticks,
        command.display_quantity_lots,
        command.minimum_quantity_lots,
        command.post_only,
        expires_at_ns,
        account if group == account else group,
        command.self_trade_prevention,
        turn.shared(command.terms),
        0,
        quantity,
        shown_of(quantity, command.display_quantity_lots),
        turn.priority(),
        command.order_type in ("STOP", "STOP_LIMIT"),
    )


def next_session_end_ns(now_ns: int, session_end_minute_utc: int) -> int:
    """The first session end after ``now_ns`` (UTC, every day of the week)."""
    offset_ns = session_end_minute_utc * _NANOSECONDS_PER_MINUTE
    return ((now_ns - offset_ns) // NANOSECONDS_PER_DAY + 1) * NANOSECONDS_PER_DAY + offset_ns


def _refusal(turn: Turn, book: Book, order: BookOrder) -> str | None:
    if book.refusal is not None:
        return book.refusal
    if order.expires_at_ns is not None and order.expires_at_ns <= turn.now_ns:
        return "expiry_in_the_past"
    return None if order.waiting else unmet(turn, book, order)


def _accept(turn: Turn, command: EnterOrder, instrument: str) -> None:
    turn.answer(
        command.account,
        OrderAccepted(
            account=command.account,
            client_order_id=command.client_order_id,
            instrument=instrument,
            order_id=command.order_id,
            side=command.side,
            order_type=command.order_type,
            time_in_force=command.time_in_force,
            quantity_lots=command.quantity_lots,
            price_ticks=command.price_ticks,
            stop_price_ticks=command.stop_price_ticks,
            at_ns=turn.now_ns,
        ),
    )


def reject(turn: Turn, command: EnterOrder, reason: str) -> None:
    """Answers that the order was never accepted."""
    turn.answer(
        command.account,
        OrderRejected(
            account=command.account,
            client_order_id=command.client_order_id,
            instrument=command.instrument,
            order_id=command.order_id,
            reason=reason,
            reason_code=code(reason),
            at_ns=turn.now_ns,
        ),
    )
