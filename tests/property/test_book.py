"""The book against the naive one, against itself restored, and against what must be conserved."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings

from agents.rules.matching import Matching, turn
from agents.rules.outbox import Outbox, Place
from schemas import events
from schemas.envelopes import BookCommandItem
from schemas.record import Record
from schemas.topics import BOOK_COMMANDS, MARKET_DATA, TRADES, PartitionCounts
from tables.books import check_books
from tables.matching import MatchingTables
from tests.property.book_flow import SESSION_END_MINUTES, SIDES, definitions, flows
from tests.property.reference_book import ReferenceBook

COUNTS = PartitionCounts(accounts=1, books=1)
Flow = list[BookCommandItem]


def defined() -> Matching:
    """Matching over fresh tables, with the flow's instruments."""
    matching = Matching(MatchingTables(), COUNTS, 0)
    for index, definition in enumerate(definitions()):
        matching.apply(definition, Place(0, 0, index, 0), Outbox())
    return matching


def apply(matching: Matching, item: BookCommandItem, offset: int, now_ns: int) -> Outbox:
    """One record of one item; what must hold of the books, holds after it."""
    outbox = Outbox()
    matching.apply(item, Place(0, offset, 0, now_ns), outbox)
    check_books(matching.books)
    return outbox


def said(outbox: Outbox, channel: str) -> list[Record]:
    """What went to a channel."""
    return outbox.items.get((channel, 0), [])


def restored(matching: Matching) -> Matching:
    """Matching over tables that are read back from the form of the changelog."""
    tables = MatchingTables()
    for key, value in matching.books.tables.entries():
        tables.load(key, value)
    return Matching(tables, COUNTS, 0)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Lets a record elect one stop, and remove one order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(turn, "ELECTIONS_PER_RECORD", 1)
        patch.setattr(turn, "ORDERS_PER_RECORD", 1)
        yield


@settings(deadline=None)
@given(flows())
def test_the_book_agrees_with_the_naive_one(flow: Flow) -> None:
    """Whatever comes, matching says event for event what the naive book says."""
    matching, reference = defined(), ReferenceBook(SESSION_END_MINUTES)
    for offset, item in enumerate(flow, 1):
        outbox = apply(matching, item, offset, item.at_ns)
        expected = reference.apply(item, item.at_ns)
        assert said(outbox, "answers") == expected.answers
        assert said(outbox, TRADES) == expected.trades
        assert said(outbox, MARKET_DATA) == expected.market_data


@settings(deadline=None)
@given(flows())
def test_a_restored_book_goes_on_as_the_one_that_lived(flow: Flow) -> None:
    """A book restored after every record says and remembers the same, continuations under way or not."""
    with one_at_a_time():
        lived, again = defined(), defined()
        inbox, now_ns = deque(flow), 0
        for offset in range(1, 10 * len(flow)):
            if not inbox:
                break
            item = inbox.popleft()
            now_ns = max(now_ns, item.at_ns)
            outbox = apply(lived, item, offset, now_ns)
            again = restored(again)
            assert apply(again, item, offset, now_ns).items == outbox.items
            assert list(again.books.tables.entries()) == list(lived.books.tables.entries())
            inbox.extend(said(outbox, BOOK_COMMANDS))  # type: ignore[arg-type]  # they are its items
        assert not inbox, "continuations do not end"


@settings(deadline=None)
@given(flows())
def test_continuations_change_no_outcome(flow: Flow) -> None:
    """Work that goes on from record to record ends as if one record had held it."""
    whole, parted = defined(), defined()
    offset = 0
    for number, item in enumerate(flow, 1):
        expected = apply(whole, item, number, item.at_ns)
        answers, trades = list[Record](), list[Record]()
        work = [item]
        with one_at_a_time():
            while work:
                offset += 1
                outbox = apply(parted, work.pop(0), offset, item.at_ns)
                answers += said(outbox, "answers")
                trades += said(outbox, TRADES)
                work += said(outbox, BOOK_COMMANDS)  # type: ignore[arg-type]  # they are its items
        assert trades == said(expected, TRADES)
        assert without_marks(answers) == without_marks(said(expected, "answers"))


def without_marks(answers: list[Record]) -> list[Record]:
    """The answers but for marks and sessions' ends, which no tick holds back until the last order has expired."""
    return [it for it in answers if not isinstance(it, events.MarkChanged | events.SessionEnded)]


@settings(deadline=None)
@given(flows())
def test_every_lot_is_accounted_for(flow: Flow) -> None:
    """Of each order: quantity = filled + open + taken off; of each trade: both sides got the same."""
    matching = defined()
    total, filled, gone = Counter[int](), Counter[int](), Counter[int]()
    for offset, item in enumerate(flow, 1):
        outbox = apply(matching, item, offset, item.at_ns)
        answers = said(outbox, "answers")
        for answer in answers:
            match answer:
                case events.OrderAccepted():
                    total[answer.order_id] = answer.quantity_lots
                case events.OrderReplaced():
                    total[answer.order_id] = answer.quantity_lots + gone[answer.order_id]
                case events.OrderFilled():
                    filled[answer.order_id] += answer.last_quantity_lots
                    assert filled[answer.order_id] == answer.cum_quantity_lots
                case events.OrderReduced():
                    gone[answer.order_id] += answer.reduced_quantity_lots
                case events.OrderCancelled() | events.OrderExpired():
                    gone[answer.order_id] += answer.cancelled_quantity_lots
                case _:
                    pass
        left = Counter(
            {order.order_id: order.leaves_quantity_lots for order in matching.books.orders.values()}
        )
        assert all(
            total[order_id] == filled[order_id] + left[order_id] + gone[order_id] for order_id in total
        )
        assert sides(answers) == both_sides(said(outbox, TRADES))


def sides(answers: list[Record]) -> list[tuple[int, str, int, int]]:
    """The fills as (trade, side, lots, price)."""
    fills = [answer for answer in answers if isinstance(answer, events.OrderFilled)]
    return sorted(
        (fill.trade_id, fill.side, fill.last_quantity_lots, fill.last_price_ticks) for fill in fills
    )


def both_sides(tape: list[Record]) -> list[tuple[int, str, int, int]]:
    """Each trade of the tape as the two fills that it must have."""
    trades = [trade for trade in tape if isinstance(trade, events.Trade)]
    return [
        (trade.trade_id, side, trade.quantity_lots, trade.price_ticks) for trade in trades for side in SIDES
    ]
