"""What an order may demand before it trades: to make, to fill whole, to fill a minimum."""

from collections import deque

from agents.rules.matching.crossing import limit_key, other_side
from agents.rules.matching.turn import Turn
from tables.book import Book
from tables.matching import BookOrder


def unmet(turn: Turn, book: Book, order: BookOrder) -> str | None:
    """The reason why an order, which is in no book, cannot have what it demands; None if it can."""
    if order.post_only and would_trade(book, order):
        return "post_only_would_trade"
    if order.time_in_force == "FOK":
        whole = order.leaves_quantity_lots
        return "fok_not_fillable" if tradeable(turn, book, order, whole) < whole else None
    minimum = order.minimum_quantity_lots
    if minimum is not None and tradeable(turn, book, order, minimum) < minimum:
        return "minimum_quantity_not_met"
    return None


def would_trade(book: Book, order: BookOrder) -> bool:
    """Whether the order meets the other side's best, whoever stands there."""
    opposite = other_side(book, order.side)
    return bool(opposite.keys) and opposite.keys[-1] >= limit_key(order, opposite)


def tradeable(turn: Turn, book: Book, order: BookOrder, enough: int) -> int:
    """How much would really trade, counted up to ``enough``, nothing being touched.

    Hidden lots count, a slice at a time and behind the others of its level, as they would trade; own orders
    do not, and end the count where the order's self-trade mode would end it; so do the record's fills.
    """
    opposite = other_side(book, order.side)
    limit = limit_key(order, opposite)
    orders, mode = turn.books.orders, order.self_trade_prevention
    group = None if mode == "NONE" else order.self_trade_group
    found, left, fills = 0, order.leaves_quantity_lots, turn.fills_left
    for key in reversed(opposite.keys):
        if key < limit:
            break
        queue = deque(_slice(orders[order_id]) for order_id in opposite.levels[key].orders)
        while queue:
            maker_group, shown, display, leaves = queue.popleft()
            if maker_group == group:
                if mode in ("CANCEL_NEWEST", "CANCEL_BOTH"):
                    return found
                left -= min(left, leaves) if mode == "DECREMENT" else 0
            elif fills:
                quantity = min(shown, left)
                found, left, fills, leaves = found + quantity, left - quantity, fills - 1, leaves - quantity
                if leaves:
                    queue.append((maker_group, min(display, leaves), display, leaves))
            if found >= enough or not left or not fills:
                return found
    return found


def _slice(maker: BookOrder) -> tuple[str, int, int, int]:
    display = maker.display_quantity_lots or maker.leaves_quantity_lots
    return maker.self_trade_group, maker.shown_lots, display, maker.leaves_quantity_lots
