"""Settlement: fills and cash become positions, balances, double-entry postings and obligations.

``fills`` is what a trade moves, ``cash`` deposits, withdrawals and receipts whose day has come, ``sessions`` the
variation of futures, ``journal`` what all of them post to, ``invariants`` what must always hold.

Every partition P keeps its own books: trades settle against ``clearing:P``, fees against ``house:P``, and
``cash:P`` stands for the world outside (minus what was deposited), so all balances of a partition sum to
zero in every currency. Clearing over all partitions and the open cost of all futures sum to zero once both
legs of every trade are in.

Nothing here depends on the order between origins: a fill carries the terms it settles by, so it may come
before the deposit that pays for it, before its account and before its instrument.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from agents.rules.outbox import Outbox, Place
from agents.rules.settlement import cash, fills, sessions
from agents.rules.settlement.fills import settlement_day
from agents.rules.settlement.invariants import check_settlement
from agents.rules.settlement.journal import Journal
from schemas import control_events, events
from schemas.envelopes import AccountEventItem
from schemas.record import Record
from schemas.topics import PartitionCounts
from tables.settlement import SettlementTables

Handler = Callable[[Journal, Any, Place], None]


def _ticked(journal: Journal, item: control_events.ClockTicked, place: Place) -> None:
    """Time passes: receipts whose day has come, then what a session's end left to do."""
    cash.release(journal, item, place)
    sessions.go_on(journal, item, place)


def _mark_changed(journal: Journal, item: events.MarkChanged, place: Place) -> None:
    """An instrument has a mark."""
    del place
    journal.tables.marks[item.instrument] = item.price_ticks


def _nothing(journal: Journal, item: Record, place: Place) -> None:
    """What moves no money."""


# One lookup by type instead of a match over 27 cases; a test compares the keys with the inbox's items.
HANDLERS: Final[MappingProxyType[type[Record], Handler]] = MappingProxyType(
    {
        events.OrderFilled: fills.filled,
        events.CashDeposited: cash.moved,
        events.CashWithdrawn: cash.moved,
        events.SessionEnded: sessions.ended,
        events.MarkChanged: _mark_changed,
        control_events.ClockTicked: _ticked,
        events.OrderAccepted: _nothing,
        events.OrderRejected: _nothing,
        events.OrderReplaced: _nothing,
        events.OrderReduced: _nothing,
        events.OrderCancelled: _nothing,
        events.OrderExpired: _nothing,
        events.OrderTriggered: _nothing,
        events.CancelRejected: _nothing,
        events.ReplaceRejected: _nothing,
        events.OrdersRemoved: _nothing,
        events.MassCancelled: _nothing,
        events.CommandRefused: _nothing,
        control_events.InstrumentDefined: _nothing,
        control_events.AccountDefined: _nothing,
        control_events.LimitsChanged: _nothing,
        control_events.TradingHalted: _nothing,
        control_events.TradingResumed: _nothing,
        control_events.KillActivated: _nothing,
        control_events.KillLifted: _nothing,
        control_events.MassCancelOrdered: _nothing,
        control_events.MarkSet: _nothing,
        control_events.RulesActivated: _nothing,
    }
)


class Settlement:
    """The rules of settlement over the tables of one partition."""

    VERSION = 1

    def __init__(self, tables: SettlementTables, counts: PartitionCounts, partition: int) -> None:  # noqa: ARG002  (every stage is made alike)
        """Builds what is derived: who holds which future, and what is due when."""
        self._journal = Journal(tables, partition)
        self._handlers = dict(HANDLERS)

    def apply(self, item: AccountEventItem, place: Place, outbox: Outbox) -> None:
        """Takes one item; its postings balance."""
        handler = self._handlers[type(item)]
        if handler is not _nothing:
            self._journal.begin(outbox)
            handler(self._journal, item, place)


__all__ = ["HANDLERS", "Settlement", "check_settlement", "settlement_day"]
