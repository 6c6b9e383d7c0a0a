"""Trading: an incoming order meets the other side in the order of priority; what is left rests or ends."""

from typing import Final

from agents.rules.matching import self_trade
from agents.rules.matching.turn import Turn
from schemas.events import OrderFilled, Trade
from schemas.maximums import INT64_MAX
from schemas.record import Side
from tables.book import Book, BookSide, Level
from tables.matching import BookOrder, moved, shown_of

NO_LIMIT: Final = -INT64_MAX - 1  # as a key of the other side: every price will do


def other_side(book: Book, side: Side) -> BookSide:
    """What an order of this side trades with."""
    return book.sells if side == "BUY" else book.buys


def limit_key(order: BookOrder, opposite: BookSide) -> int:
    """The worst key of the other side at which the order may trade: its price, else what risk stamped."""
    price_ticks = order.worst_price_ticks if order.price_ticks is None else order.price_ticks
    return NO_LIMIT if price_ticks is None else price_ticks * opposite.sign


def work(turn: Turn, book: Book, order: BookOrder) -> None:
    """Trades all that crosses; then the rest of the order, which is in no book yet, rests or is cancelled."""
    opposite = book.sells if order.side == "BUY" else book.buys
    limit = limit_key(order, opposite)
    if opposite.keys and opposite.keys[-1] >= limit:
        cum, leaves, reason = _cross(turn, book, order, opposite, limit)
        if leaves == 0 and reason is None:
            return
    else:
        cum, leaves, reason = order.cum_quantity_lots, order.leaves_quantity_lots, None
    if reason is None and (order.price_ticks is None or order.time_in_force in ("IOC", "FOK")):
        reason = _reason_not_to_rest(order, opposite)
    if reason is not None:
        turn.cancelled(order, cum, leaves, reason)
    elif leaves == order.leaves_quantity_lots:
        turn.books.add(order)
    else:
        shown = shown_of(leaves, order.display_quantity_lots)
        turn.books.add(moved(order, cum, leaves, shown, order.priority))


def _reason_not_to_rest(order: BookOrder, opposite: BookSide) -> str:
    if order.price_ticks is not None:
        return "immediate_or_cancel"
    return "price_protection" if opposite.keys else "no_liquidity"  # a MARKET, or an elected STOP


def _cross(
    turn: Turn, book: Book, taker: BookOrder, opposite: BookSide, limit: int
) -> tuple[int, int, str | None]:
    """Trades to the limit: (cum, leaves, why the rest must be cancelled, if it must)."""
    keys, orders = opposite.keys, turn.books.orders
    cum, leaves = taker.cum_quantity_lots, taker.leaves_quantity_lots
    group = None if taker.self_trade_prevention == "NONE" else taker.self_trade_group
    while leaves and keys and keys[-1] >= limit:
        level = opposite.touch(keys[-1])
        maker = orders[next(iter(level.orders))]
        if maker.self_trade_group == group:
            leaves, stopped = self_trade.prevent(turn, opposite, maker, taker, cum, leaves)
            if stopped:
                return cum, leaves, "self_trade_prevention"
            continue
        if not turn.fills_left:
            return cum, leaves, "too_many_fills"
        quantity = min(leaves, maker.shown_lots)
        cum += quantity
        leaves -= quantity
        _trade(turn, book, maker, taker, quantity, cum, leaves)
        _take(turn, opposite, level, maker, quantity)
    return cum, leaves, None


def _trade(
    turn: Turn, book: Book, maker: BookOrder, taker: BookOrder, quantity: int, cum: int, leaves: int
) -> None:
    """Tells a trade and its two fills, and notes it for the stops."""
    price_ticks = maker.price_ticks
    assert price_ticks is not None, f"order {maker.order_id} rests without a price"
    books, now_ns, instrument = turn.books, turn.now_ns, book.instrument
    number = books.trades_made
    identity = turn.first_trade_id + number
    books.trades_made = book.trades_made = number + 1
    book.last_trade_ticks = price_ticks
    turn.fills_left -= 1
    if book.buy_stops or book.sell_stops:
        book.unelected.append((number, price_ticks, turn.priority()))
    turn.send(
        turn.trades,
        Trade(
            trade_id=identity,
            instrument=instrument,
            price_ticks=price_ticks,
            quantity_lots=quantity,
            aggressor_side=taker.side,
            maker_order_id=maker.order_id,
            maker_client_order_id=maker.client_order_id,
            maker_account=maker.account,
            taker_order_id=taker.order_id,
            taker_client_order_id=taker.client_order_id,
            taker_account=taker.account,
            at_ns=now_ns,
        ),
    )
    turn.answer(
        maker.account,
        OrderFilled(
            account=maker.account,
            client_order_id=maker.client_order_id,
            instrument=instrument,
            order_id=maker.order_id,
            trade_id=identity,
            side=maker.side,
            liquidity="MAKER",
            last_price_ticks=price_ticks,
            last_quantity_lots=quantity,
            cum_quantity_lots=maker.cum_quantity_lots + quantity,
            leaves_quantity_lots=maker.leaves_quantity_lots - quantity,
            terms=maker.terms,
            at_ns=now_ns,
        ),
    )
    turn.answer(
        taker.account,
        OrderFilled(
            account=taker.account,
            client_order_id=taker.client_order_id,
            instrument=instrument,
            order_id=taker.order_id,
            trade_id=identity,
            side=taker.side,
            liquidity="TAKER",
            last_price_ticks=price_ticks,
            last_quantity_lots=quantity,
            cum_quantity_lots=cum,
            leaves_quantity_lots=leaves,
            terms=taker.terms,
            at_ns=now_ns,
        ),
    )


def _take(turn: Turn, side: BookSide, level: Level, maker: BookOrder, quantity: int) -> None:
    """Takes a trade's quantity off the maker; a slice that is used up refreshes behind its level."""
    order_id = maker.order_id
    cum, leaves = maker.cum_quantity_lots + quantity, maker.leaves_quantity_lots - quantity
    level.quantity_lots -= quantity
    if leaves == 0:
        del level.orders[order_id]
        if not level.orders:
            side.drop(level.price_ticks * side.sign)
        turn.books.forget(maker)
    elif quantity < maker.shown_lots:
        shown = maker.shown_lots - quantity
        turn.books.orders[order_id] = moved(maker, cum, leaves, shown, maker.priority)
    else:
        shown = shown_of(leaves, maker.display_quantity_lots)
        turn.books.orders[order_id] = moved(maker, cum, leaves, shown, turn.priority())
        level.orders.move_to_end(order_id)
        level.quantity_lots += shown
