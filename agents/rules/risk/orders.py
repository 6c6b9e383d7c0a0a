"""Orders, cancels and replaces: refused here, or let through to the order's book with their holds made."""

from typing import Final

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import outcomes
from agents.rules.risk.checks import Request, count_message, first_refusal, worst_price_ticks
from agents.rules.risk.desk import (
    Claim,
    Desk,
    Holding,
    Ledger,
    Purse,
    change_of,
    claim_at,
    move_claim,
)
from agents.rules.risk.margin import examine, revalue
from schemas.book_commands import AmendOrder, EnterOrder, RemoveOrder
from schemas.commands import CancelOrder, PlaceOrder, ReplaceOrder
from schemas.partitioner import partition_of
from schemas.topics import BOOK_COMMANDS
from tables.risk import NO_ORDER, PENDING, CommandRow, OrderRow, PendingReplace, pair

_NO_FEES: Final = 0


def place_order(desk: Desk, item: PlaceOrder, place: Place, outbox: Outbox) -> None:
    """Takes a new order: a refusal, or EnterOrder to its book."""
    key = pair(item.account, item.client_order_id)
    if outcomes.is_answered(desk, item, key, place, outbox):
        return
    ledger, now_ns = desk.ledgers.get(item.account), place.now_ns
    count = count_message(desk, ledger, now_ns) if ledger else 0
    market = desk.markets.get(item.instrument)
    if outcomes.is_too_old(item, now_ns):
        desk.say(outbox, outcomes.refusal(item, "command_too_old", now_ns))
    elif ledger is None:
        _assert_own(desk, item.account)
        _refuse(desk, key, item, place, outbox, "unknown_account")
    elif market is None:
        _refuse(desk, key, item, place, outbox, "unknown_instrument")
    else:
        holding = desk.holding(ledger, market)
        purse = ledger.purses[holding.terms.currency]
        request = _request(desk, ledger, holding, purse, item, count, now_ns)
        reason = first_refusal(request)
        if reason is None:
            _enter(desk, key, item, request, place, outbox)
        else:
            _refuse(desk, key, item, place, outbox, reason)
            if reason == "reducing_orders_only":
                examine(desk, ledger, now_ns, outbox)


def cancel_order(desk: Desk, item: CancelOrder, place: Place, outbox: Outbox) -> None:
    """Takes a cancel: it passes for any order that is open, whatever else holds."""
    key = pair(item.account, item.client_order_id)
    if outcomes.is_answered(desk, item, key, place, outbox):
        return
    ledger = desk.ledgers.get(item.account)
    if ledger is not None:
        count_message(desk, ledger, place.now_ns)
    target = _target(desk, item, place, outbox, key)
    if target is None:
        return
    order_id, order = target
    outcomes.await_answer(desk, key, item, place, order_id)
    outbox.send(
        BOOK_COMMANDS,
        desk.markets[order.instrument].book_partition,
        RemoveOrder(
            order_id=order_id,
            account=item.account,
            client_order_id=item.client_order_id,
            original_client_order_id=item.original_client_order_id,
            instrument=order.instrument,
            at_ns=place.now_ns,
        ),
    )


def replace_order(desk: Desk, item: ReplaceOrder, place: Place, outbox: Outbox) -> None:
    """Takes a replace: checked by the checks that apply to it, its holds raised at once."""
    key = pair(item.account, item.client_order_id)
    if outcomes.is_answered(desk, item, key, place, outbox):
        return
    sender = desk.ledgers.get(item.account)
    count = count_message(desk, sender, place.now_ns) if sender else 0
    target = _target(desk, item, place, outbox, key)
    if target is None:
        return
    order_id, order = target
    ledger, holding, purse = desk.held_by(order)
    unit = holding.terms.minor_per_tick_lot
    change = PendingReplace(item.client_order_id, item.price_ticks, item.quantity_lots)
    pending = (*order.pending, change)
    after = order.changed(order.state, order.quantity_lots, order.cum_quantity_lots, pending)
    rise = change_of(order, after, unit)
    request = _replacing(desk, ledger, holding, purse, order, item, rise, count, place.now_ns)
    reason = first_refusal(request)
    if reason is not None:
        outcomes.row_of(desk, key, item, place, reason, (order.instrument,), order_id)
        no = outcomes.refusal(item, reason, place.now_ns, (order.instrument,), order_id=order_id)
        desk.say(outbox, no)
        return
    desk.tables.orders[order_id] = after
    move_claim(holding, purse, order.side, rise)
    revalue(desk, holding, purse)
    outcomes.await_answer(desk, key, item, place, order_id)
    outbox.send(BOOK_COMMANDS, holding.market.book_partition, _amendment(order_id, order, item, place.now_ns))


def _request(
    desk: Desk,
    ledger: Ledger,
    holding: Holding,
    purse: Purse,
    item: PlaceOrder,
    message_count: int,
    now_ns: int,
) -> Request:
    market, order_type, lots = holding.market, item.order_type, item.quantity_lots
    worst = None
    if order_type in ("LIMIT", "STOP_LIMIT"):
        hold_price = item.price_ticks
    else:
        worst = worst_price_ticks(market, item.side, order_type, item.stop_price_ticks)
        reference = market.mark_ticks if order_type == "MARKET" else item.stop_price_ticks
        hold_price = reference if worst is None else worst
    terms = holding.terms
    fee_bps = max(terms.maker_bps, terms.taker_bps, _NO_FEES)
    claim = claim_at(lots, hold_price or 0, terms.minor_per_tick_lot, fee_bps)
    return Request(
        desk,
        ledger,
        holding,
        purse,
        True,  # noqa: FBT003  positional, as it is the hottest object here
        item.side,
        order_type,
        item.price_ticks,
        item.stop_price_ticks,
        lots,
        item.display_quantity_lots,
        item.minimum_quantity_lots,
        item.expires_at_ns,
        lots,
        hold_price,
        worst,
        0,
        *claim,
        message_count,
        now_ns,
    )


def _enter(desk: Desk, key: str, item: PlaceOrder, request: Request, place: Place, outbox: Outbox) -> None:
    order_id, now_ns = place.id(), place.now_ns
    ledger, holding, terms = request.ledger, request.holding, request.holding.terms
    account, symbol = ledger.account, holding.market.instrument.symbol
    assert request.hold_price_ticks is not None, "the collar's check lets no order through without a price"
    desk.tables.orders[order_id] = OrderRow(
        account.account,
        item.client_order_id,
        symbol,
        item.side,
        item.order_type,
        item.time_in_force,
        "PENDING_NEW",
        item.quantity_lots,
        0,
        item.price_ticks,
        item.stop_price_ticks,
        request.hold_price_ticks,
        max(terms.maker_bps, terms.taker_bps, _NO_FEES),
        outcomes.digest_of(item),
        now_ns,
    )
    desk.names[key] = order_id
    ledger.open_orders += 1
    claim = (request.lots, request.cost_minor, request.fees_minor)
    move_claim(holding, request.purse, item.side, claim)
    revalue(desk, holding, request.purse)
    outbox.send(
        BOOK_COMMANDS,
        holding.market.book_partition,
        EnterOrder(
            order_id=order_id,
            account=account.account,
            client_order_id=item.client_order_id,
            instrument=symbol,
            side=item.side,
            order_type=item.order_type,
            time_in_force=item.time_in_force,
            quantity_lots=item.quantity_lots,
            price_ticks=item.price_ticks,
            stop_price_ticks=item.stop_price_ticks,
            display_quantity_lots=item.display_quantity_lots,
            minimum_quantity_lots=item.minimum_quantity_lots,
            post_only=item.post_only,
            expires_at_ns=item.expires_at_ns,
            self_trade_group=account.self_trade_group or account.account,
            self_trade_prevention=item.self_trade_prevention or account.self_trade_prevention,
            worst_price_ticks=request.worst_price_ticks,
            terms=terms,
            at_ns=now_ns,
        ),
    )


def _refuse(desk: Desk, key: str, item: PlaceOrder, place: Place, outbox: Outbox, reason: str) -> None:
    outcomes.row_of(desk, key, item, place, reason)
    desk.say(outbox, outcomes.refusal(item, reason, place.now_ns))


def _target(
    desk: Desk, item: CancelOrder | ReplaceOrder, place: Place, outbox: Outbox, key: str
) -> tuple[int, OrderRow] | None:
    """The open order that a new cancel or replace means; None where it was refused."""
    if outcomes.is_too_old(item, place.now_ns):
        desk.say(outbox, outcomes.refusal(item, "command_too_old", place.now_ns))
        return None
    order_id, reason = None, "unknown_account"
    if item.account in desk.ledgers:
        original = item.original_client_order_id
        row = desk.known(pair(item.account, original))
        order_id, order = _named(desk, row, original)
        if order is not None and order_id is not None:
            return order_id, order
        reason = "unknown_order" if order_id is None else "order_closed"
    else:
        _assert_own(desk, item.account)
    outcomes.row_of(desk, key, item, place, reason, (None,), NO_ORDER if order_id is None else order_id)
    desk.say(outbox, outcomes.refusal(item, reason, place.now_ns, (None,), order_id=order_id))
    return None


def _named(desk: Desk, row: CommandRow | None, name: str) -> tuple[int | None, OrderRow | None]:
    """The id and the row of the order that goes by a name, or will if a replace on its way succeeds.

    The row is None where the order is closed, the id too where the name never was or no longer is an order's.
    """
    if row is None or row.order_id == NO_ORDER or row.kind not in ("P", "R") or row.reason_code > 0:
        return None, None
    order = desk.tables.orders.get(row.order_id)
    if order is None or order.client_order_id == name or row.reason_code == PENDING:
        return row.order_id, order
    return None, None


def _replacing(
    desk: Desk,
    ledger: Ledger,
    holding: Holding,
    purse: Purse,
    order: OrderRow,
    item: ReplaceOrder,
    rise: Claim,
    message_count: int,
    now_ns: int,
) -> Request:
    price, lots = item.price_ticks, item.quantity_lots
    return Request(
        desk=desk,
        ledger=ledger,
        holding=holding,
        purse=purse,
        is_new=False,
        side=order.side,
        order_type=order.order_type,
        price_ticks=price,
        stop_price_ticks=order.stop_price_ticks,
        quantity_lots=lots,
        display_quantity_lots=None,
        minimum_quantity_lots=None,
        expires_at_ns=None,
        whole_lots=order.quantity_lots if lots is None else lots,
        hold_price_ticks=order.hold_price_ticks if price is None else price,
        worst_price_ticks=None,
        pending_count=len(order.pending),
        lots=rise[0],
        cost_minor=rise[1],
        fees_minor=rise[2],
        message_count=message_count,
        now_ns=now_ns,
    )


def _amendment(order_id: int, order: OrderRow, item: ReplaceOrder, now_ns: int) -> AmendOrder:
    return AmendOrder(
        order_id=order_id,
        account=item.account,
        client_order_id=item.client_order_id,
        original_client_order_id=item.original_client_order_id,
        instrument=order.instrument,
        price_ticks=item.price_ticks,
        quantity_lots=item.quantity_lots,
        at_ns=now_ns,
    )


def _assert_own(desk: Desk, account: str) -> None:
    owner = partition_of(account, desk.counts.accounts)
    assert owner == desk.partition, f"{account} belongs to partition {owner}: the writer took another one"
