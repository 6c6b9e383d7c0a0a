"""Holds: made by orders, raised at once by replaces, and released exactly by matching's answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.money import fee_minor
from agents.rules.risk.desk import claim_at
from schemas.events import OrderReduced, OrderTriggered, ReplaceRejected
from schemas.reference import FeeRate
from tests.unit.agents.rules.risk_world import FEES, World


def test_a_buy_holds_its_worst_cost_and_fee() -> None:
    """3 lots at 105 of 10 minor units, and for each lot a fee of its own: ceil(1050 x 10 / 10,000) = 2."""
    world = World(cash=10_000)
    world.define_account(fee_rates=FEES)
    world.place("1", "BUY", 3, price_ticks=105)
    assert world.held == 3 * 1_050 + 3 * 2
    assert world.cash == 10_000


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 100)), min_size=1, max_size=20),
    st.integers(1, 50),
    st.integers(0, 10_000),
)
def test_no_fills_cost_more_than_is_claimed(fills: list[tuple[int, int]], unit: int, bps: int) -> None:
    """However an order is split into fills at its worst price or lower, cost and fees stay within its claim."""
    worst_price, lots = max(price for price, _ in fills), sum(lots for _, lots in fills)
    costs = [price * count * unit for price, count in fills]
    _, cost, fees = claim_at(lots, worst_price, unit, bps)
    assert sum(costs) <= cost
    assert sum(fee_minor(it, bps) for it in costs) <= fees


def test_a_rebate_is_not_counted_on() -> None:
    """Where both rates are rebates an order holds its cost alone, and no less."""
    world = World(cash=10_000)
    world.define_account(fee_rates=(FeeRate(fee_class="default", maker_bps=-50, taker_bps=-20),))
    world.place("1", "BUY", 3, price_ticks=105)
    assert world.held == 3 * 1_050


def test_a_market_buy_holds_at_its_worst_price() -> None:
    """A MARKET order holds at the mark plus the collar."""
    world = World(cash=10_000)
    world.place("1", "BUY", 3, order_type="MARKET")
    assert world.held == 3 * 1_100


def test_what_is_held_cannot_be_spent_twice() -> None:
    """The cash that one order holds is not there for the next; to the last unit it is."""
    world = World(cash=2_500)
    world.place("1", "BUY", 2)
    world.place("2", "BUY", 1, price_ticks=51)
    assert world.reason() == "insufficient_cash"
    world.place("3", "BUY", 1, price_ticks=50)
    assert world.reason() is None
    assert world.held == world.cash


def test_a_sell_holds_the_quantity() -> None:
    """A cash account sells what it has and has not on sale already."""
    world = World(cash=10_000)
    world.own(5)
    world.work("1", "SELL", 3)
    world.place("2", "SELL", 3)
    assert world.reason() == "insufficient_holding"
    world.place("3", "SELL", 2)
    assert world.reason() is None


def test_a_fill_releases_what_it_used() -> None:
    """A fill below the limit takes its own cost from cash, and releases the hold of its lots."""
    world = World(cash=10_000)
    world.define_account(fee_rates=FEES)
    world.work("1", "BUY", 4, price_ticks=100)
    world.fill("1", 1, price=90)
    assert world.cash == 10_000 - 900 - 1
    assert world.held == 3 * (1_000 + 1)
    world.fill("1", 3, price=100)
    assert world.cash == 9_099 - 3_000 - 3
    assert world.held == 0


@pytest.mark.parametrize("end", ["rejected", "cancelled", "expired"])
def test_every_end_releases_the_rest(end: str) -> None:
    """Rejection by matching, cancel and expiry leave no hold and no open order behind."""
    world = World(cash=10_000)
    world.place("1", "BUY", 4)
    if end == "rejected":
        world.reject("1")
    else:
        world.accept("1")
        world.fill("1", 1)
        if end == "cancelled":
            world.cancelled("1", by=None, reason="no_liquidity")
        else:
            world.expire("1")
    assert world.held == 0
    assert world.risk.desk.ledgers["a"].open_orders == 0
    assert not world.risk.desk.tables.orders


def test_a_replace_raises_at_once_and_lowers_on_the_answer() -> None:
    """Down to 2 at 90: nothing moves until matching says so; up to 5 at 110: held before it is asked."""
    world = World(cash=10_000)
    world.work("1", "BUY", 4)
    world.replace("1", "down", price=90, lots=2)
    assert world.held == 4_000
    world.replaced("1", "down", price=90, lots=2)
    assert world.held == 1_800
    world.replace("down", "up", price=110, lots=5)
    assert world.held == 5_500
    world.replaced("1", "up", price=110, lots=5)
    assert world.held == 5_500


def test_a_rejected_replace_puts_the_hold_back() -> None:
    """ReplaceRejected leaves what was held before the replace."""
    world = World(cash=10_000)
    world.work("1", "BUY", 4)
    world.replace("1", "up", price=110, lots=5)
    world.request_rejected(ReplaceRejected, "up", "1", "post_only_would_trade")
    assert world.held == 4_000
    assert world.risk.desk.tables.orders[world.entered["1"].order_id].client_order_id == "1"


def test_fills_in_flight_count_against_the_larger() -> None:
    """While 4 at 100 may become 2 at 110, what is left of 4 is held at 110, fills taken off."""
    world = World(cash=10_000)
    world.work("1", "BUY", 4)
    world.replace("1", "r", price=110, lots=2)
    assert world.held == 4 * 1_100
    world.fill("1", 3, price=100)
    assert world.held == 1 * 1_100
    world.fill("1", 1, price=100)
    assert world.held == 0
    world.request_rejected(ReplaceRejected, "r", "1", "order_closed")
    assert world.held == 0


def test_several_replaces_on_their_way_hold_the_largest_of_all() -> None:
    """The greatest quantity and the greatest price of all that the order may become."""
    world = World(cash=100_000)
    world.work("1", "BUY", 4)
    world.replace("1", "r1", lots=6)
    world.replace("r1", "r2", price=105)
    world.replace("r2", "r3", price=95, lots=3)
    assert world.held == 6 * 1_050
    world.replaced("1", "r1", price=100, lots=6)
    assert world.held == 6 * 1_050
    world.replaced("1", "r2", price=105, lots=6)
    world.replaced("1", "r3", price=95, lots=3)
    assert world.held == 3 * 950


def test_a_replace_below_what_is_filled_ends_the_order() -> None:
    """OrderReplaced leaves nothing, and OrderCancelled closes it."""
    world = World(cash=10_000)
    world.work("1", "BUY", 4)
    world.fill("1", 3)
    world.replace("1", "r", lots=2)
    world.replaced("1", "r", price=100, lots=2)
    assert world.held == 0
    world.cancelled("1", by="r", reason="replaced_to_filled")
    assert not world.risk.desk.tables.orders


def test_self_trade_prevention_releases_what_it_took() -> None:
    """OrderReduced says what is left."""
    world = World(cash=10_000)
    enter = world.work("1", "BUY", 4)
    world.tell(
        OrderReduced(
            account="a",
            client_order_id="1",
            instrument="XYZ",
            order_id=enter.order_id,
            reduced_quantity_lots=3,
            cum_quantity_lots=0,
            leaves_quantity_lots=1,
            at_ns=world.now_ns,
        )
    )
    assert world.held == 1_000


def test_an_election_holds_as_before() -> None:
    """A stop that is triggered claims what it claimed."""
    world = World(cash=10_000)
    enter = world.work("1", "BUY", 2, order_type="STOP", stop_price_ticks=105)
    held = world.held
    world.tell(
        OrderTriggered(
            account="a",
            client_order_id="1",
            instrument="XYZ",
            order_id=enter.order_id,
            trigger_price_ticks=105,
            at_ns=world.now_ns,
        )
    )
    assert world.held == held == 2 * 115 * 10


def test_an_order_keeps_the_fees_that_it_was_held_with() -> None:
    """Terms that change while an order is open change neither its hold nor what is released."""
    world = World(cash=10_000)
    world.define_account(fee_rates=FEES)
    world.work("1", "BUY", 4)
    world.define_account()
    assert world.held == 4_004
    world.fill("1", 4)
    assert (world.held, world.cash) == (0, 10_000 - 4_000 - 4)


def test_a_cash_account_pays_for_futures_in_full() -> None:
    """What a future cost stays held while it is, so its loss can never make the cash account owe."""
    world = World(cash=10_000, kind="FUTURE")
    world.own(5, 100)
    assert (world.cash, world.held) == (10_000, 5_000)
    world.place("2", "BUY", 6)
    assert world.reason() == "insufficient_cash"
    world.work("3", "SELL", 5, price_ticks=90)
    world.fill("3", 5, 90)
    assert (world.cash, world.held) == (9_500, 0)


def test_an_answer_about_no_open_order_stops_the_worker() -> None:
    """A fill of an order that risk does not have is a broken invariant."""
    world = World(cash=10_000)
    world.work("1", "BUY", 2)
    world.fill("1", 2)
    with pytest.raises(KeyError):
        world.expire("1")
