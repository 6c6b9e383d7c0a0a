"""Commands: what a client, an operator, a feed or the clock asks for; imperative, each with its own id.

``client_order_id`` (orders) or ``command_id`` (everything else) names the command: a repeat with the same
content gets the first outcome again. ``at_ns`` is the time the edge stamped (UTC, nanoseconds), once.
``client`` is stamped by intake too, whatever it was: whose own topic the command came by; None: a trusted way.
"""

from schemas.record import OrderType, Record, SelfTradePrevention, Side, TimeInForce
from schemas.reference import Account, Instrument, Limits


class PlaceOrder(Record, frozen=True, gc=False, kw_only=True):
    """FIX NewOrderSingle (D). Prices in ticks, quantities in lots; self-trade mode None: the account's."""

    account: str
    client_order_id: str
    instrument: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    quantity_lots: int
    price_ticks: int | None = None
    stop_price_ticks: int | None = None
    display_quantity_lots: int | None = None
    minimum_quantity_lots: int | None = None
    post_only: bool = False
    expires_at_ns: int | None = None
    self_trade_prevention: SelfTradePrevention | None = None
    at_ns: int = 0
    client: str | None = None


class CancelOrder(Record, frozen=True, gc=False, kw_only=True):
    """FIX OrderCancelRequest (F): ``client_order_id`` is this command's own id (FIX 11)."""

    account: str
    client_order_id: str
    original_client_order_id: str
    at_ns: int = 0
    client: str | None = None


class ReplaceOrder(Record, frozen=True, gc=False, kw_only=True):
    """FIX OrderCancelReplaceRequest (G): new total quantity and new price; None leaves it as it is."""

    account: str
    client_order_id: str
    original_client_order_id: str
    price_ticks: int | None = None
    quantity_lots: int | None = None
    at_ns: int = 0
    client: str | None = None


class MassCancel(Record, frozen=True, gc=False, kw_only=True):
    """FIX OrderMassCancelRequest (q); the filters are ANDed. Without account: an operator's, by control."""

    command_id: str
    account: str | None = None
    instrument: str | None = None
    side: Side | None = None
    at_ns: int = 0
    client: str | None = None


class Deposit(Record, frozen=True, gc=False, kw_only=True):
    """Cash comes in, in minor units of the currency, more than zero."""

    account: str
    command_id: str
    currency: str
    amount_minor: int
    at_ns: int = 0


class Withdraw(Record, frozen=True, gc=False, kw_only=True):
    """Cash goes out, if it is free to."""

    account: str
    command_id: str
    currency: str
    amount_minor: int
    at_ns: int = 0


class DefineInstrument(Record, frozen=True, gc=False, kw_only=True):
    """Adds an instrument or changes what of it may change."""

    command_id: str
    instrument: Instrument
    at_ns: int = 0


class DefineAccount(Record, frozen=True, gc=False, kw_only=True):
    """Adds an account or changes it."""

    command_id: str
    account: Account
    at_ns: int = 0


class SetLimits(Record, frozen=True, gc=False, kw_only=True):
    """Replaces an account's limits, intraday."""

    command_id: str
    account: str
    limits: Limits
    at_ns: int = 0


class SetMark(Record, frozen=True, gc=False, kw_only=True):
    """Sets the mark price of an instrument."""

    command_id: str
    instrument: str
    price_ticks: int
    at_ns: int = 0


class Halt(Record, frozen=True, gc=False, kw_only=True):
    """Halts trading in an instrument, or in all: new orders and replaces are refused, cancels work."""

    command_id: str
    instrument: str | None = None
    at_ns: int = 0


class Kill(Record, frozen=True, gc=False, kw_only=True):
    """Cancels working orders and refuses new ones: of an account, of an instrument, or (both None) of all."""

    command_id: str
    account: str | None = None
    instrument: str | None = None
    allow_reducing: bool = False
    at_ns: int = 0


class Resume(Record, frozen=True, gc=False, kw_only=True):
    """Lifts the halts and kills that name exactly this account, this instrument, or (both None) all."""

    command_id: str
    account: str | None = None
    instrument: str | None = None
    at_ns: int = 0


class Tick(Record, frozen=True, gc=False, kw_only=True):
    """The clock: ``tick_ns`` is a whole multiple of the interval; one not after the last is ignored."""

    tick_ns: int
    at_ns: int = 0


class ActivateRules(Record, frozen=True, gc=False, kw_only=True):
    """Switches every stage to a version of the rules, at this place in its inbox."""

    command_id: str
    version: int
    at_ns: int = 0


ClientCommand = PlaceOrder | CancelOrder | ReplaceOrder | MassCancel
CashCommand = Deposit | Withdraw
AccountCommand = ClientCommand | CashCommand
ControlCommand = (
    DefineInstrument
    | DefineAccount
    | SetLimits
    | SetMark
    | Halt
    | Kill
    | Resume
    | MassCancel
    | Tick
    | ActivateRules
)
