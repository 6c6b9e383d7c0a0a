"""The checks: each reason, and their order, which is part of the API."""

from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import pytest

from agents.rules.risk import HANDLERS
from agents.rules.risk.checks import CHECKS
from schemas.control_events import KillActivated, TradingHalted, TradingResumed
from schemas.envelopes import AccountCommandItem
from schemas.events import OrderRejected, ReplaceRejected
from schemas.maximums import INT64_MAX, NANOSECONDS_PER_DAY, PENDING_REPLACES
from schemas.reasons import CODES
from schemas.record import Record
from schemas.reference import Limits
from schemas.topics import ACCOUNT_EVENTS, BOOK_COMMANDS
from tests.unit.agents.rules.risk_world import FEES, START_NS, World


class Fault(msgspec.Struct, frozen=True):
    """What makes an order fail one check: something of the order, the account, its limits, or an event."""

    reason: str
    order: dict[str, Any] = {}
    account: dict[str, Any] = {}
    limits: dict[str, int] = {}
    event: Record | None = None


def kill(account: str | None = None, instrument: str | None = None) -> Record:
    """A kill switch."""
    return KillActivated(
        command_id="k", account=account, instrument=instrument, allow_reducing=False, at_ns=0
    )


def halt(instrument: str | None = None) -> Record:
    """A halt."""
    return TradingHalted(instrument=instrument, at_ns=0)


FAULTS = (
    Fault("command_too_old", order={"at_ns": START_NS - NANOSECONDS_PER_DAY - 1}),
    Fault("unknown_account", order={"account": "nobody"}),
    Fault("unknown_instrument", order={"instrument": "NOTHING"}),
    Fault("trading_killed", event=kill()),
    Fault("account_killed", event=kill("a")),
    Fault("instrument_killed", event=kill(instrument="XYZ")),
    Fault("account_suspended", account={"status": "SUSPENDED"}),
    Fault("instrument_not_permitted", account={"permitted_instruments": ("ABC",)}),
    Fault("instrument_restricted", account={"restricted_instruments": ("XYZ",)}),
    Fault("instrument_halted", event=halt("XYZ")),
    Fault("invalid_price", order={"stop_price_ticks": -1}),
    Fault("invalid_quantity", order={"display_quantity_lots": 0}),
    Fault("quantity_exceeds_maximum", limits={"maximum_order_quantity_lots": 1}),
    Fault("notional_exceeds_maximum", limits={"maximum_order_notional_minor": 1}),
    Fault("price_outside_collar", order={"price_ticks": 111}),
    Fault("message_rate_exceeded", limits={"maximum_messages_per_second": 0}),
    Fault("repeated_order_throttled", limits={"maximum_repeated_orders_per_second": 0}),
    Fault("open_orders_exceed_maximum", limits={"maximum_open_orders": 0}),
    Fault("position_limit_exceeded", limits={"maximum_position_lots": 1}),
    Fault("insufficient_cash", order={"quantity_lots": 500}),
    Fault("expiry_in_the_past", order={"time_in_force": "GTD", "expires_at_ns": START_NS}),
)


def lay(world: World, faults: Sequence[Fault]) -> dict[str, Any]:
    """Makes a world in which an order has all these faults; gives the order's fields."""
    order: dict[str, Any] = {"quantity_lots": 2}
    account: dict[str, Any] = {}
    limits: dict[str, int] = {}
    for fault in faults:
        order |= fault.order
        account |= fault.account
        limits |= fault.limits
        if fault.event is not None:
            world.tell(fault.event)
    world.define_account(**account, limits=Limits(**limits))
    return order


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[fault.reason for fault in FAULTS])
def test_the_first_fault_counts(first: int) -> None:
    """An order that fails every check from the i-th on is refused for the i-th: the order is API."""
    world = World(cash=10_000)
    order = lay(world, FAULTS[first:])
    (refusal,) = world.place(**order)
    assert isinstance(refusal, OrderRejected)
    reason = FAULTS[first].reason
    assert (refusal.reason, refusal.reason_code, refusal.order_id) == (reason, CODES[reason], None)
    assert world.held == 0


def test_a_known_id_is_checked_before_all_else() -> None:
    """An id used with other content is refused as that, whatever else is wrong."""
    world = World(cash=10_000)
    world.place()
    order = lay(world, FAULTS[2:])
    assert world.place(**order)[-1].reason == "client_order_id_already_used"


def test_an_order_without_fault_passes() -> None:
    """The order on which the faults are laid has none of its own."""
    world = World(cash=10_000)
    world.place(quantity_lots=2)
    assert "1" in world.entered


def test_every_item_of_the_inbox_has_a_handler() -> None:
    """Whatever stands in account-commands is handled, and nothing else is."""
    assert set(HANDLERS) == set(get_args(AccountCommandItem))


def test_codes_rise_in_the_order_of_the_checks() -> None:
    """The numbers of the reasons follow the order in which the checks are made."""
    numbers = [CODES[fault.reason] for fault in FAULTS]
    assert numbers == sorted(numbers)
    assert len(CHECKS) == 14


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"price_ticks": 0}, "invalid_price"),
        ({"price_ticks": -5}, "invalid_price"),
        ({"price_ticks": None}, "invalid_price"),
        ({"order_type": "STOP_LIMIT", "stop_price_ticks": None}, "invalid_price"),
        ({"order_type": "STOP", "stop_price_ticks": 0}, "invalid_price"),
        ({"order_type": "MARKET", "price_ticks": 100}, "price_not_allowed"),
        ({"quantity_lots": 0}, "invalid_quantity"),
        ({"quantity_lots": -1}, "invalid_quantity"),
        ({"quantity_lots": 2, "display_quantity_lots": 3}, "invalid_quantity"),
        ({"quantity_lots": 2, "minimum_quantity_lots": 3}, "invalid_quantity"),
        ({"quantity_lots": 2, "minimum_quantity_lots": -1}, "invalid_quantity"),
        ({"quantity_lots": 1_001}, "quantity_exceeds_maximum"),
        ({"quantity_lots": 1_000, "price_ticks": 100}, None),
        ({"quantity_lots": 1_000, "price_ticks": 101}, "notional_exceeds_maximum"),
        ({"quantity_lots": 1_000, "price_ticks": INT64_MAX}, "arithmetic_overflow"),
        ({"price_ticks": 110}, None),
        ({"price_ticks": 111}, "price_outside_collar"),
        ({"side": "SELL", "price_ticks": 90}, "insufficient_holding"),
        ({"side": "SELL", "price_ticks": 89}, "price_outside_collar"),
        ({"order_type": "STOP_LIMIT", "stop_price_ticks": 200, "price_ticks": 220}, None),
        ({"order_type": "STOP_LIMIT", "stop_price_ticks": 200, "price_ticks": 221}, "price_outside_collar"),
        ({"time_in_force": "GTD", "expires_at_ns": START_NS + 1}, None),
        ({"time_in_force": "GTD", "expires_at_ns": START_NS}, "expiry_in_the_past"),
    ],
)
def test_forms_and_bounds(fields: dict[str, Any], reason: str | None) -> None:
    """Bounds are inclusive: what is on them passes, what is one beyond is refused."""
    world = World(cash=10**7)
    world.place(**({"quantity_lots": 1} | fields))
    assert world.reason() == reason


@pytest.mark.parametrize(
    ("status", "reason"), [("SUSPENDED", "account_suspended"), ("CLOSED", "account_closed")]
)
def test_an_account_that_is_not_active_places_and_replaces_nothing(status: str, reason: str) -> None:
    """Orders and replaces are refused, cancels pass."""
    world = World(cash=10_000)
    world.work("1")
    world.define_account(status=status)
    world.place("2")
    assert world.reason() == reason
    world.replace("1", lots=2)
    assert world.reason() == reason
    assert [type(it).__name__ for it in world.cancel("1")] == ["RemoveOrder"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"trading_state": "HALTED"}, "instrument_halted"), ({"trading_state": "CLOSED"}, "session_closed")],
)
def test_the_trading_state_of_an_instrument(changes: dict[str, Any], reason: str) -> None:
    """An instrument that is halted or closed takes no orders and no replaces, but cancels."""
    world = World(cash=10_000)
    world.work("1")
    world.define_instrument(**changes)
    world.place("2")
    assert world.reason() == reason
    world.replace("1", lots=2)
    assert world.reason() == reason
    assert world.cancel("1")


def test_halts_and_their_end() -> None:
    """A halt of one or of all refuses, and only the resumption of exactly its scope lifts it."""
    world = World(cash=10_000)
    world.tell(halt())
    world.tell(halt("XYZ"))
    world.place("1")
    assert world.reason() == "instrument_halted"
    world.tell(TradingResumed(instrument="XYZ", at_ns=0))
    world.place("2")
    assert world.reason() == "instrument_halted"
    world.tell(TradingResumed(instrument=None, at_ns=0))
    world.place("3")
    assert world.reason() is None


@pytest.mark.parametrize(
    ("order", "worst"),
    [
        ({"order_type": "MARKET", "side": "BUY"}, 110),
        ({"order_type": "MARKET", "side": "SELL"}, 90),
        ({"order_type": "STOP", "side": "BUY", "stop_price_ticks": 115}, 126),
        ({"order_type": "STOP", "side": "SELL", "stop_price_ticks": 85}, 77),
        ({"order_type": "LIMIT", "side": "BUY"}, None),
        ({"order_type": "STOP_LIMIT", "side": "BUY", "stop_price_ticks": 105}, None),
    ],
)
def test_the_stamp_of_a_worst_price(order: dict[str, Any], worst: int | None) -> None:
    """MARKET: mark, STOP: its stop price, plus or minus the collar, inclusive and on whole ticks."""
    world = World(account_type="MARGIN", cash=10_000)
    world.place(**order)
    assert world.entered["1"].worst_price_ticks == worst


@pytest.mark.parametrize(
    ("account_type", "mark", "collar", "order", "reason"),
    [
        ("MARGIN", None, 1_000, {"order_type": "MARKET"}, "no_reference_price"),
        ("MARGIN", None, 1_000, {"order_type": "STOP", "stop_price_ticks": 100}, None),
        ("MARGIN", None, 1_000, {"price_ticks": 900}, None),
        ("MARGIN", 100, None, {"price_ticks": 900}, None),
        ("MARGIN", 100, None, {"order_type": "MARKET"}, None),
        ("CASH", 100, None, {"order_type": "MARKET"}, "no_reference_price"),
        ("CASH", 100, None, {"order_type": "MARKET", "side": "SELL"}, "insufficient_holding"),
        ("CASH", None, 1_000, {"order_type": "STOP", "stop_price_ticks": 100}, None),
    ],
)
def test_without_a_reference(
    account_type: str, mark: int | None, collar: int | None, order: dict[str, Any], reason: str | None
) -> None:
    """No mark: no MARKET, and no check on a LIMIT. No collar: no bound, so no buy to hold cash for."""
    world = World(account_type=account_type, cash=10**6, mark=mark, collar_bps=collar)
    world.place(**order)
    assert world.reason() == reason


def test_the_message_rate_counts_in_seconds_of_engine_time() -> None:
    """Cancels count and are never refused; the count starts anew with the next second."""
    world = World(cash=10_000)
    world.limit(maximum_messages_per_second=2)
    world.work("1")
    assert world.cancel("1")
    world.place("2")
    assert world.reason() == "message_rate_exceeded"
    assert world.cancel("2", "c2")[0].reason == "unknown_order"
    world.now_ns += 10**9 - 1
    world.place("3")
    assert world.reason() == "message_rate_exceeded"
    world.now_ns += 1
    world.place("4")
    assert world.reason() is None


def test_a_replace_is_a_message() -> None:
    """The message rate refuses a replace too."""
    world = World(cash=10_000)
    world.limit(maximum_messages_per_second=1)
    world.work("1")
    world.replace("1", lots=2)
    assert world.reason() == "message_rate_exceeded"


def test_an_order_has_so_many_replaces_on_their_way() -> None:
    """Unanswered replaces of one order are bounded, since its row holds them."""
    world = World(cash=10**6)
    world.work("1")
    for number in range(PENDING_REPLACES):
        world.replace("1", f"r{number}", lots=2)
        assert world.reason() is None
    world.replace("1", "one-more", lots=2)
    assert world.reason() == "message_rate_exceeded"


def test_equal_orders_are_throttled() -> None:
    """Orders equal in instrument, side, price and quantity are counted, those refused later as well."""
    world = World(cash=3_003)
    world.limit(maximum_repeated_orders_per_second=2)
    world.place("1", lots=2)
    world.place("2", lots=2)
    assert world.reason() == "insufficient_cash"
    world.place("3", lots=2)
    assert world.reason() == "repeated_order_throttled"
    world.place("4", lots=1)
    assert world.reason() is None
    world.tick(1)
    assert not world.risk.desk.tables.repeats
    world.place("5", lots=2)
    assert world.reason() == "insufficient_cash"


def test_open_orders_are_counted_while_they_are_open() -> None:
    """The maximum counts what waits for its answer too, and a closed order makes room."""
    world = World(cash=10_000)
    world.limit(maximum_open_orders=2)
    world.work("1")
    world.place("2")
    world.place("3")
    assert world.reason() == "open_orders_exceed_maximum"
    world.reject("2")
    world.place("4")
    assert world.reason() is None


@pytest.mark.parametrize(
    ("side", "lots", "reason"),
    [
        ("BUY", 3, None),
        ("BUY", 4, "position_limit_exceeded"),
        ("SELL", 14, None),
        ("SELL", 15, "position_limit_exceeded"),
    ],
)
def test_the_position_limit(side: str, lots: int, reason: str | None) -> None:
    """|position + open buys| and |position - open sells| stay within it: here 5 + 2 and 5 - 1 of 10."""
    world = World(account_type="MARGIN", cash=10**6)
    world.limit(maximum_position_lots=10)
    world.own(5)
    world.work("b", "BUY", 2)
    world.work("s", "SELL", 1)
    world.place("1", side, lots)
    assert world.reason() == reason


def test_limits_change_intraday() -> None:
    """A new limit holds for what comes after it; open orders stay."""
    world = World(cash=10_000)
    world.work("1", lots=2)
    world.limit(maximum_order_quantity_lots=1)
    world.place("2", lots=2)
    assert world.reason() == "quantity_exceeds_maximum"
    assert len(world.risk.desk.tables.orders) == 1


def test_a_replace_is_checked_by_what_it_changes() -> None:
    """A new price meets the collar, a new quantity its maximum, and what stays meets neither."""
    world = World(cash=10**6)
    world.work("1", lots=5, price_ticks=100)
    world.mark(50)
    world.replace("1", "r1", lots=4)
    assert world.reason() is None
    world.replace("1", "r2", price=56)
    assert world.reason() == "price_outside_collar"
    world.replace("1", "r3", lots=1_001)
    assert world.reason() == "quantity_exceeds_maximum"
    world.replace("1", "r4", lots=0)
    assert world.reason() == "invalid_quantity"
    world.replace("1", "r5", price=0)
    refusal = world.said[ACCOUNT_EVENTS][-1]
    assert isinstance(refusal, ReplaceRejected)
    assert (refusal.reason, refusal.instrument, refusal.order_id) == (
        "invalid_price",
        "XYZ",
        world.entered["1"].order_id,
    )


def test_a_stop_has_no_price_to_replace() -> None:
    """A replace that gives a price to an order without one is refused."""
    world = World(cash=10**6)
    world.work("1", order_type="STOP", stop_price_ticks=105)
    world.replace("1", price=100)
    assert world.reason() == "price_not_allowed"


def test_a_replace_meets_the_limits_only_by_what_it_adds() -> None:
    """The position limit and cash look at the rise: a replace that lowers passes both."""
    world = World(cash=10_000)
    world.work("1", lots=5)
    world.limit(maximum_position_lots=3, maximum_open_orders=0, maximum_repeated_orders_per_second=0)
    world.replace("1", "r1", lots=4)
    assert world.reason() is None
    world.replace("1", "r2", lots=6)
    assert world.reason() == "position_limit_exceeded"
    world.limit()
    world.replace("1", "r3", lots=11)
    assert world.reason() == "insufficient_cash"


def test_what_goes_to_the_book() -> None:
    """An order is stamped with its terms, its self-trade group and mode, and goes to its instrument's book."""
    world = World(cash=10_000, settlement_days=2)
    world.define_account(fee_rates=FEES, self_trade_prevention="DECREMENT")
    world.place("1")
    first = world.entered["1"]
    assert (first.self_trade_group, first.self_trade_prevention) == ("a", "DECREMENT")
    assert (first.terms.maker_bps, first.terms.taker_bps, first.terms.settlement_days) == (5, 10, 2)
    world.define_account(fee_rates=(), self_trade_group="desk")
    world.place("2", self_trade_prevention="NONE")
    second = world.entered["2"]
    assert (second.self_trade_group, second.self_trade_prevention) == ("desk", "NONE")
    assert (second.terms.maker_bps, second.terms.taker_bps) == (0, 0)
    assert len(world.said[BOOK_COMMANDS]) == 2
