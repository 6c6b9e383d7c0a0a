"""The checks of an order and of a replace, in the order that is part of the API: the first refusal counts.

Each check is a function of a Request that gives the reason for a refusal, or None. What is known of the id,
the account and the instrument comes before (``agents.rules.risk.orders``), since the checks need them.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from agents.rules.money import fits
from agents.rules.risk.desk import Desk, Holding, Ledger, Market, Purse
from agents.rules.risk.margin import off_by_minor, required_minor, value
from schemas.maximums import BASIS_POINTS, INT64_MAX, MESSAGE_RATE_WINDOW_NS, PENDING_REPLACES
from schemas.record import OrderType, Side
from schemas.reference import Account
from tables.risk import ALL, WindowRow, pair

_PRICED: Final = ("LIMIT", "STOP_LIMIT")
_STOPS: Final = ("STOP", "STOP_LIMIT")


class Request(msgspec.Struct, gc=False):
    """A new order, or a replace of one (``is_new`` False), with what it asks for beyond what is held already.

    ``price_ticks`` and ``quantity_lots`` are what is asked for, None where a replace leaves them;
    ``whole_lots`` and ``hold_price_ticks`` are what the order would then be (the price None where there is no
    mark); ``worst_price_ticks`` is the stamp of a MARKET or STOP order. ``lots``, ``cost_minor`` and
    ``fees_minor`` are the rise of its claim, never below zero.
    """

    desk: Desk
    ledger: Ledger
    holding: Holding
    purse: Purse
    is_new: bool
    side: Side
    order_type: OrderType
    price_ticks: int | None
    stop_price_ticks: int | None
    quantity_lots: int | None
    display_quantity_lots: int | None
    minimum_quantity_lots: int | None
    expires_at_ns: int | None
    whole_lots: int
    hold_price_ticks: int | None
    worst_price_ticks: int | None
    pending_count: int
    lots: int
    cost_minor: int
    fees_minor: int
    message_count: int
    now_ns: int


Check = Callable[[Request], str | None]


def first_refusal(request: Request) -> str | None:
    """Why a request is refused: the first check that says no; None lets it through."""
    for check in CHECKS:
        reason = check(request)
        if reason is not None:
            return reason
    return None


def not_killed(request: Request) -> str | None:
    """The kill switches: everyone's, the account's, the instrument's; one may let reducing orders pass."""
    kills = request.desk.tables.kills
    if not kills:
        return None
    account, symbol = request.holding.account, request.holding.market.instrument.symbol
    for key, reason in (
        (pair(ALL, ALL), "trading_killed"),
        (pair(account, ALL), "account_killed"),
        (pair(ALL, symbol), "instrument_killed"),
    ):
        kill = kills.get(key)
        if kill is not None and not (kill.allow_reducing and is_reducing(request)):
            return reason
    return None


def account_active(request: Request) -> str | None:
    """The account's status."""
    status = request.ledger.account.status
    if status == "ACTIVE":
        return None
    return "account_suspended" if status == "SUSPENDED" else "account_closed"


def permitted(request: Request) -> str | None:
    """The account's permitted and restricted instruments."""
    return request.holding.refusal


def in_session(request: Request) -> str | None:
    """The instrument's trading state, and the halts."""
    instrument, halts = request.holding.market.instrument, request.desk.tables.halts
    if instrument.trading_state == "CLOSED":
        return "session_closed"
    halted = halts and (ALL in halts or instrument.symbol in halts)
    return "instrument_halted" if halted or instrument.trading_state == "HALTED" else None


def on_grid(request: Request) -> str | None:
    """Prices and quantities are whole ticks and lots already: what is left is presence and sign."""
    price, stop = request.price_ticks, request.stop_price_ticks
    if request.order_type in _PRICED:
        if price is None and request.is_new:
            return "invalid_price"
    elif price is not None:
        return "price_not_allowed"
    if stop is None and request.is_new and request.order_type in _STOPS:
        return "invalid_price"
    if (price is not None and price <= 0) or (stop is not None and stop <= 0):
        return "invalid_price"
    return _quantities(request)


def within_quantity(request: Request) -> str | None:
    """The instrument's and the account's maximum quantity of an order."""
    lots = request.quantity_lots
    if lots is None:
        return None
    most = request.ledger.account.limits.maximum_order_quantity_lots
    if lots > request.holding.market.instrument.maximum_quantity_lots or (most is not None and lots > most):
        return "quantity_exceeds_maximum"
    return None


def within_notional(request: Request) -> str | None:
    """The instrument's and the account's maximum notional of an order, at its worst price."""
    price, instrument = request.hold_price_ticks, request.holding.market.instrument
    if price is None:
        return None  # the next check refuses it
    notional = price * request.whole_lots * instrument.minor_per_tick_lot
    most = request.ledger.account.limits.maximum_order_notional_minor
    if notional > instrument.maximum_notional_minor or (most is not None and notional > most):
        return "notional_exceeds_maximum" if fits(notional) else "arithmetic_overflow"
    return None


def within_collar(request: Request) -> str | None:
    """A limit price against the mark, a STOP_LIMIT's against its stop price; a price to stamp otherwise."""
    market, price = request.holding.market, request.price_ticks
    if request.order_type not in _PRICED:
        return _stamped(request) if request.is_new else None
    reference = market.mark_ticks if request.order_type == "LIMIT" else request.stop_price_ticks
    collar = market.instrument.collar_bps
    if price is None or reference is None or collar is None:
        return None
    if request.side == "BUY":
        outside = price * BASIS_POINTS > reference * (BASIS_POINTS + collar)
    else:
        outside = price * BASIS_POINTS < reference * (BASIS_POINTS - collar)
    return "price_outside_collar" if outside else None


def within_rate(request: Request) -> str | None:
    """The account's messages in this second, this one and cancels counted; unanswered replaces as well."""
    most = request.ledger.account.limits.maximum_messages_per_second
    over = most is not None and request.message_count > most
    return "message_rate_exceeded" if over or request.pending_count >= PENDING_REPLACES else None


def not_repeated(request: Request) -> str | None:
    """Orders of equal instrument, side, price and quantity in this second, those refused later counted."""
    most = request.ledger.account.limits.maximum_repeated_orders_per_second
    if most is None or not request.is_new:
        return None
    price = request.stop_price_ticks if request.price_ticks is None else request.price_ticks
    key = f"{request.holding.key} {request.side} {price} {request.quantity_lots}"
    count = _count_repeat(request.desk, key, request.now_ns)
    return "repeated_order_throttled" if count > most else None


def within_open_orders(request: Request) -> str | None:
    """The account's maximum of open orders."""
    most = request.ledger.account.limits.maximum_open_orders
    if request.is_new and most is not None and request.ledger.open_orders >= most:
        return "open_orders_exceed_maximum"
    return None


def within_position(request: Request) -> str | None:
    """|position + open buys| and |position - open sells|, both, with the order among them."""
    most = request.ledger.account.limits.maximum_position_lots
    if most is None or not request.lots:
        return None
    buys, sells = _open_lots(request)
    quantity = request.holding.quantity_lots
    over = abs(quantity + buys) > most or abs(quantity - sells) > most
    return "position_limit_exceeded" if over else None


def covered(request: Request) -> str | None:
    """Cash or margin for the rise of what the order claims; a claim that does not rise needs neither."""
    if not (request.lots or request.cost_minor or request.fees_minor):
        return None
    if _overflows(request):
        return "arithmetic_overflow"
    return _paid(request) if request.ledger.account.account_type == "CASH" else _margined(request)


def not_expired(request: Request) -> str | None:
    """An expiry already past at entry."""
    expiry = request.expires_at_ns
    return "expiry_in_the_past" if expiry is not None and expiry <= request.now_ns else None


CHECKS: Final[tuple[Check, ...]] = (
    not_killed,
    account_active,
    permitted,
    in_session,
    on_grid,
    within_quantity,
    within_notional,
    within_collar,
    within_rate,
    not_repeated,
    within_open_orders,
    within_position,
    covered,
    not_expired,
)


def is_reducing(request: Request) -> bool:
    """Opposite to the position, and with the account's open orders on its side not above |position|."""
    quantity = request.holding.quantity_lots
    buys, sells = _open_lots(request)
    return 0 < buys <= -quantity if request.side == "BUY" else 0 < sells <= quantity


def worst_price_ticks(
    market: Market, side: Side, order_type: OrderType, stop_price_ticks: int | None
) -> int | None:
    """The bound of a MARKET's or STOP's trades: mark or stop price, plus or minus the collar, inclusive.

    None where there is no reference, or no collar and so no bound; at most an int64, at least a tick.
    """
    reference = market.mark_ticks if order_type == "MARKET" else stop_price_ticks
    collar = market.instrument.collar_bps
    if reference is None or collar is None:
        return None
    if side == "BUY":
        return min(reference * (BASIS_POINTS + collar) // BASIS_POINTS, INT64_MAX)
    return max(-(-reference * (BASIS_POINTS - collar) // BASIS_POINTS), 1)


def count_message(desk: Desk, ledger: Ledger, now_ns: int) -> int:
    """Counts a message of an account with a message rate, and gives how many came in this second."""
    account: Account = ledger.account
    if account.limits.maximum_messages_per_second is None:
        return 0
    window = now_ns // MESSAGE_RATE_WINDOW_NS
    row = desk.tables.rates.get(account.account)
    count = row.count + 1 if row is not None and row.window == window else 1
    desk.tables.rates[account.account] = WindowRow(window, count)
    return count


def forget_repeats(desk: Desk, now_ns: int) -> None:
    """Drops the counts of seconds that are over."""
    window = now_ns // MESSAGE_RATE_WINDOW_NS
    for over in sorted(it for it in desk.windows if it < window):
        for key in desk.windows.pop(over):
            row = desk.tables.repeats.get(key)
            if row is not None and row.window == over:
                del desk.tables.repeats[key]


def _count_repeat(desk: Desk, key: str, now_ns: int) -> int:
    window = now_ns // MESSAGE_RATE_WINDOW_NS
    row = desk.tables.repeats.get(key)
    if row is not None and row.window == window:
        count = row.count + 1
    else:
        count = 1
        desk.windows.setdefault(window, []).append(key)
    desk.tables.repeats[key] = WindowRow(window, count)
    return count


def _quantities(request: Request) -> str | None:
    lots, shown, least = (
        request.quantity_lots,
        request.display_quantity_lots,
        request.minimum_quantity_lots,
    )
    if lots is None:
        return None
    wrong = (
        lots <= 0
        or (shown is not None and not 0 < shown <= lots)
        or (least is not None and not 0 <= least <= lots)
    )
    return "invalid_quantity" if wrong else None


def _stamped(request: Request) -> str | None:
    """A cash account's buy needs a bound to hold for; without a collar no bound can be said."""
    unbounded = request.worst_price_ticks is None
    needs_bound = request.side == "BUY" and request.ledger.account.account_type == "CASH"
    missing = request.hold_price_ticks is None or (unbounded and needs_bound)
    return "no_reference_price" if missing else None


def _open_lots(request: Request) -> tuple[int, int]:
    holding = request.holding
    if request.side == "BUY":
        return holding.buy_lots + request.lots, holding.sell_lots
    return holding.buy_lots, holding.sell_lots + request.lots


def _overflows(request: Request) -> bool:
    """Whether a sum that the order takes part in could leave an int64, were all open orders to fill."""
    holding, purse = request.holding, request.purse
    lots = abs(holding.quantity_lots) + holding.buy_lots + holding.sell_lots + request.lots
    rise = request.cost_minor + request.fees_minor
    cash = abs(purse.cash_minor) + purse.open_minor + rise
    cost = abs(holding.open_cost_minor) + holding.open_minor + request.cost_minor
    return not fits(max(lots, cash, cost))


def _paid(request: Request) -> str | None:
    holding, purse = request.holding, request.purse
    if request.side == "BUY":
        short = request.cost_minor + request.fees_minor > purse.cash_minor - purse.held_minor
        return "insufficient_cash" if short else None
    return "insufficient_holding" if request.lots > holding.quantity_lots - holding.sell_lots else None


def _margined(request: Request) -> str | None:
    """Equity against what is required afterwards; a reducing order passes in any case."""
    desk, holding, purse = request.desk, request.holding, request.purse
    buys, sells = _open_lots(request)
    open_minor, fees = holding.open_minor + request.cost_minor, holding.fees_minor + request.fees_minor
    required = required_minor(holding, buys, sells, open_minor, fees)
    off_by = off_by_minor(desk, purse)
    if off_by is not None:
        after = purse.required_minor - holding.required_minor + required + off_by
        if purse.cash_minor + purse.value_minor >= after <= INT64_MAX:
            return None  # whatever the marks have done meanwhile
    value(desk, purse)
    after = purse.required_minor - holding.required_minor + required
    equity = purse.cash_minor + purse.value_minor
    if equity >= after or is_reducing(request):
        return None if fits(after) else "arithmetic_overflow"
    return "reducing_orders_only" if equity < purse.required_minor else "insufficient_margin"
