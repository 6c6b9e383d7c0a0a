"""The order book of one instrument, derived from the rows of its orders, and what views read of it.

A side keeps its levels in a dict, and their keys in a sorted list whose last is the best: the key of a buy is
its price, of a sell its negative price, so both sides obey the same code. Near the best, where flow is,
inserting moves almost nothing: to make and to take away a level costs 0.2 - 0.4 us at any depth, in a
SortedList 0.8 - 1.1 us; far from the best the list is the dearer from some 4,000 levels a side on
(``tests/bench/level_keys.py``).
"""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from schemas.record import Side, TradingState
from tables.matching import BookOrder, BookRow, shown_of

Stop = tuple[int, int, int]
"""A waiting stop: key (rising in the order of election), priority, order id."""


class Level:
    """One price: its displayed quantity, and its order ids in time order (first of an OrderedDict: O(1))."""

    __slots__ = ("orders", "price_ticks", "quantity_lots")

    def __init__(self, price_ticks: int) -> None:
        """Starts without orders."""
        self.price_ticks = price_ticks
        self.quantity_lots = 0
        self.orders: OrderedDict[int, None] = OrderedDict()


class BookSide:
    """The resting buys, or sells, of an instrument.

    ``touched`` holds what each level that changed displayed before: key -> (quantity, order count).
    """

    __slots__ = ("keys", "levels", "side", "sign", "touched")

    def __init__(self, side: Side) -> None:
        """Starts without levels."""
        self.side: Final = side
        self.sign: Final = 1 if side == "BUY" else -1
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self.touched: dict[int, tuple[int, int]] = {}

    def add(self, order: BookOrder) -> None:
        """Puts an order behind all others of its price."""
        price_ticks = order.price_ticks
        assert price_ticks is not None, f"order {order.order_id} cannot rest: it has no price"
        key = price_ticks * self.sign
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(price_ticks)
            insort(self.keys, key)
        if key not in self.touched:
            self.touched[key] = (level.quantity_lots, len(level.orders))
        level.quantity_lots += order.shown_lots
        level.orders[order.order_id] = None

    def rebuild(self, orders: Iterable[BookOrder]) -> None:
        """Takes all orders of an empty side at once, in their priority; nothing of it counts as changed."""
        sign, levels = self.sign, self.levels
        ids: dict[int, list[int]] = {}
        for order in orders:
            key = order.price_ticks * sign  # type: ignore[operator]  # whatever rests has a price
            level = levels.get(key)
            if level is None:
                level, ids[key] = Level(key * sign), []
                levels[key] = level
            level.quantity_lots += order.shown_lots
            ids[key].append(order.order_id)
        for key, level in levels.items():
            level.orders = OrderedDict.fromkeys(ids[key])
        self.keys = sorted(levels)

    def remove(self, order: BookOrder) -> None:
        """Takes an order, as it stands, out of its level."""
        assert order.price_ticks is not None, f"order {order.order_id} cannot rest: it has no price"
        key = order.price_ticks * self.sign
        level = self.touch(key)
        level.quantity_lots -= order.shown_lots
        del level.orders[order.order_id]
        if not level.orders:
            self.drop(key)

    def touch(self, key: int) -> Level:
        """The level of a key, whose displayed quantity or count is about to change."""
        level = self.levels[key]
        if key not in self.touched:
            self.touched[key] = (level.quantity_lots, len(level.orders))
        return level

    def drop(self, key: int) -> None:
        """Takes an empty level away."""
        del self.levels[key]
        if self.keys[-1] == key:
            self.keys.pop()
        else:
            del self.keys[bisect_left(self.keys, key)]


class Book:
    """An instrument's two sides, its waiting stops, and its state as ``BookRow`` has it.

    ``refusal`` is the reason for which new orders and replaces are refused, None while trading is open.
    ``unelected`` are trades that have not elected their stops yet: (number, price, priority).
    """

    __slots__ = (
        "buy_stops",
        "buys",
        "halted",
        "instrument",
        "last_trade_ticks",
        "refusal",
        "sell_stops",
        "sells",
        "sent_mark_ticks",
        "session_end_minute_utc",
        "session_end_ns",
        "set_mark_ticks",
        "trades_made",
        "trades_saved",
        "trading_state",
        "unelected",
    )

    def __init__(self, instrument: str, row: BookRow) -> None:
        """Starts without orders."""
        self.instrument = instrument
        self.buys = BookSide("BUY")
        self.sells = BookSide("SELL")
        self.buy_stops: list[Stop] = []
        self.sell_stops: list[Stop] = []
        self.unelected: deque[tuple[int, int, int]] = deque()
        self.refusal: str | None = None
        self.session_end_minute_utc = row.session_end_minute_utc
        self.session_end_ns = row.session_end_ns
        self.trading_state: TradingState = row.trading_state
        self.halted = row.halted
        self.last_trade_ticks = row.last_trade_ticks
        self.trades_made = self.trades_saved = row.trades_made
        self.set_mark_ticks = row.set_mark_ticks
        self.sent_mark_ticks = row.sent_mark_ticks

    def row(self) -> BookRow:
        """The state that must be remembered besides the orders."""
        return BookRow(
            self.session_end_minute_utc,
            self.session_end_ns,
            self.trading_state,
            self.halted,
            self.last_trade_ticks,
            self.trades_made,
            self.set_mark_ticks,
            self.sent_mark_ticks,
        )

    @property
    def mark_ticks(self) -> int | None:
        """The last SetMark, else the last trade's price."""
        return self.last_trade_ticks if self.set_mark_ticks is None else self.set_mark_ticks

    def add(self, order: BookOrder) -> None:
        """Lets a stop wait, or an order rest behind all others of its price."""
        if order.waiting:
            insort(*self._stop(order))
        elif order.side == "BUY":
            self.buys.add(order)
        else:
            self.sells.add(order)

    def rebuild(self, orders: Iterable[BookOrder]) -> None:
        """Takes all orders of an empty book, in their priority: a third of the time of adding each."""
        buys: list[BookOrder] = []
        sells: list[BookOrder] = []
        for order in orders:
            if order.waiting:
                insort(*self._stop(order))
            elif order.side == "BUY":
                buys.append(order)
            else:
                sells.append(order)
        self.buys.rebuild(buys)
        self.sells.rebuild(sells)

    def remove(self, order: BookOrder) -> None:
        """Takes an order, as it stands, out of the book."""
        if order.waiting:
            stops, stop = self._stop(order)
            del stops[bisect_left(stops, stop)]
        elif order.side == "BUY":
            self.buys.remove(order)
        else:
            self.sells.remove(order)

    def elected(self, price_ticks: int, before: int) -> int | None:
        """The id of the first stop that a trade at this price elects, of those with a smaller priority.

        Buys by rising stop price, then sells by falling, then by time; None when there is none.
        """
        for stops, bound in ((self.buy_stops, price_ticks), (self.sell_stops, -price_ticks)):
            for key, priority, order_id in stops:
                if key > bound:
                    break
                if priority < before:
                    return order_id
        return None

    def _stop(self, order: BookOrder) -> tuple[list[Stop], Stop]:
        assert order.stop_price_ticks is not None, f"order {order.order_id} waits without a stop price"
        if order.side == "BUY":
            return self.buy_stops, (order.stop_price_ticks, order.priority, order.order_id)
        return self.sell_stops, (-order.stop_price_ticks, order.priority, order.order_id)


class DepthLevel(msgspec.Struct, frozen=True, gc=False):
    """A level of the book by price (L2): displayed lots, and how many orders stand there."""

    price_ticks: int
    quantity_lots: int
    order_count: int


class RestingOrder(msgspec.Struct, frozen=True, gc=False):
    """One order of the book by order (L3), in the order of priority; the hidden part is not told."""

    order_id: int
    side: Side
    price_ticks: int
    shown_lots: int


class Top(msgspec.Struct, frozen=True, gc=False):
    """The best buy, the best sell and the last trade; None where there is none."""

    bid: DepthLevel | None
    ask: DepthLevel | None
    last_trade_ticks: int | None


def depth(side: BookSide, levels_max: int | None = None) -> tuple[DepthLevel, ...]:
    """The side's best levels, best first; all of them by default."""
    count = len(side.keys) if levels_max is None else levels_max
    levels = (side.levels[key] for key in side.keys[: -count - 1 : -1])
    return tuple(DepthLevel(level.price_ticks, level.quantity_lots, len(level.orders)) for level in levels)


def resting(side: BookSide, orders: Mapping[int, BookOrder]) -> tuple[RestingOrder, ...]:
    """The side's orders in the order in which they would trade."""
    return tuple(
        RestingOrder(order_id, side.side, level.price_ticks, orders[order_id].shown_lots)
        for level in (side.levels[key] for key in reversed(side.keys))
        for order_id in level.orders
    )


def top(book: Book) -> Top:
    """The top of the book."""
    bids, asks = depth(book.buys, 1), depth(book.sells, 1)
    return Top(bids[0] if bids else None, asks[0] if asks else None, book.last_trade_ticks)


def check_book(book: Book, orders: Mapping[int, BookOrder]) -> None:
    """Asserts everything that must hold of a book between two commands; ``orders`` are its open orders."""
    for order in orders.values():
        assert order.instrument == book.instrument, f"order {order.order_id} is of another instrument"
        assert order.leaves_quantity_lots > 0, f"order {order.order_id} is open with nothing left"
        assert order.cum_quantity_lots >= 0, f"order {order.order_id} has negative fills"
    for side in (book.buys, book.sells):
        _check_side(side, [order for order in orders.values() if _rests(order, side)])
        _check_stops(book, side.side, orders)
    assert not (book.buys.keys and book.sells.keys) or book.buys.keys[-1] < -book.sells.keys[-1], (
        f"{book.instrument} is crossed: {book.buys.keys[-1]} bid, {-book.sells.keys[-1]} asked"
    )


def _rests(order: BookOrder, side: BookSide) -> bool:
    return order.side == side.side and not order.waiting


def _check_side(side: BookSide, orders: list[BookOrder]) -> None:
    assert side.keys == sorted(side.levels), f"{side.side}: keys and levels differ"
    assert not side.touched, f"{side.side}: changes of levels were not told"
    expected: dict[int, list[BookOrder]] = {}
    for order in sorted(orders, key=lambda order: order.priority):
        assert order.price_ticks is not None, f"order {order.order_id} rests without a price"
        assert order.time_in_force not in {"IOC", "FOK"}, f"order {order.order_id} must not rest"
        limit = shown_of(order.leaves_quantity_lots, order.display_quantity_lots)
        assert 0 < order.shown_lots <= limit, f"order {order.order_id} displays {order.shown_lots}"
        assert order.display_quantity_lots is not None or order.shown_lots == limit, (
            f"order {order.order_id} hides lots but is no iceberg"
        )
        expected.setdefault(order.price_ticks * side.sign, []).append(order)
    assert expected.keys() == side.levels.keys(), f"{side.side}: levels are not those of the orders"
    for key, level in side.levels.items():
        queue = expected[key]
        assert list(level.orders) == [order.order_id for order in queue], f"{side.side} {key}: out of order"
        assert level.quantity_lots == sum(order.shown_lots for order in queue), f"{side.side} {key}: sum"
        assert level.price_ticks * side.sign == key, f"{side.side} {key}: price"


def _check_stops(book: Book, side: Side, orders: Mapping[int, BookOrder]) -> None:
    sign, stops = (1, book.buy_stops) if side == "BUY" else (-1, book.sell_stops)
    waiting = [order for order in orders.values() if order.side == side and order.waiting]
    expected = sorted(
        (sign * (order.stop_price_ticks or 0), order.priority, order.order_id) for order in waiting
    )
    assert stops == expected, f"{side}: the waiting stops are not those of the orders"
    assert all(order.cum_quantity_lots == 0 for order in waiting), f"{side}: a waiting stop has traded"
    last = book.last_trade_ticks
    satisfied = last is not None and bool(stops) and stops[0][0] <= sign * last
    assert not satisfied or book.unelected, f"{side}: a stop waits that the last trade elects"
