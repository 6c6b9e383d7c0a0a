"""Events: what happened, past tense.

Every one names account, client order id, instrument and order id where it has them; quantities that stages
act on are absolute (cum, leaves), so that a repeat does no harm.
"""

from schemas.book_commands import Terms
from schemas.record import Liquidity, OrderType, Record, Side, TimeInForce


class OrderAccepted(Record, frozen=True, gc=False, kw_only=True):
    """FIX ExecutionReport, ExecType New. Said again (``possible_resend``) to a repeat of the command."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    price_ticks: int | None
    stop_price_ticks: int | None
    at_ns: int
    possible_resend: bool = False


class OrderRejected(Record, frozen=True, gc=False, kw_only=True):
    """ExecType Rejected: the order was never accepted. ``order_id`` is None where none was given."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int | None
    reason: str
    reason_code: int
    at_ns: int
    possible_resend: bool = False


class OrderFilled(Record, frozen=True, gc=False, kw_only=True):
    """ExecType Trade, one for each side of a trade."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    trade_id: int
    side: Side
    liquidity: Liquidity
    last_price_ticks: int
    last_quantity_lots: int
    cum_quantity_lots: int
    leaves_quantity_lots: int
    terms: Terms
    at_ns: int


class OrderReplaced(Record, frozen=True, gc=False, kw_only=True):
    """ExecType Replaced: the order goes by ``client_order_id`` from here on.

    A replaced quantity at or below what is filled gives OrderReplaced (leaves 0), then OrderCancelled.
    """

    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str
    order_id: int
    price_ticks: int | None
    quantity_lots: int
    cum_quantity_lots: int
    leaves_quantity_lots: int
    at_ns: int
    possible_resend: bool = False


class OrderReduced(Record, frozen=True, gc=False, kw_only=True):
    """Self-trade prevention (DECREMENT) took ``reduced_quantity_lots`` off what is left."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    reduced_quantity_lots: int
    cum_quantity_lots: int
    leaves_quantity_lots: int
    at_ns: int


class OrderCancelled(Record, frozen=True, gc=False, kw_only=True):
    """ExecType Canceled. ``command_id`` is the id of the command that did it, if one did."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    reason: str
    reason_code: int
    command_id: str | None
    cancelled_quantity_lots: int
    cum_quantity_lots: int
    at_ns: int
    possible_resend: bool = False


class OrderExpired(Record, frozen=True, gc=False, kw_only=True):
    """ExecType Expired, by a tick."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    cancelled_quantity_lots: int
    cum_quantity_lots: int
    at_ns: int


class OrderTriggered(Record, frozen=True, gc=False, kw_only=True):
    """ExecType Triggered: a stop was elected by a trade at ``trigger_price_ticks``."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    trigger_price_ticks: int
    at_ns: int


class CancelRejected(Record, frozen=True, gc=False, kw_only=True):
    """FIX OrderCancelReject to a cancel; the order is untouched."""

    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str | None
    order_id: int | None
    reason: str
    reason_code: int
    at_ns: int
    possible_resend: bool = False


class ReplaceRejected(Record, frozen=True, gc=False, kw_only=True):
    """FIX OrderCancelReject to a replace; the order is untouched."""

    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str | None
    order_id: int | None
    reason: str
    reason_code: int
    at_ns: int
    possible_resend: bool = False


class OrdersRemoved(Record, frozen=True, gc=False, kw_only=True):
    """One partition of the books has done its part of a sweep; ``sweep_id`` is that of RemoveOrders."""

    command_id: str
    book_partition: int
    removed_count: int
    at_ns: int
    sweep_id: int = -1


class MassCancelled(Record, frozen=True, gc=False, kw_only=True):
    """A mass cancel is done on every partition of the books; ``count`` orders were cancelled."""

    command_id: str
    account: str | None
    instrument: str | None
    side: Side | None
    count: int
    at_ns: int
    possible_resend: bool = False


class MarkChanged(Record, frozen=True, gc=False, kw_only=True):
    """Matching's mark price of an instrument, for every account partition."""

    instrument: str
    price_ticks: int
    at_ns: int


class SessionEnded(Record, frozen=True, gc=False, kw_only=True):
    """A session of an instrument ended at this mark, said to every account partition among its fills.

    ``session_end_ns`` is the end itself, ``at_ns`` the tick that reached it. Where a clock jumps over several,
    only the last is said; nothing is said of an instrument without a mark, since it never traded.
    """

    instrument: str
    mark_price_ticks: int
    session_end_ns: int
    at_ns: int


class CashDeposited(Record, frozen=True, gc=False, kw_only=True):
    """Risk let cash in; settlement posts it."""

    account: str
    command_id: str
    currency: str
    amount_minor: int
    at_ns: int
    possible_resend: bool = False


class CashWithdrawn(Record, frozen=True, gc=False, kw_only=True):
    """Risk let cash out; settlement posts it."""

    account: str
    command_id: str
    currency: str
    amount_minor: int
    at_ns: int
    possible_resend: bool = False


class CommandRefused(Record, frozen=True, gc=False, kw_only=True):
    """A command other than an order, a cancel or a replace was refused."""

    command_id: str
    account: str | None
    reason: str
    reason_code: int
    detail: str
    at_ns: int
    possible_resend: bool = False


class Trade(Record, frozen=True, gc=False, kw_only=True):
    """One trade, at the resting order's price (trades topic, flat)."""

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


class LevelChanged(Record, frozen=True, gc=False, kw_only=True):
    """A price level's displayed quantity and number of orders after a command; zero: the level is gone."""

    instrument: str
    side: Side
    price_ticks: int
    quantity_lots: int
    order_count: int
    at_ns: int
