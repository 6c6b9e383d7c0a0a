"""Self-trade prevention: the incoming order meets a resting order of its own group."""

from agents.rules.matching.turn import Turn
from schemas.events import OrderReduced
from tables.book import BookSide
from tables.matching import BookOrder, moved


def prevent(
    turn: Turn, side: BookSide, maker: BookOrder, taker: BookOrder, cum: int, leaves: int
) -> tuple[int, bool]:
    """Applies the incoming order's mode: (what is left of it, whether its rest must be cancelled now)."""
    match taker.self_trade_prevention:
        case "CANCEL_NEWEST":
            return leaves, True
        case "CANCEL_OLDEST":
            turn.cancel(maker, "self_trade_prevention")
            return leaves, False
        case "CANCEL_BOTH":
            turn.cancel(maker, "self_trade_prevention")
            return leaves, True
        case "DECREMENT":
            return _decrement(turn, side, maker, taker, cum, leaves)
        case _:
            raise AssertionError(f"order {taker.order_id} may trade with itself: nothing to prevent")


def _decrement(
    turn: Turn, side: BookSide, maker: BookOrder, taker: BookOrder, cum: int, leaves: int
) -> tuple[int, bool]:
    """Takes the smaller leaves off both, hidden lots first; what reaches zero is cancelled."""
    reduced = min(leaves, maker.leaves_quantity_lots)
    left = maker.leaves_quantity_lots - reduced
    _tell_reduced(turn, maker, reduced, maker.cum_quantity_lots, left)
    if left:
        shown = min(maker.shown_lots, left)
        level = side.touch((maker.price_ticks or 0) * side.sign)
        level.quantity_lots -= maker.shown_lots - shown
        kept = moved(maker, maker.cum_quantity_lots, left, shown, maker.priority)
        turn.books.orders[maker.order_id] = kept
    else:
        turn.books.remove(maker)
        turn.cancelled(maker, maker.cum_quantity_lots, 0, "self_trade_prevention")
    leaves -= reduced
    _tell_reduced(turn, taker, reduced, cum, leaves)
    return leaves, leaves == 0


def _tell_reduced(turn: Turn, order: BookOrder, reduced: int, cum: int, leaves: int) -> None:
    turn.answer(
        order.account,
        OrderReduced(
            account=order.account,
            client_order_id=order.client_order_id,
            instrument=order.instrument,
            order_id=order.order_id,
            reduced_quantity_lots=reduced,
            cum_quantity_lots=cum,
            leaves_quantity_lots=leaves,
            at_ns=turn.now_ns,
        ),
    )
