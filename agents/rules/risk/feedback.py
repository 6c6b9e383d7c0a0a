"""Matching's answers and settlement's word: holds move, positions and cash follow, ids get their outcomes.

Answers carry absolute quantities (cum, leaves). An answer about an order that is not open, where it must be,
is a broken invariant: risk and matching disagree, and the worker stops.
"""

from agents.rules.money import book_fill
from agents.rules.outbox import Outbox, Place
from agents.rules.risk import outcomes, variation
from agents.rules.risk.desk import Desk, Holding, Ledger, Purse, change_of, claim_of, move_claim
from agents.rules.risk.margin import revalue
from schemas.events import (
    CancelRejected,
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    OrderTriggered,
    ReplaceRejected,
)
from schemas.settlement_events import CashReleased
from tables.lifecycle import Event, advance
from tables.risk import DONE, PENDING, CommandRow, OrderRow, PendingReplace, pair

Held = tuple[Ledger, Holding, Purse]
"""What ``Desk.held_by`` finds: looked for once an answer, since each look costs three misses of the cache."""


def accepted(desk: Desk, item: OrderAccepted, place: Place, outbox: Outbox) -> None:  # noqa: ARG001  (all alike)
    """The order is in its book."""
    order = desk.tables.orders[item.order_id]
    state = advance(order.state, "ACCEPTED")
    desk.tables.orders[item.order_id] = order.accepted(state, item.at_ns)


def rejected(desk: Desk, item: OrderRejected, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The order never was: its holds go, and its id waits out its time."""
    assert item.order_id is not None, "matching names the order that it rejects"
    order = desk.tables.orders[item.order_id]
    _close(desk, item.order_id, order, desk.held_by(order), "REJECTED")
    key = pair(item.account, item.client_order_id)
    row = CommandRow("P", order.digest, item.order_id, PENDING, order.at_ns, 0)
    outcomes.answer(desk, key, row, item.at_ns, item.reason_code, ())


def filled(desk: Desk, item: OrderFilled, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """A fill moves the position and cash, and releases what it used."""
    order = desk.tables.orders[item.order_id]
    held = _, holding, purse = desk.held_by(order)
    if desk.tables.variations:
        variation.settle(desk, holding, purse)
    booked = book_fill(
        holding.quantity_lots,
        holding.open_cost_minor,
        item.terms,
        item.side,
        item.liquidity,
        item.last_price_ticks,
        item.last_quantity_lots,
    )
    desk.set_position(holding, purse, booked.quantity_lots, booked.open_cost_minor)
    desk.set_cash(purse, purse.cash_minor + booked.cash_minor, purse.unsettled_minor + booked.unsettled_minor)
    if item.leaves_quantity_lots:
        _resize(desk, item, order, held, "PARTLY_FILLED")
    else:
        _close_named(desk, item.order_id, order, held, "FILLED", place.now_ns)


def reduced(desk: Desk, item: OrderReduced, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """Self-trade prevention took some of the order; what reaches zero is cancelled by the next answer."""
    order = desk.tables.orders[item.order_id]
    _resize(desk, item, order, desk.held_by(order), "REDUCED")


def triggered(desk: Desk, item: OrderTriggered, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """A stop was elected: nothing that risk holds changes."""
    advance(desk.tables.orders[item.order_id].state, "TRIGGERED")


def cancelled(desk: Desk, item: OrderCancelled, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The order is gone; a cancel that did it has its answer."""
    order = desk.tables.orders[item.order_id]
    _close_named(desk, item.order_id, order, desk.held_by(order), "CANCELLED", place.now_ns)
    if item.reason == "requested" and item.command_id is not None:
        key = pair(item.account, item.command_id)
        first = (
            item.client_order_id,
            item.instrument,
            item.cancelled_quantity_lots,
            item.cum_quantity_lots,
        )
        outcomes.answer(desk, key, desk.tables.commands[key], item.at_ns, DONE, first)


def expired(desk: Desk, item: OrderExpired, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The order is gone, by a tick."""
    order = desk.tables.orders[item.order_id]
    _close_named(desk, item.order_id, order, desk.held_by(order), "EXPIRED", place.now_ns)


def replaced(desk: Desk, item: OrderReplaced, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The order is what was asked for, under its new name; what it holds beyond that goes."""
    order = desk.tables.orders[item.order_id]
    _set_order(
        desk,
        item.order_id,
        order,
        desk.held_by(order),
        OrderRow(
            order.account,
            item.client_order_id,
            order.instrument,
            order.side,
            order.order_type,
            order.time_in_force,
            advance(order.state, "REPLACED"),
            item.cum_quantity_lots + item.leaves_quantity_lots,
            item.cum_quantity_lots,
            item.price_ticks,
            order.stop_price_ticks,
            order.hold_price_ticks if item.price_ticks is None else item.price_ticks,
            order.fee_bps,
            order.digest,
            order.at_ns,
            _without(order.pending, item.client_order_id),
        ),
    )
    minute = desk.markets[order.instrument].instrument.session_end_minute_utc
    outcomes.close_name(desk, pair(order.account, order.client_order_id), place.now_ns, minute)
    key = pair(item.account, item.client_order_id)
    outcomes.name_order(
        desk,
        key,
        desk.tables.commands[key],
        item.at_ns,
        (
            item.instrument,
            item.price_ticks,
            item.quantity_lots,
            item.cum_quantity_lots,
            item.leaves_quantity_lots,
        ),
    )


def replace_rejected(desk: Desk, item: ReplaceRejected, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The order is what it was: what the replace had raised goes; an order closed meanwhile holds nothing."""
    key = pair(item.account, item.client_order_id)
    row = desk.tables.commands[key]
    order = desk.tables.orders.get(row.order_id)
    if order is not None:
        pending = _without(order.pending, item.client_order_id)
        after = order.changed(order.state, order.quantity_lots, order.cum_quantity_lots, pending)
        _set_order(desk, row.order_id, order, desk.held_by(order), after)
    outcomes.answer(desk, key, row, item.at_ns, item.reason_code, (item.instrument,))


def cancel_rejected(desk: Desk, item: CancelRejected, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """The order was gone before the cancel came."""
    key = pair(item.account, item.client_order_id)
    outcomes.answer(desk, key, desk.tables.commands[key], item.at_ns, item.reason_code, (item.instrument,))


def cash_released(desk: Desk, item: CashReleased, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """Receipts may be withdrawn from their settlement day on."""
    purse = desk.purse(desk.ledgers[item.account], item.currency)
    desk.set_cash(purse, purse.cash_minor, purse.unsettled_minor - item.amount_minor)


def _resize(desk: Desk, item: OrderFilled | OrderReduced, order: OrderRow, held: Held, event: Event) -> None:
    cum = item.cum_quantity_lots
    state = advance(order.state, event)
    after = order.changed(state, cum + item.leaves_quantity_lots, cum, order.pending)
    _set_order(desk, item.order_id, order, held, after)


def _set_order(desk: Desk, order_id: int, before: OrderRow, held: Held, after: OrderRow) -> None:
    """Replaces an order's row, and what it claims."""
    desk.tables.orders[order_id] = after
    _, holding, purse = held
    move_claim(holding, purse, before.side, change_of(before, after, holding.terms.minor_per_tick_lot))
    revalue(desk, holding, purse)


def _close_named(desk: Desk, order_id: int, order: OrderRow, held: Held, event: Event, now_ns: int) -> None:
    """Lets an order's name go in time, and closes it."""
    minute = held[1].market.instrument.session_end_minute_utc
    outcomes.close_name(desk, pair(order.account, order.client_order_id), now_ns, minute)
    _close(desk, order_id, order, held, event)


def _close(desk: Desk, order_id: int, order: OrderRow, held: Held, event: Event) -> None:
    """Takes an open order's row away, and all that it claims."""
    advance(order.state, event)
    del desk.tables.orders[order_id]
    ledger, holding, purse = held
    ledger.open_orders -= 1
    lots, cost, fees = claim_of(order, holding.terms.minor_per_tick_lot)
    move_claim(holding, purse, order.side, (-lots, -cost, -fees))
    revalue(desk, holding, purse)


def _without(pending: tuple[PendingReplace, ...], name: str) -> tuple[PendingReplace, ...]:
    return tuple(change for change in pending if change.client_order_id != name)
