"""What the engine says, as lines of JSON: integers become decimals in the units of their instrument."""

from collections.abc import Callable, Iterable
from typing import Any

from agents.rules.reference import OUTSIDE
from connectors.decimals import Units
from connectors.json_events import (
    BalanceChangedLine,
    CancelRejectedLine,
    CommandRefusedLine,
    Event,
    MassCancelledLine,
    OrderAcceptedLine,
    OrderCancelledLine,
    OrderExpiredLine,
    OrderReducedLine,
    OrderRejectedLine,
    OrderReplacedLine,
    OrderTriggeredLine,
    PositionChangedLine,
    ReplaceRejectedLine,
    TradeLine,
)
from schemas import events
from schemas.record import Record
from schemas.settlement_events import BalanceChanged, PositionChanged


class EventForms:
    """Turns the records of the engine into lines, in the units of their instruments."""

    def __init__(self, units: Units) -> None:
        """Reads ``units`` as they are at each event."""
        self._units = units
        self.line_number = 0  # of the command that is being answered
        self._maker: events.OrderFilled | None = None  # the fill that waits for the other side of its trade
        self._forms: dict[type[Record], Callable[[Any], Event | None]] = {
            events.OrderAccepted: self._accepted,
            events.OrderRejected: self._rejected,
            events.OrderReplaced: self._replaced,
            events.OrderReduced: self._reduced,
            events.OrderCancelled: self._cancelled,
            events.OrderExpired: self._expired,
            events.OrderTriggered: self._triggered,
            events.CancelRejected: self._cancel_rejected,
            events.ReplaceRejected: self._replace_rejected,
            events.MassCancelled: self._mass_cancelled,
            events.OrderFilled: self._filled,
            events.CommandRefused: self._refused,
            PositionChanged: self._position,
            BalanceChanged: self._balance,
        }

    def write(self, said: Iterable[Record], out: list[Event]) -> None:
        """Adds the lines of what was said, in its order; a trade stands where its two fills stand.

        The maker's fill comes right before the taker's where both accounts are of one partition, as they are
        in a simulation.
        """
        forms = self._forms
        for event in said:
            form = forms.get(type(event))
            if form is not None and (line := form(event)) is not None:
                out.append(line)

    def _filled(self, fill: events.OrderFilled) -> Event | None:
        if fill.liquidity == "MAKER":
            self._maker = fill
            return None
        maker, (ticks, lots) = self._maker, self._units.of(fill.instrument)
        assert maker is not None, f"trade {fill.trade_id} has no maker"
        assert maker.trade_id == fill.trade_id, f"trade {fill.trade_id} has the maker of {maker.trade_id}"
        return TradeLine(
            fill.trade_id,
            fill.instrument,
            ticks.format(fill.last_price_ticks),
            lots.format(fill.last_quantity_lots),
            fill.side,
            maker.order_id,
            maker.client_order_id,
            maker.account,
            fill.order_id,
            fill.client_order_id,
            fill.account,
        )

    def _accepted(self, event: events.OrderAccepted) -> Event:
        ticks, lots = self._units.of(event.instrument)
        price, stop = event.price_ticks, event.stop_price_ticks
        return OrderAcceptedLine(
            event.account,
            event.client_order_id,
            event.instrument,
            event.order_id,
            event.side,
            event.order_type,
            event.time_in_force,
            lots.format(event.quantity_lots),
            None if price is None else ticks.format(price),
            None if stop is None else ticks.format(stop),
        )

    def _rejected(self, event: events.OrderRejected) -> Event:
        return OrderRejectedLine(
            event.account,
            event.client_order_id,
            event.instrument,
            event.reason,
            event.reason_code,
            event.order_id,
        )

    def _replaced(self, event: events.OrderReplaced) -> Event:
        ticks, lots = self._units.of(event.instrument)
        price = event.price_ticks
        return OrderReplacedLine(
            event.account,
            event.client_order_id,
            event.original_client_order_id,
            event.instrument,
            event.order_id,
            lots.format(event.quantity_lots),
            lots.format(event.cum_quantity_lots),
            lots.format(event.leaves_quantity_lots),
            None if price is None else ticks.format(price),
        )

    def _reduced(self, event: events.OrderReduced) -> Event:
        lots = self._units.of(event.instrument)[1]
        return OrderReducedLine(
            event.account,
            event.client_order_id,
            event.instrument,
            event.order_id,
            lots.format(event.reduced_quantity_lots),
            lots.format(event.cum_quantity_lots),
            lots.format(event.leaves_quantity_lots),
        )

    def _cancelled(self, event: events.OrderCancelled) -> Event:
        lots = self._units.of(event.instrument)[1]
        return OrderCancelledLine(
            event.account,
            event.client_order_id,
            event.instrument,
            event.order_id,
            event.reason,
            event.reason_code,
            lots.format(event.cancelled_quantity_lots),
            lots.format(event.cum_quantity_lots),
            event.command_id,
        )

    def _expired(self, event: events.OrderExpired) -> Event:
        lots = self._units.of(event.instrument)[1]
        return OrderExpiredLine(
            event.account,
            event.client_order_id,
            event.instrument,
            event.order_id,
            lots.format(event.cancelled_quantity_lots),
            lots.format(event.cum_quantity_lots),
        )

    def _triggered(self, event: events.OrderTriggered) -> Event:
        return OrderTriggeredLine(
            event.account,
            event.client_order_id,
            event.instrument,
            event.order_id,
            self._units.of(event.instrument)[0].format(event.trigger_price_ticks),
        )

    def _cancel_rejected(
        self,
        event: events.CancelRejected | events.ReplaceRejected,
        line: type[CancelRejectedLine] = CancelRejectedLine,
    ) -> Event:
        return line(
            event.account,
            event.client_order_id,
            event.original_client_order_id,
            event.reason,
            event.reason_code,
            event.instrument,
            event.order_id,
        )

    def _replace_rejected(self, event: events.ReplaceRejected) -> Event:
        return self._cancel_rejected(event, ReplaceRejectedLine)

    def _mass_cancelled(self, event: events.MassCancelled) -> Event:
        return MassCancelledLine(event.command_id, event.count, event.account, event.instrument, event.side)

    def _position(self, event: PositionChanged) -> Event:
        money = self._units.money(event.currency)
        return PositionChangedLine(
            event.account,
            event.instrument,
            event.currency,
            self._units.of(event.instrument)[1].format(event.quantity_lots),
            money.format(event.open_cost_minor),
            money.format(event.realised_profit_minor),
            event.version,
        )

    def _balance(self, event: BalanceChanged) -> Event | None:
        if event.account.startswith(OUTSIDE):  # the other end of deposits: its cash is in nobody's hands here
            return None
        money = self._units.money(event.currency)
        return BalanceChangedLine(
            event.account,
            event.currency,
            money.format(event.cash_minor),
            money.format(event.unsettled_minor),
            event.version,
        )

    def _refused(self, event: events.CommandRefused) -> Event:
        return CommandRefusedLine(
            self.line_number,
            event.reason,
            event.reason_code,
            event.detail,
            event.command_id,
            event.account,
        )
