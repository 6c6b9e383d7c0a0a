"""Margin accounts: equity, what is required, reducing orders, deficits, and what may be withdrawn."""

from typing import Any

import pytest

from agents.rules.risk.margin import is_short
from schemas.control_events import KillActivated
from schemas.maximums import EXAMINED_PER_RECORD, INT64_MAX
from schemas.risk_events import MarginDeficit, MarginRestored
from schemas.topics import RISK_EVENTS
from tests.unit.agents.rules.risk_world import FEES, World


def margin_world(cash: int = 1_000, **instrument: Any) -> World:
    """A margin account; a lot at 100 is worth 1,000 and requires 100."""
    return World(account_type="MARGIN", cash=cash, **instrument)


def figures(world: World) -> tuple[int, int]:
    """(equity, required) of account ``a``, valued now."""
    ledger = world.risk.desk.ledgers["a"]
    purse = ledger.purses["EUR"]
    is_short(world.risk.desk, ledger, purse)
    return purse.cash_minor + purse.value_minor, purse.required_minor


def test_an_order_needs_its_margin_and_its_fees() -> None:
    """10 lots require 10 % of 10,000 and a fee a lot; one unit less of equity is not enough."""
    for cash, reason in ((1_010, None), (1_009, "insufficient_margin")):
        world = margin_world(cash)
        world.define_account(account_type="MARGIN", fee_rates=FEES)
        world.place("1", "BUY", 10)
        assert world.reason() == reason


def test_the_worse_side_is_required() -> None:
    """max(|position + buys|, |position - sells|): 5 held, 2 on bid, 9 on offer make 7."""
    world = margin_world(10_000)
    world.own(5)
    world.work("b", "BUY", 2)
    world.work("s", "SELL", 9)
    assert figures(world) == (10_000, 700)
    world.work("s2", "SELL", 4)
    assert figures(world) == (10_000, 800)


def test_required_margin_is_rounded_up() -> None:
    """Ceil per instrument: 33 ticks x 10 x 1 x 10 % = 33, and of 333 per mille 10.99 makes 11."""
    world = margin_world(10_000, initial_margin_bps=333)
    world.mark(33)
    world.work("1", "BUY", 1, price_ticks=33)
    assert figures(world) == (10_000, 11)


def test_equity_follows_the_mark() -> None:
    """A position of spot is worth its market value, long or short."""
    world = margin_world(10_000)
    world.own(5, 100)
    world.mark(110)
    assert figures(world) == (10_500, 550)
    world.mark(80)
    assert figures(world) == (9_000, 400)


def test_a_short_position_loses_when_the_mark_rises() -> None:
    """Cash from the sale is in equity, the debt at the mark is taken off."""
    world = margin_world(10_000)
    world.own(5, 100, side="SELL")
    assert world.cash == 15_000
    world.mark(120)
    assert figures(world) == (9_000, 600)


def test_a_future_is_worth_what_it_is_above_its_cost() -> None:
    """Equity of a future: mark x multiplier x quantity less open cost."""
    world = margin_world(10_000, kind="FUTURE")
    world.own(5, 100)
    assert world.cash == 10_000
    world.mark(110)
    assert figures(world) == (10_500, 550)


def test_without_a_mark_cost_and_worst_price_count() -> None:
    """A position counts at its cost, open orders at their own prices."""
    world = margin_world(10_000, mark=None)
    world.own(5, 100)
    world.work("1", "SELL", 3, price_ticks=200)
    assert figures(world) == (10_000, 500 + 600)


def test_only_reducing_orders_pass_in_deficit() -> None:
    """Equity below what is required: an order that reduces passes, one that adds or turns does not."""
    world = margin_world(1_000)
    world.own(10)
    world.mark(98)
    world.place("more", "BUY", 1, price_ticks=98)
    assert world.reason() == "reducing_orders_only"
    world.place("turn", "SELL", 11, price_ticks=98)
    assert world.reason() == "reducing_orders_only"
    world.place("less", "SELL", 6, price_ticks=98)
    assert world.reason() is None
    world.place("too-much", "SELL", 5, price_ticks=98)
    assert world.reason() == "reducing_orders_only"
    world.place("rest", "SELL", 4, price_ticks=98)
    assert world.reason() is None


def test_a_deficit_is_said_once_a_crossing() -> None:
    """MarginDeficit when equity falls below, MarginRestored when it is back, and nothing in between."""
    world = margin_world(1_000)
    world.own(10)
    world.tick(1)
    assert world.last == []
    world.mark(98)
    (deficit,) = world.tick(1)
    assert deficit == MarginDeficit(
        account="a", currency="EUR", equity_minor=800, required_minor=980, at_ns=world.now_ns
    )
    world.mark(97)
    assert world.tick(1) == []
    world.restore()
    assert world.tick(1) == []
    world.deposit(1_000)
    (restored,) = world.tick(1)
    assert isinstance(restored, MarginRestored)
    assert (restored.equity_minor, restored.required_minor) == (1_700, 970)
    assert world.tick(1) == []


def test_a_refusal_for_a_deficit_says_so_before_the_tick() -> None:
    """Who is refused as reducing only hears of the deficit with it."""
    world = margin_world(1_000)
    world.own(10)
    world.mark(98)
    world.place("more", "BUY", 1, price_ticks=98)
    assert [type(it) for it in world.said[RISK_EVENTS]] == [MarginDeficit]


def test_accounts_are_looked_at_in_turn() -> None:
    """A tick looks at so many accounts; the next one goes on where it stopped, a restored one as well."""
    world = margin_world(10_000)
    for number in range(EXAMINED_PER_RECORD):
        world.define_account(f"idle-{number}", account_type="MARGIN")
    world.define_account("last", account_type="MARGIN")
    world.deposit(1_000, account="last")
    world.place("1", "BUY", 10, account="last")
    world.accept("1")
    world.fill("1", 10)
    world.mark(90)
    assert world.tick(1) == []
    world.restore()
    assert [it.account for it in world.tick(1)] == ["last"]


def test_an_absurd_mark_is_an_alert_not_a_crash() -> None:
    """Sums beyond an int64 are said as its bound, and an order that would need them is refused."""
    world = margin_world(10_000)
    world.own(10, side="SELL")
    world.mark(INT64_MAX)
    (deficit,) = world.tick(1)
    assert (deficit.equity_minor, deficit.required_minor) == (-INT64_MAX, INT64_MAX)


@pytest.mark.parametrize(
    ("cash", "lots", "reason"),
    [(INT64_MAX - 2_000, 1, None), (INT64_MAX - 500, 1, "arithmetic_overflow")],
)
def test_a_sum_beyond_an_int64_is_a_refusal(cash: int, lots: int, reason: str | None) -> None:
    """Were all open orders to fill, cash and cost must still fit."""
    world = margin_world(cash)
    world.place("1", "SELL", lots)
    assert world.reason() == reason


def test_what_may_be_withdrawn() -> None:
    """min(cash, equity - required): profit that is not in cash stays, margin stays."""
    world = margin_world(10_000, kind="FUTURE")
    world.own(10, 100)
    world.mark(200)
    world.withdraw(10_001, "w1")
    assert world.reason() == "insufficient_free_cash"
    world.mark(60)
    world.withdraw(5_401, "w2")
    assert (world.reason(), world.last[0].detail) == ("insufficient_free_cash", "5400 is free")
    world.withdraw(5_400, "w3")
    assert world.cash == 4_600


def test_margin_changes_intraday() -> None:
    """A new rate of an instrument counts from then on for what is held."""
    world = margin_world(10_000)
    world.own(5)
    assert figures(world) == (10_000, 500)
    world.define_instrument(initial_margin_bps=5_000)
    assert figures(world) == (10_000, 2_500)


def test_a_kill_may_let_reducing_orders_pass() -> None:
    """With allow_reducing an order that reduces passes a kill, without it none does."""
    for allow_reducing, reason in ((True, None), (False, "account_killed")):
        world = margin_world(10_000)
        world.own(5)
        world.tell(
            KillActivated(
                command_id="k", account="a", instrument=None, allow_reducing=allow_reducing, at_ns=0
            )
        )
        world.place("less", "SELL", 5)
        assert world.reason() == reason
        world.place("more", "BUY", 1)
        assert world.reason() == "account_killed"


def test_an_account_that_becomes_a_margin_account_is_valued() -> None:
    """Its type decides from then on what its orders need."""
    world = World(cash=10_000)
    world.own(5)
    world.define_account(account_type="MARGIN")
    assert figures(world) == (10_000, 500)
    world.place("short", "SELL", 20)
    assert world.reason() is None
