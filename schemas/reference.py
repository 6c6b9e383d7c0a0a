"""Reference data: what can be traded, by whom, and within which bounds."""

from schemas.record import (
    AccountStatus,
    AccountType,
    InstrumentKind,
    Record,
    SelfTradePrevention,
    TradingState,
)


class Instrument(Record, frozen=True, gc=False, kw_only=True):
    """What can be traded, and on which grid of prices and quantities.

    Tick, lot, currency and multiplier never change for a symbol. A price of ``n`` ticks is
    ``n * tick_size_e9 / 10**9`` units of the currency; likewise lots. ``minor_per_tick_lot`` is
    tick x lot x multiplier in minor units of the currency, always a whole number.
    """

    symbol: str
    kind: InstrumentKind
    currency: str
    currency_exponent: int
    tick_size_e9: int
    lot_size_e9: int
    multiplier: int
    minor_per_tick_lot: int
    maximum_quantity_lots: int
    maximum_notional_minor: int
    collar_bps: int | None = None
    initial_margin_bps: int = 10_000
    settlement_days: int = 0
    session_end_minute_utc: int = 0
    fee_class: str = "default"
    trading_state: TradingState = "OPEN"


class FeeRate(Record, frozen=True, gc=False, kw_only=True):
    """Maker and taker fees of one fee class, in basis points of the notional; negative is a rebate."""

    fee_class: str
    maker_bps: int
    taker_bps: int


class Limits(Record, frozen=True, gc=False, kw_only=True):
    """Risk bounds of one account; ``None`` means unbounded.

    The message rate counts commands in a window of one second of engine time; the throttle on repeated
    orders counts orders of equal instrument, side, price and quantity in such a window. The position
    limit is per instrument, in lots.
    """

    maximum_order_quantity_lots: int | None = None
    maximum_order_notional_minor: int | None = None
    maximum_messages_per_second: int | None = None
    maximum_repeated_orders_per_second: int | None = None
    maximum_open_orders: int | None = None
    maximum_position_lots: int | None = None


class Account(Record, frozen=True, gc=False, kw_only=True):
    """Who trades, on which terms.

    ``permitted_instruments`` empty means all but the restricted ones; ``clients`` are the names whose
    ``orders.CLIENT`` topic may carry orders for the account.
    """

    account: str
    account_type: AccountType = "CASH"
    status: AccountStatus = "ACTIVE"
    self_trade_group: str | None = None
    self_trade_prevention: SelfTradePrevention = "CANCEL_NEWEST"
    fee_rates: tuple[FeeRate, ...] = ()
    limits: Limits = Limits()
    permitted_instruments: tuple[str, ...] = ()
    restricted_instruments: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
