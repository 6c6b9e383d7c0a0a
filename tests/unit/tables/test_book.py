"""What views read of a book, and what ``check_book`` finds."""

from collections.abc import Callable

import msgspec
import pytest

from schemas.record import Side
from tables.book import (
    Book,
    BookSide,
    DepthLevel,
    RestingOrder,
    Top,
    check_book,
    depth,
    resting,
    top,
)
from tables.matching import BookOrder, BookRow
from tests.unit.agents.rules.matching_language import TERMS


def order(order_id: int, side: Side, price_ticks: int, lots: int = 5, shown: int = 5) -> BookOrder:
    """An order whose priority is its id; an iceberg if it shows less than its lots."""
    return BookOrder(
        order_id=order_id,
        account="a",
        client_order_id=f"a{order_id}",
        instrument="X",
        side=side,
        order_type="LIMIT",
        time_in_force="GTC",
        price_ticks=price_ticks,
        stop_price_ticks=None,
        worst_price_ticks=None,
        display_quantity_lots=shown if shown < lots else None,
        minimum_quantity_lots=None,
        post_only=False,
        expires_at_ns=None,
        self_trade_group="a",
        self_trade_prevention="NONE",
        terms=TERMS,
        cum_quantity_lots=0,
        leaves_quantity_lots=lots,
        shown_lots=shown,
        priority=order_id,
        waiting=False,
    )


def stop(order_id: int, side: Side, stop_price_ticks: int) -> BookOrder:
    """A waiting STOP."""
    return msgspec.structs.replace(
        order(order_id, side, 0),
        order_type="STOP",
        price_ticks=None,
        stop_price_ticks=stop_price_ticks,
        waiting=True,
    )


ORDERS = {
    1: order(1, "BUY", 99),
    2: order(2, "BUY", 100, lots=20, shown=4),
    3: order(3, "BUY", 100),
    4: order(4, "SELL", 103),
    5: order(5, "SELL", 102),
    6: stop(6, "BUY", 105),
    7: stop(7, "BUY", 104),
    8: stop(8, "SELL", 95),
}


def book_of(orders: dict[int, BookOrder]) -> Book:
    """A book with these orders, all of whose changes were told."""
    book = Book("X", BookRow(0, 1, "OPEN"))
    for one in orders.values():
        book.add(one)
    book.buys.touched.clear()
    book.sells.touched.clear()
    return book


def test_depth_is_best_first() -> None:
    """L2 gives levels from the best on, with displayed lots only, as many as asked."""
    book = book_of(ORDERS)
    assert depth(book.buys) == (DepthLevel(100, 9, 2), DepthLevel(99, 5, 1))
    assert depth(book.sells) == (DepthLevel(102, 5, 1), DepthLevel(103, 5, 1))
    assert depth(book.sells, 1) == (DepthLevel(102, 5, 1),)
    assert depth(book.sells, 0) == ()


def test_resting_is_in_the_order_of_trading() -> None:
    """L3 gives orders by price, then time, without the hidden part."""
    book = book_of(ORDERS)
    assert resting(book.buys, ORDERS) == (
        RestingOrder(2, "BUY", 100, 4),
        RestingOrder(3, "BUY", 100, 5),
        RestingOrder(1, "BUY", 99, 5),
    )
    assert [one.order_id for one in resting(book.sells, ORDERS)] == [5, 4]


def test_the_top() -> None:
    """The top is the best of each side, None where there is none."""
    assert top(book_of(ORDERS)) == Top(DepthLevel(100, 9, 2), DepthLevel(102, 5, 1), None)
    assert top(book_of({})) == Top(None, None, None)


def test_the_order_of_election() -> None:
    """Buys by rising stop price come before sells by falling; stops that came after a trade do not count."""
    book = book_of(ORDERS)
    assert book.elected(103, before=99) is None
    assert book.elected(105, before=99) == 7
    assert book.elected(105, before=7) == 6
    assert book.elected(95, before=99) == 8
    assert book.elected(95, before=8) is None


def test_an_emptied_level_is_gone() -> None:
    """A level goes with its last order, at the best price or behind it."""
    book = book_of(ORDERS)
    for order_id in (1, 2, 3):
        book.remove(ORDERS[order_id])
    assert book.buys.keys == []
    assert book.buys.levels == {}
    assert book.buys.touched == {99: (5, 1), 100: (9, 2)}


def test_a_sound_book_passes() -> None:
    """``check_book`` finds nothing in a sound book."""
    check_book(book_of(ORDERS), ORDERS)


def level(side: BookSide, key: int) -> list[int]:
    """The ids of a level."""
    return list(side.levels[key].orders)


FAULTS: dict[str, Callable[[Book, dict[int, BookOrder]], object]] = {
    "a sum is off": lambda book, _: setattr(book.buys.levels[100], "quantity_lots", 8),
    "time order is lost": lambda book, _: book.buys.levels[100].orders.move_to_end(2),
    "an order is in no level": lambda _, orders: orders.update({9: order(9, "BUY", 98)}),
    "a level has no order": lambda _, orders: orders.pop(1),
    "a key has no level": lambda book, _: book.sells.keys.insert(0, -110),
    "a stop is lost": lambda book, _: book.buy_stops.pop(),
    "a change was not told": lambda book, _: book.buys.touch(99),
    "an order shows too much": lambda _, orders: orders.update({3: order(3, "BUY", 100, lots=4, shown=5)}),
    "an order has nothing left": lambda _, orders: orders.update({3: order(3, "BUY", 100, lots=0, shown=0)}),
    "an order is of another book": lambda _, orders: orders.update(
        {3: msgspec.structs.replace(orders[3], instrument="Y")}
    ),
    "a stop was passed over": lambda book, _: setattr(book, "last_trade_ticks", 105),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    """``check_book`` finds each kind of fault."""
    orders = dict(ORDERS)
    book = book_of(orders)
    FAULTS[fault](book, orders)
    with pytest.raises(AssertionError):
        check_book(book, orders)


def test_a_crossed_book_is_found() -> None:
    """``check_book`` finds a bid at or above an ask."""
    orders = ORDERS | {9: order(9, "BUY", 102)}
    with pytest.raises(AssertionError, match="crossed"):
        check_book(book_of(orders), orders)
