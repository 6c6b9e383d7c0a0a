"""Risk: may this account do this now? Every check, hold and balance of the accounts of one partition.

``checks`` is the table of the checks in their order, ``orders`` what comes in, ``feedback`` what comes back,
``desk`` what they work on, ``margin``, ``variation`` and ``cash`` the money, ``outcomes`` the ids of commands,
``switches`` halts, kills and sweeps, ``invariants`` what must always hold.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Final

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import cash, feedback, orders, reference, switches, variation
from agents.rules.risk.desk import Desk
from agents.rules.risk.invariants import check_desk
from schemas import commands, control_events, events, settlement_events
from schemas.envelopes import AccountCommandItem
from schemas.record import Record
from schemas.topics import PartitionCounts
from tables.risk import RiskTables

Handler = Callable[[Desk, Any, Place, Outbox], None]


def _nothing(desk: Desk, item: Record, place: Place, outbox: Outbox) -> None:
    """What concerns other stages: matching tells the mark that was set, the machinery switches the rules."""


# One lookup by type instead of a match that tries 27 cases; a test compares the keys with the inbox's items.
HANDLERS: Final[MappingProxyType[type[Record], Handler]] = MappingProxyType(
    {
        commands.PlaceOrder: orders.place_order,
        commands.CancelOrder: orders.cancel_order,
        commands.ReplaceOrder: orders.replace_order,
        commands.MassCancel: switches.mass_cancel,
        commands.Deposit: cash.deposit,
        commands.Withdraw: cash.withdraw,
        events.OrderAccepted: feedback.accepted,
        events.OrderRejected: feedback.rejected,
        events.OrderFilled: feedback.filled,
        events.OrderReplaced: feedback.replaced,
        events.OrderReduced: feedback.reduced,
        events.OrderCancelled: feedback.cancelled,
        events.OrderExpired: feedback.expired,
        events.OrderTriggered: feedback.triggered,
        events.CancelRejected: feedback.cancel_rejected,
        events.ReplaceRejected: feedback.replace_rejected,
        events.OrdersRemoved: switches.orders_removed,
        events.MarkChanged: reference.mark_changed,
        events.SessionEnded: variation.session_ended,
        settlement_events.CashReleased: feedback.cash_released,
        control_events.InstrumentDefined: reference.instrument_defined,
        control_events.AccountDefined: reference.account_defined,
        control_events.LimitsChanged: reference.limits_changed,
        control_events.TradingHalted: switches.halted,
        control_events.TradingResumed: switches.resumed,
        control_events.KillActivated: switches.killed,
        control_events.KillLifted: switches.kill_lifted,
        control_events.MassCancelOrdered: switches.mass_cancel_ordered,
        control_events.MarkSet: _nothing,
        control_events.ClockTicked: reference.ticked,
        control_events.RulesActivated: _nothing,
    }
)


class Risk:
    """The rules of risk over the tables of one partition."""

    VERSION = 1

    def __init__(self, tables: RiskTables, counts: PartitionCounts, partition: int) -> None:
        """Builds what is derived: the totals of holds, and what falls due when."""
        self.desk = Desk(tables, counts, partition)
        self._handlers = dict(HANDLERS)

    def apply(self, item: AccountCommandItem, place: Place, outbox: Outbox) -> None:
        """Takes one item of the inbox."""
        self._handlers[type(item)](self.desk, item, place, outbox)


def check_risk(risk: Risk) -> None:
    """Asserts what must hold between two items; reads all rows, so it is for tests and simulations."""
    check_desk(risk.desk)


__all__ = ["HANDLERS", "Risk", "check_risk"]
