"""What risk asks of matching, and matching of itself, on the inbox of the books.

Risk has checked and stamped these; matching need not know accounts, and drops repeats by origin.
"""

from schemas.record import InstrumentKind, OrderType, Record, SelfTradePrevention, Side, TimeInForce


class Terms(Record, frozen=True, gc=False, kw_only=True):
    """What an order's fills will be settled by, as it was when risk accepted the order; fills echo it."""

    kind: InstrumentKind
    currency: str
    minor_per_tick_lot: int
    maker_bps: int
    taker_bps: int
    settlement_days: int


class EnterOrder(Record, frozen=True, gc=False):
    """An order that risk let through; ``worst_price_ticks`` bounds a MARKET or STOP order's trades.

    It takes positions, too: for more than 15 keywords CPython makes a dict, and that makes it 1.2 us, not 0.15.
    """

    order_id: int
    account: str
    client_order_id: str
    instrument: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    price_ticks: int | None
    stop_price_ticks: int | None
    display_quantity_lots: int | None
    minimum_quantity_lots: int | None
    post_only: bool
    expires_at_ns: int | None
    self_trade_group: str
    self_trade_prevention: SelfTradePrevention
    worst_price_ticks: int | None
    terms: Terms
    at_ns: int


class AmendOrder(Record, frozen=True, gc=False, kw_only=True):
    """A replace that risk let through: new total quantity, new price; None leaves it."""

    order_id: int
    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str
    price_ticks: int | None
    quantity_lots: int | None
    at_ns: int


class RemoveOrder(Record, frozen=True, gc=False, kw_only=True):
    """A cancel of one order."""

    order_id: int
    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str
    at_ns: int


class RemoveOrders(Record, frozen=True, gc=False, kw_only=True):
    """A mass cancel or a kill. Filters are ANDed; ``account_partition`` is that of the risk that asks.

    At most ``maximums.ORDERS_PER_RECORD`` orders go in one record, in order-id order; then matching sends
    itself the same command with ``after_order_id`` and ``removed_count`` moved on. ``reason`` goes on each
    OrderCancelled. The last one answers with OrdersRemoved to ``account_partition``, which echoes
    ``sweep_id``: command ids are unique per account only.
    """

    command_id: str
    account_partition: int
    account: str | None
    instrument: str | None
    side: Side | None
    reason: str
    after_order_id: int = -1
    removed_count: int = 0
    at_ns: int = 0
    sweep_id: int = -1


class ContinueExpiry(Record, frozen=True, gc=False, kw_only=True):
    """Matching to itself: more orders are due at this tick than one record may hold."""

    tick_ns: int
    at_ns: int


class ContinueElections(Record, frozen=True, gc=False, kw_only=True):
    """Matching to itself: more stops of this instrument are elected than one record may run."""

    instrument: str
    at_ns: int
