"""Views of the books: levels (L2), orders (L3), the best of both sides."""

from itertools import islice
from typing import Any, Final, NamedTuple

from agents.stage.fold import Fold
from connectors.decimals import Grid
from connectors.views.reference import Reference, price
from connectors.views.view import LIMIT, Ask, NotFound, Number, View
from schemas.partitioner import partition_of
from schemas.topics import PartitionCounts
from tables.book import Book, BookSide, DepthLevel, depth
from tables.matching import BookOrder


class Sides(NamedTuple):
    """A book at one moment; ``bids`` and ``asks`` hold levels or orders, best first."""

    instrument: str
    bids: tuple[Any, ...]
    asks: tuple[Any, ...]
    last_trade_ticks: int | None
    mark_ticks: int | None
    refusal: str | None


def _partition(ask: Ask, counts: PartitionCounts) -> int:
    return partition_of(ask.names["instrument"], counts.books)


def _book(fold: Fold, ask: Ask) -> Book:
    symbol = ask.names["instrument"]
    book: Book | None = fold.rules.books.by_symbol.get(symbol)
    if book is None:
        raise NotFound(f"instrument {symbol!r} is not defined; GET /instruments lists those that are")
    return book


def _sides(book: Book, bids: tuple[Any, ...], asks: tuple[Any, ...]) -> Sides:
    return Sides(book.instrument, bids, asks, book.last_trade_ticks, book.mark_ticks, book.refusal)


def _read_levels(fold: Fold, ask: Ask) -> Sides:
    book, levels = _book(fold, ask), ask.numbers["depth"]
    return _sides(book, depth(book.buys, levels), depth(book.sells, levels))


def _read_top(fold: Fold, ask: Ask) -> Sides:
    book = _book(fold, ask)
    return _sides(book, depth(book.buys, 1), depth(book.sells, 1))


def _read_orders(fold: Fold, ask: Ask) -> Sides:
    book, limit = _book(fold, ask), ask.numbers["limit"]
    orders = fold.rules.books.orders

    def best(side: BookSide) -> tuple[BookOrder, ...]:
        ids = (order_id for key in reversed(side.keys) for order_id in side.levels[key].orders)
        return tuple(orders[order_id] for order_id in islice(ids, limit))

    return _sides(book, best(book.buys), best(book.sells))


def _level(level: DepthLevel, prices: Grid, quantities: Grid) -> dict[str, Any]:
    return {
        "price": prices.format(level.price_ticks),
        "quantity": quantities.format(level.quantity_lots),
        "order_count": level.order_count,
    }


def _order(order: BookOrder, prices: Grid, quantities: Grid) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "price": price(prices, order.price_ticks),
        "quantity": quantities.format(order.shown_lots),
    }


def _state(sides: Sides, prices: Grid) -> dict[str, Any]:
    return {
        "last_trade_price": price(prices, sides.last_trade_ticks),
        "mark_price": price(prices, sides.mark_ticks),
        "trading_state": _STATES[sides.refusal],
    }


_STATES: Final = {None: "OPEN", "session_closed": "CLOSED", "instrument_halted": "HALTED"}


def _shape_levels(sides: Sides, reference: Reference) -> dict[str, Any]:
    grids = reference.of(sides.instrument)
    return {
        "instrument": sides.instrument,
        "bids": [_level(level, *grids) for level in sides.bids],
        "asks": [_level(level, *grids) for level in sides.asks],
        **_state(sides, grids[0]),
    }


def _shape_top(sides: Sides, reference: Reference) -> dict[str, Any]:
    grids = reference.of(sides.instrument)
    return {
        "instrument": sides.instrument,
        "bid": next((_level(level, *grids) for level in sides.bids), None),
        "ask": next((_level(level, *grids) for level in sides.asks), None),
        **_state(sides, grids[0]),
    }


def _shape_orders(sides: Sides, reference: Reference) -> dict[str, Any]:
    grids = reference.of(sides.instrument)
    return {
        "instrument": sides.instrument,
        "bids": [_order(order, *grids) for order in sides.bids],
        "asks": [_order(order, *grids) for order in sides.asks],
    }


_DEPTH: Final = Number("depth", 10, 1, 1000)

VIEWS: Final = (
    View(
        "/books/{instrument}",
        "/books/BTC-USD?depth=5",
        "the book by price (L2), best first: displayed quantity and number of orders of each level",
        "matching",
        _partition,
        _read_levels,
        _shape_levels,
        (_DEPTH,),
    ),
    View(
        "/books/{instrument}/orders",
        "/books/BTC-USD/orders?limit=20",
        "the book by order (L3), in the order in which they would trade; hidden quantity is not told",
        "matching",
        _partition,
        _read_orders,
        _shape_orders,
        (LIMIT,),
    ),
    View(
        "/books/{instrument}/top",
        "/books/BTC-USD/top",
        "the best bid and ask, the last trade, the mark",
        "matching",
        _partition,
        _read_top,
        _shape_top,
    ),
)
