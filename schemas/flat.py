"""Flat records: what a database keeps, one row each; made of the envelopes by the projection.

``epoch`` goes with every id that leaves the engine (design, rule 12). A row of what happened is written once.
Where it has no id of its own it is named by its source: ``origin`` (the stage, its partition and the topic,
"matching-3/account-events"; of an edge "edge/account-events"), ``partition`` of the topic, ``sequence`` (the
origin's number there; the offset of an edge's record) and ``item`` in the record's list, so that what a stage says
again has the same key. A row of state is
replaced by one of a higher ``version``. What has no value for an event is None; ``schemas.sinks`` has the keys.
"""

from schemas.record import Liquidity, OrderType, Record, SelfTradePrevention, Side, TimeInForce


class FlatOrderEvent(Record, frozen=True, gc=False, kw_only=True):
    """What an account was told: its orders, its other commands, its cash. ``event`` is the event's type.

    And what it asked: ``PlaceOrder`` has an order's whole terms, which the answers to it do not repeat. Its
    ``order_id`` is the one that the order gets, if it is the first with its id.
    """

    epoch: int
    origin: str
    partition: int
    sequence: int
    item: int
    event: str
    at_ns: int
    account: str | None = None
    client_order_id: str | None = None
    original_client_order_id: str | None = None
    command_id: str | None = None
    instrument: str | None = None
    order_id: int | None = None
    trade_id: int | None = None
    side: Side | None = None
    order_type: OrderType | None = None
    time_in_force: TimeInForce | None = None
    liquidity: Liquidity | None = None
    price_ticks: int | None = None
    stop_price_ticks: int | None = None
    trigger_price_ticks: int | None = None
    last_price_ticks: int | None = None
    last_quantity_lots: int | None = None
    quantity_lots: int | None = None
    cum_quantity_lots: int | None = None
    leaves_quantity_lots: int | None = None
    reduced_quantity_lots: int | None = None
    cancelled_quantity_lots: int | None = None
    currency: str | None = None
    amount_minor: int | None = None
    order_count: int | None = None
    reason: str | None = None
    reason_code: int | None = None
    detail: str | None = None
    possible_resend: bool = False
    display_quantity_lots: int | None = None
    minimum_quantity_lots: int | None = None
    post_only: bool | None = None
    expires_at_ns: int | None = None
    self_trade_prevention: SelfTradePrevention | None = None


class FlatOrderState(Record, frozen=True, gc=False, kw_only=True):
    """An accepted order after an event; ``state`` is FIX 39 (``tables.lifecycle``), ``version`` the event's place.

    An order that was never accepted has no state: its refusal is an order event. ``reason`` is why it ended,
    where matching gave one.
    """

    epoch: int
    order_id: int
    version: int
    account: str
    client_order_id: str
    instrument: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    state: str
    price_ticks: int | None
    stop_price_ticks: int | None
    quantity_lots: int
    cum_quantity_lots: int
    leaves_quantity_lots: int
    reason: str | None
    accepted_at_ns: int
    at_ns: int


class FlatTrade(Record, frozen=True, gc=False, kw_only=True):
    """One trade, at the resting order's price."""

    epoch: int
    trade_id: int
    instrument: str
    price_ticks: int
    quantity_lots: int
    aggressor_side: Side
    maker_order_id: int
    maker_client_order_id: str
    maker_account: str
    taker_order_id: int
    taker_client_order_id: str
    taker_account: str
    at_ns: int


class FlatPosition(Record, frozen=True, gc=False, kw_only=True):
    """A holding: lots (short is negative) and its open cost in minor units, same sign."""

    epoch: int
    account: str
    instrument: str
    version: int
    currency: str
    quantity_lots: int
    open_cost_minor: int
    realised_profit_minor: int
    at_ns: int


class FlatBalance(Record, frozen=True, gc=False, kw_only=True):
    """Cash of an account in one currency; ``unsettled_minor`` waits for its date."""

    epoch: int
    account: str
    currency: str
    version: int
    cash_minor: int
    unsettled_minor: int
    at_ns: int


class FlatPosting(Record, frozen=True, gc=False, kw_only=True):
    """One transfer of the ledger: ``amount_minor`` (more than zero) from debit to credit."""

    epoch: int
    posting_id: int
    kind: str
    debit_account: str
    credit_account: str
    currency: str
    amount_minor: int
    source_id: str
    at_ns: int


class FlatSettlement(Record, frozen=True, gc=False, kw_only=True):
    """What settlement did beside its postings: TradeConfirmed, ObligationCreated, CashReleased, VariationSettled."""

    epoch: int
    origin: str
    partition: int
    sequence: int
    item: int
    event: str
    at_ns: int
    account: str
    currency: str
    instrument: str | None = None
    trade_id: int | None = None
    order_id: int | None = None
    client_order_id: str | None = None
    side: Side | None = None
    liquidity: Liquidity | None = None
    price_ticks: int | None = None
    quantity_lots: int | None = None
    notional_minor: int | None = None
    fee_minor: int | None = None
    realised_profit_minor: int | None = None
    settlement_day: int | None = None
    receive_quantity_lots: int | None = None
    deliver_quantity_lots: int | None = None
    receive_minor: int | None = None
    deliver_minor: int | None = None
    amount_minor: int | None = None
    mark_price_ticks: int | None = None
    session_end_ns: int | None = None


class FlatRiskEvent(Record, frozen=True, gc=False, kw_only=True):
    """What those who watch are told: margin, halts, kills, and control's answers to operators."""

    epoch: int
    origin: str
    partition: int
    sequence: int
    item: int
    event: str
    at_ns: int
    account: str | None = None
    instrument: str | None = None
    side: str | None = None
    currency: str | None = None
    equity_minor: int | None = None
    required_minor: int | None = None
    allow_reducing: bool | None = None
    rules_version: int | None = None
    command_id: str | None = None
    command: str | None = None
    reason: str | None = None
    reason_code: int | None = None
    detail: str | None = None
    possible_resend: bool = False


class FlatMarketData(Record, frozen=True, gc=False, kw_only=True):
    """A change of a book's level (LevelChanged), a mark (MarkChanged), or a session's last one (SessionEnded)."""

    epoch: int
    origin: str
    partition: int
    sequence: int
    item: int
    event: str
    at_ns: int
    instrument: str
    price_ticks: int
    side: Side | None = None
    quantity_lots: int | None = None
    order_count: int | None = None


class FlatReference(Record, frozen=True, gc=False, kw_only=True):
    """A definition in force: of ``kind`` INSTRUMENT, ACCOUNT or LIMITS (an account's), by its name.

    ``definition`` is the whole of it as JSON, in the engine's integers; the columns are what units are made
    of, and stand for instruments alone. ``version`` is the place at which it was said.
    """

    epoch: int
    kind: str
    name: str
    version: int
    definition: str
    currency: str | None
    currency_exponent: int | None
    tick_size_e9: int | None
    lot_size_e9: int | None
    minor_per_tick_lot: int | None
    at_ns: int


class FlatDeadLetter(Record, frozen=True, gc=False, kw_only=True):
    """What came from outside and could not be read: its place, why, and its bytes."""

    epoch: int
    source_topic: str
    source_partition: int
    source_offset: int
    reason: str
    reason_code: int
    detail: str
    source_key: bytes | None
    source_value: bytes | None
    at_ns: int
