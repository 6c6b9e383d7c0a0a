"""The form of an account's command: what can be said of it with no state at all.

Every edge asks here before a command enters ``account-commands``. What a decoder gives is typed but not
checked (open sets are strings on the wire), so nothing is taken for granted. Reasons are 4 to 17 of
``schemas.reasons``; the first fault found is the one named.
"""

import re
from itertools import product
from typing import Any, Final, assert_never, get_args

from schemas.book_commands import AmendOrder, EnterOrder, RemoveOrder
from schemas.commands import (
    AccountCommand,
    CancelOrder,
    CashCommand,
    Deposit,
    MassCancel,
    PlaceOrder,
    ReplaceOrder,
    Withdraw,
)
from schemas.maximums import IDENTIFIER_LENGTH, INT64_MAX
from schemas.record import OrderType, SelfTradePrevention, Side, TimeInForce

Refusal = tuple[str, str]
"""A reason of ``schemas.reasons`` and a detail that names the field and the fault."""

AnyOrder = PlaceOrder | EnterOrder
AnyChange = CancelOrder | ReplaceOrder | RemoveOrder | AmendOrder
"""Where there is no risk, these are checked in the form in which they go to matching."""

# FIX's String without SOH, and without spaces: it must pass FIX, Kafka keys, Postgres and a shell unharmed.
is_identifier: Final = re.compile(rf"[!-~]{{1,{IDENTIFIER_LENGTH}}}").fullmatch

# The same of three at once, which holds no space itself: one match for each order instead of three.
_are_three: Final = re.compile(
    rf"[!-~]{{1,{IDENTIFIER_LENGTH}}}(?: [!-~]{{1,{IDENTIFIER_LENGTH}}}){{2}}"
).fullmatch

SIDES: Final = frozenset(get_args(Side))
ORDER_TYPES: Final = frozenset(get_args(OrderType))
TIMES_IN_FORCE: Final = frozenset(get_args(TimeInForce))
SELF_TRADE_PREVENTIONS: Final = frozenset(get_args(SelfTradePrevention))

_WORDS: Final = frozenset(product(SIDES, ORDER_TYPES, TIMES_IN_FORCE, {*SELF_TRADE_PREVENTIONS, None}))
_CANCELS: Final = (CancelOrder, RemoveOrder)
_PRICED: Final = frozenset({"LIMIT", "STOP_LIMIT"})
_STOPS: Final = frozenset({"STOP", "STOP_LIMIT"})
_IMMEDIATE: Final = frozenset({"IOC", "FOK"})


def refusal(command: AccountCommand) -> Refusal | None:
    """Why a command is refused for its form alone, or None where nothing is wrong with it."""
    match command:
        case PlaceOrder():
            return order_refusal(command)
        case CancelOrder() | ReplaceOrder():
            return change_refusal(command)
        case MassCancel():
            return _mass_cancel(command)
        case Deposit() | Withdraw():
            return _cash(command)
        case _:
            assert_never(command)


def change_refusal(command: AnyChange) -> Refusal | None:
    """Why a cancel or a replace is refused for its form alone."""
    if not _are_three(f"{command.account} {command.client_order_id} {command.original_client_order_id}"):
        return _identifiers(command, "account", "client_order_id", "original_client_order_id")
    if isinstance(command, _CANCELS):
        return None
    price, quantity = command.price_ticks, command.quantity_lots
    if price is None and quantity is None:
        return "nothing_to_replace", "a replace needs a new price or a new quantity"
    if price is not None and not 0 < price <= INT64_MAX:
        return not_in_range("price_ticks", price)
    if quantity is not None and not 0 < quantity <= INT64_MAX:
        return not_in_range("quantity_lots", quantity)
    return None


def not_identifier(name: str, value: object) -> Refusal:
    """The refusal of an identifier."""
    return (
        "invalid_identifier",
        f"{name} {value!r} is not 1 to {IDENTIFIER_LENGTH} printable ASCII characters without spaces",
    )


def not_one_of(name: str, value: object, allowed: frozenset[str]) -> Refusal:
    """The refusal of a word that is not in its list."""
    return "unknown_value", f"{name} {value!r} is not one of {', '.join(sorted(allowed))}"


def not_in_range(name: str, value: object, least: int = 1, most: int = INT64_MAX) -> Refusal:
    """The refusal of a number."""
    return "number_out_of_range", f"{name} {value} is not from {least} to {most}"


def order_refusal(order: AnyOrder) -> Refusal | None:
    """Why a new order is refused for its form alone."""
    if not _are_three(f"{order.account} {order.client_order_id} {order.instrument}"):
        return _identifiers(order, "account", "client_order_id", "instrument")
    return terms_refusal(order)


def terms_refusal(order: AnyOrder) -> Refusal | None:
    """The same of an order whose identifiers are known to be good."""
    if (order.side, order.order_type, order.time_in_force, order.self_trade_prevention) not in _WORDS:
        return _words(order)
    return None if _is_plain(order) else _prices(order) or _quantities(order) or _time(order)


def _is_plain(order: AnyOrder) -> bool:
    """Whether an order is a mere limit order in range, as most are: what follows would find nothing."""
    return (
        order.order_type == "LIMIT"
        and order.stop_price_ticks is None
        and order.display_quantity_lots is None
        and order.minimum_quantity_lots is None
        and order.expires_at_ns is None
        and order.time_in_force != "GTD"
        and not order.post_only
        and 0 < (order.price_ticks or 0) <= INT64_MAX
        and 0 < order.quantity_lots <= INT64_MAX
    )


def _words(order: AnyOrder) -> Refusal:
    if order.side not in SIDES:
        return not_one_of("side", order.side, SIDES)
    if order.order_type not in ORDER_TYPES:
        return not_one_of("order_type", order.order_type, ORDER_TYPES)
    if order.time_in_force not in TIMES_IN_FORCE:
        return not_one_of("time_in_force", order.time_in_force, TIMES_IN_FORCE)
    return not_one_of("self_trade_prevention", order.self_trade_prevention, SELF_TRADE_PREVENTIONS)


def _prices(order: AnyOrder) -> Refusal | None:  # noqa: PLR0911  (one for each fault)
    kind, price, stop = order.order_type, order.price_ticks, order.stop_price_ticks
    if price is None:
        if kind in _PRICED:
            return "price_required", f"a {kind} order needs a price"
    elif kind not in _PRICED:
        return "price_not_allowed", f"a {kind} order has no price"
    elif not 0 < price <= INT64_MAX:
        return not_in_range("price_ticks", price)
    if stop is None:
        if kind in _STOPS:
            return "stop_price_required", f"a {kind} order needs a stop price"
    elif kind not in _STOPS:
        return "stop_price_not_allowed", f"a {kind} order has no stop price"
    elif not 0 < stop <= INT64_MAX:
        return not_in_range("stop_price_ticks", stop)
    return None


def _quantities(order: AnyOrder) -> Refusal | None:  # noqa: PLR0911  (one for each fault)
    quantity = order.quantity_lots
    if not 0 < quantity <= INT64_MAX:
        return not_in_range("quantity_lots", quantity)
    display, minimum = order.display_quantity_lots, order.minimum_quantity_lots
    if display is not None:
        if order.order_type != "LIMIT":
            return "display_quantity_not_allowed", f"a {order.order_type} order cannot be an iceberg"
        if display < 1:
            return not_in_range("display_quantity_lots", display)
        if display > quantity:
            return "display_quantity_exceeds_quantity", f"display {display} lots of only {quantity}"
    if minimum is not None:
        if minimum < 1:
            return not_in_range("minimum_quantity_lots", minimum)
        if minimum > quantity:
            return "minimum_quantity_exceeds_quantity", f"at least {minimum} lots of only {quantity}"
    return None


def _time(order: AnyOrder) -> Refusal | None:
    kind, force, expires = order.order_type, order.time_in_force, order.expires_at_ns
    if order.post_only and (force in _IMMEDIATE or kind not in _PRICED):
        # A STOP is a MARKET order once it is elected.
        return "post_only_not_allowed", f"a {kind} {force} order cannot wait, so it cannot be post-only"
    if force != "GTD":
        if expires is not None:
            return "expiry_not_allowed", f"expires_at is for GTD, not for {force}"
    elif kind == "MARKET":
        return "expiry_not_allowed", "a MARKET order never rests: use IOC or FOK"
    elif expires is None:
        return "expiry_required", "a GTD order needs expires_at"
    elif not 0 < expires <= INT64_MAX:
        return not_in_range("expires_at_ns", expires)
    return None


def _mass_cancel(command: MassCancel) -> Refusal | None:
    if fault := _identifiers(command, "account", "command_id"):
        return fault
    if command.instrument is not None and not is_identifier(command.instrument):
        return not_identifier("instrument", command.instrument)
    if command.side is not None and command.side not in SIDES:
        return not_one_of("side", command.side, SIDES)
    return None


def _cash(command: CashCommand) -> Refusal | None:
    """An amount that is not above zero is for risk to refuse: it can be remembered."""
    if fault := _identifiers(command, "account", "command_id", "currency"):
        return fault
    amount = command.amount_minor
    return None if -INT64_MAX <= amount <= INT64_MAX else not_in_range("amount_minor", amount)


def _identifiers(command: Any, *names: str) -> Refusal | None:
    for name in names:
        value = getattr(command, name)
        if value is None or not is_identifier(value):  # None: a client's mass cancel without its account
            return not_identifier(name, value)
    return None
