"""What the rules of matching work with: the books, the time, where answers go, what the record has left."""

from collections import deque
from typing import Final

from agents.rules.outbox import Outbox, Place
from schemas.book_commands import Terms
from schemas.events import LevelChanged, OrderCancelled
from schemas.ids import trade_id
from schemas.maximums import ELECTIONS_PER_RECORD, FILLS_PER_RECORD, ORDERS_PER_RECORD
from schemas.partitioner import partition_of
from schemas.reasons import code
from schemas.record import Record
from schemas.topics import MARKET_DATA, TRADES, PartitionCounts
from tables.book import BookSide
from tables.books import Books
from tables.matching import BookOrder, MatchingTables

ANSWERS: Final = "answers"
PRIORITY_BITS: Final = 16  # a record makes fewer: one an item, an election, a fill that refreshes a slice


class Turn:
    """One item's turn at the books of a partition; made once, and begun for each item.

    A priority is the place of its making: the record's offset (42 bits), then its number in the record. So
    it needs no counter that would have to be remembered.
    """

    def __init__(self, tables: MatchingTables, counts: PartitionCounts, partition: int) -> None:
        """Derives the books from the tables."""
        self.tables: Final = tables
        self.books: Final = Books(tables)
        self.counts: Final = counts
        self.partition: Final = partition
        self.trades: Final = (TRADES, partition)
        self.first_trade_id: Final = trade_id(partition, 0)
        self.market_data: Final = (MARKET_DATA, partition)
        self.now_ns = 0
        self.fills_left = self.elections_left = self.removals_left = 0
        self.sweeps: dict[tuple[int, int], deque[int]] = {}  # (asker, sweep id) -> order ids still to visit
        self._lanes = Outbox().items
        self._offset = -1
        self._number = 0
        self._lane_of: dict[str, tuple[str, int]] = {}
        self._terms: dict[Terms, Terms] = {}

    def begin(self, place: Place, outbox: Outbox) -> None:
        """Starts the turn of the item at this place; each record starts with whole budgets."""
        self._lanes = outbox.items
        self.now_ns = place.now_ns
        if place.offset != self._offset:
            self._offset = place.offset
            self._number = 0
            self.fills_left = FILLS_PER_RECORD
            self.elections_left = ELECTIONS_PER_RECORD
            self.removals_left = ORDERS_PER_RECORD

    def priority(self) -> int:
        """The next priority: later than all before."""
        self._number = number = self._number + 1
        assert number < 1 << PRIORITY_BITS, "a record makes more priorities than its budgets allow"
        return self._offset << PRIORITY_BITS | number

    def shared(self, terms: Terms) -> Terms:
        """Equal terms, once in memory."""
        return self._terms.setdefault(terms, terms)

    def send(self, lane: tuple[str, int], event: Record) -> None:
        """Tells a partition of a channel."""
        items = self._lanes.get(lane)
        if items is None:
            self._lanes[lane] = [event]
        else:
            items.append(event)

    def account_partition(self, account: str) -> int:
        """The partition of risk and settlement that has this account."""
        return self._lane_to(account)[1]

    def answer(self, account: str, event: Record) -> None:
        """Tells the account's partition, risk and settlement alike."""
        lane = self._lane_of.get(account) or self._lane_to(account)
        items = self._lanes.get(lane)
        if items is None:
            self._lanes[lane] = [event]
        else:
            items.append(event)

    def _lane_to(self, account: str) -> tuple[str, int]:
        lane = self._lane_of.get(account)
        if lane is None:
            lane = self._lane_of[account] = (ANSWERS, partition_of(account, self.counts.accounts))
        return lane

    def cancelled(
        self, order: BookOrder, cum: int, leaves: int, reason: str, command_id: str | None = None
    ) -> None:
        """Tells that the rest of an order, which is in no book, is cancelled."""
        self.answer(
            order.account,
            OrderCancelled(
                account=order.account,
                client_order_id=order.client_order_id,
                instrument=order.instrument,
                order_id=order.order_id,
                reason=reason,
                reason_code=code(reason),
                command_id=command_id,
                cancelled_quantity_lots=leaves,
                cum_quantity_lots=cum,
                at_ns=self.now_ns,
            ),
        )

    def cancel(self, order: BookOrder, reason: str, command_id: str | None = None) -> None:
        """Takes an open order out of its book, and tells."""
        self.books.remove(order)
        self.cancelled(order, order.cum_quantity_lots, order.leaves_quantity_lots, reason, command_id)

    def tell_levels(self, instrument: str, side: BookSide) -> None:
        """Tells each level whose displayed quantity or count changed, by rising price."""
        touched, levels = side.touched, side.levels
        keys = sorted(touched, reverse=side.sign < 0) if len(touched) > 1 else touched
        for key in keys:
            level = levels.get(key)
            quantity, count = (0, 0) if level is None else (level.quantity_lots, len(level.orders))
            if (quantity, count) != touched[key]:
                event = LevelChanged(
                    instrument=instrument,
                    side=side.side,
                    price_ticks=key * side.sign,
                    quantity_lots=quantity,
                    order_count=count,
                    at_ns=self.now_ns,
                )
                self.send(self.market_data, event)
        touched.clear()
