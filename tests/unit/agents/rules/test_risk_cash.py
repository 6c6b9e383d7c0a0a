"""Deposits, withdrawals and settlement's word on cash."""

from typing import Any

import pytest

from schemas.events import CashDeposited, CashWithdrawn, CommandRefused
from schemas.maximums import INT64_MAX
from schemas.settlement_events import CashReleased
from schemas.topics import ACCOUNT_EVENTS
from tests.unit.agents.rules.risk_world import World


def test_a_deposit_and_a_withdrawal_are_answered_at_once() -> None:
    """Cash comes in and goes out, and settlement is told."""
    world = World()
    world.deposit(100)
    world.withdraw(40)
    assert [type(it) for it in world.said[ACCOUNT_EVENTS]] == [CashDeposited, CashWithdrawn]
    assert world.cash == 60


@pytest.mark.parametrize("amount", [0, -1])
def test_an_amount_is_more_than_zero(amount: int) -> None:
    """Neither nothing nor a negative amount moves."""
    world = World(cash=100)
    world.deposit(amount)
    assert world.reason() == "invalid_amount"
    world.withdraw(amount)
    assert world.reason() == "invalid_amount"


def test_cash_of_nobody() -> None:
    """An account that is not there gets a refusal that names it."""
    world = World()
    (said,) = world.deposit(1, account="nobody")
    assert isinstance(said, CommandRefused)
    assert (said.reason, said.detail) == ("unknown_account", "there is no account nobody")


@pytest.mark.parametrize(
    ("status", "deposit", "withdraw"),
    [("SUSPENDED", None, "account_suspended"), ("CLOSED", "account_closed", "account_closed")],
)
def test_cash_of_an_account_that_is_not_active(status: str, deposit: str | None, withdraw: str) -> None:
    """A suspended account may be paid in but not out, a closed one neither."""
    world = World(cash=100)
    world.define_account(status=status)
    world.deposit(1)
    assert world.reason() == deposit
    world.withdraw(1)
    assert world.reason() == withdraw


def test_what_open_buys_hold_is_not_free() -> None:
    """min(cash - holds): what is left beside the hold may go, one unit more may not."""
    world = World(cash=1_500)
    world.place("1", "BUY", 1)
    world.withdraw(501, "w1")
    assert (world.reason(), world.last[0].detail) == ("insufficient_free_cash", "500 is free")
    world.withdraw(500, "w2")
    assert world.reason() is None


def test_receipts_are_free_on_their_day() -> None:
    """A sale's receipt buys at once, and is withdrawable when settlement releases it."""
    world = World(cash=1_000, settlement_days=2)
    world.own(1)
    world.work("s", "SELL", 1)
    world.fill("s", 1)
    world.withdraw(1, "early")
    assert world.reason() == "insufficient_free_cash"
    world.place("again", "BUY", 1)
    assert world.reason() is None
    world.cancel("again")
    world.accept("again")
    world.cancelled("again")
    world.tell(release(1_000))
    world.withdraw(1_000, "late")
    assert world.reason() is None


def test_a_release_that_overtook_its_fill_frees_nothing_twice() -> None:
    """Released before the fill is known here: nothing more is free, and then all of it is."""
    world = World(cash=2_000, settlement_days=1)
    world.own(1)
    world.work("s", "SELL", 1)
    world.tell(release(1_000))
    world.withdraw(1_001, "more")
    assert world.reason() == "insufficient_free_cash"
    world.fill("s", 1)
    world.withdraw(2_000, "all")
    assert world.reason() is None


def test_cash_beyond_an_int64_is_refused() -> None:
    """A sum that cannot be counted is a refusal, never a wrap."""
    world = World(cash=INT64_MAX)
    world.deposit(1)
    assert world.reason() == "arithmetic_overflow"
    assert world.cash == INT64_MAX


def test_cash_leaves_room_for_what_open_orders_bring() -> None:
    """A deposit that would overflow once the open orders fill is refused, one unit less is not."""
    world = World(account_type="MARGIN", cash=INT64_MAX - 3_000)
    world.work("1", "SELL", 1)
    world.deposit(2_001, "in-1")
    assert world.reason() == "arithmetic_overflow"
    world.deposit(2_000, "in-2")
    assert world.reason() is None


def test_currencies_are_apart() -> None:
    """What is there in one currency is not in another."""
    world = World(cash=1_000)
    world.define_instrument(symbol="ABC", currency="USD")
    world.place("1", "BUY", 1, instrument="ABC")
    assert world.reason() == "insufficient_cash"


def release(amount: int) -> Any:
    """Settlement releases so much of account ``a``."""
    return CashReleased(account="a", currency="EUR", settlement_day=1, amount_minor=amount, at_ns=0)
