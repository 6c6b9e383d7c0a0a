"""The states of orders: what matching answers moves each order along its lifecycle, and each step is said.

A state holds all of an order, so that the last one is enough: what an answer leaves out (side, price) comes from
the one before. What is said again to a repeated command (``possible_resend``) moves nothing.
"""

from typing import assert_never

import msgspec

from agents.rules.outbox import Outbox, Place
from agents.rules.projection import version_at
from schemas import control_events, events
from schemas.envelopes import AccountEventItem
from schemas.flat import FlatOrderState
from schemas.topics import ORDER_STATES, PartitionCounts
from tables.lifecycle import CLOSED, Event, advance
from tables.order_states import OpenOrderRow, OrderStatesTables

Answer = (
    events.OrderFilled
    | events.OrderReplaced
    | events.OrderReduced
    | events.OrderCancelled
    | events.OrderExpired
    | events.OrderTriggered
)
"""What moves an order that was accepted."""


class OrderStates:
    """The rules over the open orders of one partition of accounts."""

    VERSION = 1

    def __init__(
        self,
        tables: OrderStatesTables,
        counts: PartitionCounts,  # noqa: ARG002  (every stage is made alike)
        partition: int,
        *,
        epoch: int,
    ) -> None:
        """``epoch`` is the engine's."""
        self._orders, self._partition, self._epoch = tables.orders, partition, epoch

    def apply(self, item: AccountEventItem, place: Place, outbox: Outbox) -> None:
        """Takes one event."""
        match item:
            case events.OrderAccepted():
                if not item.possible_resend:
                    self._say(self._accepted(item, place), outbox)
            case events.OrderReplaced() | events.OrderCancelled():
                if not item.possible_resend:
                    self._move(item, place, outbox)
            case (
                events.OrderFilled() | events.OrderReduced() | events.OrderExpired() | events.OrderTriggered()
            ):
                self._move(item, place, outbox)
            case (
                events.OrderRejected()
                | events.CancelRejected()
                | events.ReplaceRejected()
                | events.OrdersRemoved()
                | events.MassCancelled()
                | events.MarkChanged()
                | events.SessionEnded()
                | events.CashDeposited()
                | events.CashWithdrawn()
                | events.CommandRefused()
                | control_events.InstrumentDefined()
                | control_events.AccountDefined()
                | control_events.LimitsChanged()
                | control_events.TradingHalted()
                | control_events.TradingResumed()
                | control_events.KillActivated()
                | control_events.KillLifted()
                | control_events.MassCancelOrdered()
                | control_events.MarkSet()
                | control_events.ClockTicked()
                | control_events.RulesActivated()
            ):
                pass  # moves no accepted order
            case _:
                assert_never(item)

    def _accepted(self, item: events.OrderAccepted, place: Place) -> FlatOrderState:
        assert item.order_id not in self._orders, f"order {item.order_id} is accepted twice"
        return FlatOrderState(
            epoch=self._epoch,
            order_id=item.order_id,
            version=version_at(place.offset, place.index),
            account=item.account,
            client_order_id=item.client_order_id,
            instrument=item.instrument,
            side=item.side,
            order_type=item.order_type,
            time_in_force=item.time_in_force,
            state=advance("PENDING_NEW", "ACCEPTED"),
            price_ticks=item.price_ticks,
            stop_price_ticks=item.stop_price_ticks,
            quantity_lots=item.quantity_lots,
            cum_quantity_lots=0,
            leaves_quantity_lots=item.quantity_lots,
            reason=None,
            accepted_at_ns=item.at_ns,
            at_ns=item.at_ns,
        )

    def _move(self, item: Answer, place: Place, outbox: Outbox) -> None:
        row = self._orders.get(item.order_id)
        assert row is not None, f"order {item.order_id} is not open, yet matching answers for it"
        before = row.state
        event, changes = _step(item, before)
        self._say(
            msgspec.structs.replace(
                before,
                **changes,
                state=advance(before.state, event),  # type: ignore[arg-type]  # an open set on the wire
                version=version_at(place.offset, place.index),
                at_ns=item.at_ns,
            ),
            outbox,
        )

    def _say(self, state: FlatOrderState, outbox: Outbox) -> None:
        filled, open_ = state.cum_quantity_lots, state.leaves_quantity_lots
        assert filled >= 0 <= open_, f"order {state.order_id}: {filled} filled, {open_} open"
        if state.state in CLOSED:
            self._orders.pop(state.order_id, None)
        else:
            self._orders[state.order_id] = OpenOrderRow(state)
        outbox.send(ORDER_STATES, self._partition, state)


def _step(item: Answer, before: FlatOrderState) -> tuple[Event, dict[str, object]]:
    """The lifecycle's event, and the fields that it changes."""
    match item:
        case events.OrderFilled():
            event: Event = "PARTLY_FILLED" if item.leaves_quantity_lots else "FILLED"
            return event, _quantities(item.cum_quantity_lots, item.leaves_quantity_lots)
        case events.OrderReplaced():
            return "REPLACED", {
                "client_order_id": item.client_order_id,
                "price_ticks": item.price_ticks,
                "quantity_lots": item.quantity_lots,
                **_quantities(item.cum_quantity_lots, item.leaves_quantity_lots),
            }
        case events.OrderReduced():
            return "REDUCED", _quantities(item.cum_quantity_lots, item.leaves_quantity_lots)
        case events.OrderCancelled():
            return "CANCELLED", {**_quantities(item.cum_quantity_lots, 0), "reason": item.reason}
        case events.OrderExpired():
            return "EXPIRED", _quantities(item.cum_quantity_lots, 0)
        case events.OrderTriggered():
            return "TRIGGERED", _quantities(before.cum_quantity_lots, before.leaves_quantity_lots)
        case _:
            assert_never(item)


def _quantities(cum: int, leaves: int) -> dict[str, object]:
    return {"cum_quantity_lots": cum, "leaves_quantity_lots": leaves}
