"""Matching: price-time priority, every order type, stops, expiry; one apply for each item of book-commands.

Where to find, or to add, what an order may do:

    entry       a new order: its checks, its acceptance, what type it is
    conditions  what it may demand before it trades: post-only, FOK, minimum quantity
    crossing    trades, icebergs' slices, the end of what may not rest
    self_trade  what happens when it meets its own group
    stops       waiting, election, triggering
    replacing   replace
    removal     cancel, mass cancel, expiry
    market      instruments, halts, marks, the ends of sessions

All of them work on a ``turn`` (turn.py), which has the books (tables/books.py, tables/book.py).
"""

from typing import Final, assert_never

from msgspec.structs import replace

from agents.rules.matching import market, removal, replacing, stops
from agents.rules.matching.entry import enter, reject
from agents.rules.matching.turn import Turn
from agents.rules.outbox import Outbox, Place
from schemas import book_commands as asked
from schemas import control_events as control
from schemas.envelopes import BookCommandItem
from schemas.topics import PartitionCounts
from tables.book import Book
from tables.books import Books
from tables.matching import MatchingTables

_NOT_OURS: Final = (
    control.AccountDefined,
    control.LimitsChanged,
    control.KillActivated,
    control.KillLifted,
    control.MassCancelOrdered,
    control.RulesActivated,
)
_ON_ONE_BOOK: Final = (asked.EnterOrder, asked.RemoveOrder, asked.AmendOrder)


class Matching:
    """The rules of matching over one partition of the books.

    Answers to accounts go to channel ``answers``, trades to ``trades``, changed levels and marks to
    ``market-data``, continuations to ``book-commands``, the last three at the own partition.
    """

    VERSION = 1

    def __init__(self, tables: MatchingTables, counts: PartitionCounts, partition: int) -> None:
        """Derives the books from the tables."""
        self._turn = Turn(tables, counts, partition)

    @property
    def books(self) -> Books:
        """The books as they stand; whoever reads them must not change them."""
        return self._turn.books

    def apply(self, item: BookCommandItem, place: Place, outbox: Outbox) -> None:
        """Takes one item; AssertionError where risk or control broke a promise."""
        turn = self._turn
        turn.begin(place, outbox)
        if isinstance(item, _ON_ONE_BOOK):
            book = turn.books.by_symbol.get(item.instrument)
            if book is None:
                _refuse_unknown(turn, item)
                return
            if book.unelected:
                self._open(book)
            if isinstance(item, asked.EnterOrder):  # this is paid for each order: a match costs more
                enter(turn, book, item)
            elif isinstance(item, asked.RemoveOrder):
                removal.remove(turn, item)
            else:
                replacing.amend(turn, book, item)
            self._close(book)
        else:
            self._apply_rare(item)

    def _apply_rare(self, item: BookCommandItem) -> None:
        turn = self._turn
        match item:
            case asked.ContinueElections():
                book = turn.books.by_symbol[item.instrument]
                self._open(book)
                self._close(book)
            case asked.RemoveOrders():
                removal.remove_many(turn, item)
                self._close_all()
            case asked.ContinueExpiry():
                removal.expire(turn)
                self._close_all()
            case control.ClockTicked():
                self._tick(item)
            case control.InstrumentDefined():
                market.define(turn, item)
                self._close_all()
            case control.TradingHalted() | control.TradingResumed():
                market.halt(turn, item)
                self._close_all()
            case control.MarkSet():
                market.set_mark(turn, item)
            case _:
                assert isinstance(item, _NOT_OURS), f"matching does not know {type(item).__name__}"

    def _tick(self, tick: control.ClockTicked) -> None:
        turn = self._turn
        if tick.tick_ns > turn.tables.clock.last_tick_ns:
            turn.tables.clock = replace(turn.tables.clock, last_tick_ns=tick.tick_ns)
            removal.expire(turn)
            self._close_all()
            market.tell_marks(turn)
            market.end_sessions(turn, tick.tick_ns)

    def _open(self, book: Book) -> None:
        """Begins a command on a book: elections that are owed come before it."""
        if book.unelected and book.refusal is None:
            stops.elect(self._turn, book)

    def _close(self, book: Book) -> None:
        """Ends a command on a book: elections, its state, the levels that changed."""
        turn = self._turn
        if book.unelected and book.refusal is None:
            stops.elect_or_owe(turn, book)
        if book.trades_made != book.trades_saved:
            turn.books.save(book)
        for side in (book.buys, book.sells):
            if side.touched:
                turn.tell_levels(book.instrument, side)

    def _close_all(self) -> None:
        for _, book in sorted(self._turn.books.by_symbol.items()):
            self._close(book)


def _refuse_unknown(turn: Turn, item: asked.EnterOrder | asked.RemoveOrder | asked.AmendOrder) -> None:
    """Risk hears of an instrument from control, as we do, and may be sooner: its order can overtake the news."""
    match item:
        case asked.EnterOrder():
            reject(turn, item, "unknown_instrument")
        case asked.RemoveOrder():
            removal.remove(turn, item)
        case asked.AmendOrder():
            replacing.reject(turn, item, "unknown_order")
        case _:
            assert_never(item)
