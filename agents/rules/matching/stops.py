"""Stops: trades elect them, and an elected stop goes to work as a MARKET (STOP) or a LIMIT (STOP_LIMIT)."""

from msgspec.structs import replace

from agents.rules.matching.conditions import unmet
from agents.rules.matching.crossing import work
from agents.rules.matching.turn import Turn
from schemas.book_commands import ContinueElections
from schemas.events import OrderTriggered
from schemas.topics import BOOK_COMMANDS
from tables.book import Book
from tables.matching import BookOrder


def await_or_trigger(turn: Turn, book: Book, stop: BookOrder) -> None:
    """Lets a stop that is in no book wait; the last trade's price may elect it at once."""
    last, bound = book.last_trade_ticks, stop.stop_price_ticks
    assert bound is not None, f"stop {stop.order_id} has no stop price"
    if last is not None and (last >= bound if stop.side == "BUY" else last <= bound):
        _trigger(turn, book, stop, last)
    else:
        turn.books.add(stop)


def elect(turn: Turn, book: Book) -> None:
    """Runs the elections of the book's trades, trade by trade, as far as the record's budgets go."""
    while book.unelected:
        _, price_ticks, before = book.unelected[0]
        order_id = book.elected(price_ticks, before)
        if order_id is None:
            turn.books.settle(book)
        elif turn.elections_left and turn.fills_left:
            turn.elections_left -= 1
            stop = turn.books.orders[order_id]
            turn.books.remove(stop)
            _trigger(turn, book, stop, price_ticks)
        else:
            return


def elect_or_owe(turn: Turn, book: Book) -> None:
    """Runs the elections of the book's trades; what does not fit the record goes on by a continuation."""
    elect(turn, book)
    if book.unelected:
        turn.books.owe(book)
        event = ContinueElections(instrument=book.instrument, at_ns=turn.now_ns)
        turn.send((BOOK_COMMANDS, turn.partition), event)


def _trigger(turn: Turn, book: Book, stop: BookOrder, price_ticks: int) -> None:
    """Tells the election, then lets the order do what it would do at entry: its refusal is a cancel."""
    turn.answer(
        stop.account,
        OrderTriggered(
            account=stop.account,
            client_order_id=stop.client_order_id,
            instrument=stop.instrument,
            order_id=stop.order_id,
            trigger_price_ticks=price_ticks,
            at_ns=turn.now_ns,
        ),
    )
    order = replace(stop, waiting=False, priority=turn.priority())
    reason = unmet(turn, book, order)
    if reason is None:
        work(turn, book, order)
    else:
        turn.cancelled(order, order.cum_quantity_lots, order.leaves_quantity_lots, reason)
