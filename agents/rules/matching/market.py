"""The state of the market: instruments, halts, marks, sessions. What is of another partition is none of ours."""

from msgspec.structs import replace

from agents.rules.matching.entry import next_session_end_ns
from agents.rules.matching.turn import ANSWERS, Turn
from schemas.control_events import InstrumentDefined, MarkSet, TradingHalted, TradingResumed
from schemas.events import MarkChanged, SessionEnded
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.partitioner import partition_of
from tables.book import Book
from tables.matching import BookRow


def define(turn: Turn, event: InstrumentDefined) -> None:
    """Opens a book, or changes its session; orders that stand keep the expiry they have."""
    instrument = event.instrument
    if partition_of(instrument.symbol, turn.counts.books) != turn.partition:
        return
    book, minute = turn.books.by_symbol.get(instrument.symbol), instrument.session_end_minute_utc
    end_ns = next_session_end_ns(turn.now_ns, minute)
    if book is None:
        turn.books.define(instrument.symbol, BookRow(minute, end_ns, instrument.trading_state))
    else:
        if book.session_end_minute_utc != minute:
            book.session_end_minute_utc, book.session_end_ns = minute, end_ns
        book.trading_state = instrument.trading_state
        turn.books.save(book)


def halt(turn: Turn, event: TradingHalted | TradingResumed) -> None:
    """Halts, or lifts the halt of, one instrument or (None) all: two switches, and both must be off."""
    halted = isinstance(event, TradingHalted)
    if event.instrument is None:
        turn.tables.clock = replace(turn.tables.clock, halted=halted)
        for book in turn.books.by_symbol.values():
            turn.books.refresh(book)
    elif event.instrument in turn.books.by_symbol:
        book = turn.books.by_symbol[event.instrument]
        book.halted = halted
        turn.books.save(book)


def set_mark(turn: Turn, event: MarkSet) -> None:
    """Takes an operator's or a feed's mark, which holds until the next, and tells it at once."""
    book = turn.books.by_symbol.get(event.instrument)
    if book is not None:
        book.set_mark_ticks = event.price_ticks
        _tell_mark(turn, book, event.price_ticks)


def tell_marks(turn: Turn) -> None:
    """Tells each mark that changed since it was told, by instrument."""
    for _, book in sorted(turn.books.by_symbol.items()):
        mark = book.mark_ticks
        if mark is not None and mark != book.sent_mark_ticks:
            _tell_mark(turn, book, mark)


def end_sessions(turn: Turn, tick_ns: int) -> None:
    """Ends each session whose end has come, and tells all accounts its mark; the next session is open at once.

    An instrument without a mark never traded: nobody holds it, and nothing is told.
    """
    ended = [book for book in turn.books.by_symbol.values() if book.session_end_ns <= tick_ns]
    for book in sorted(ended, key=lambda book: book.instrument):
        book.session_end_ns = next_session_end_ns(tick_ns, book.session_end_minute_utc)
        turn.books.save(book)
        mark = book.mark_ticks
        if mark is not None:
            event = SessionEnded(
                instrument=book.instrument,
                mark_price_ticks=mark,
                session_end_ns=book.session_end_ns - NANOSECONDS_PER_DAY,
                at_ns=turn.now_ns,
            )
            for partition in range(turn.counts.accounts):
                turn.send((ANSWERS, partition), event)


def _tell_mark(turn: Turn, book: Book, price_ticks: int) -> None:
    book.sent_mark_ticks = price_ticks
    turn.books.save(book)
    event = MarkChanged(instrument=book.instrument, price_ticks=price_ticks, at_ns=turn.now_ns)
    turn.send(turn.market_data, event)
    for partition in range(turn.counts.accounts):
        turn.send((ANSWERS, partition), event)
