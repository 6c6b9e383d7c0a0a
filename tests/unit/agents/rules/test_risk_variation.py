"""Futures' variation at session end, as risk posts it: at once, or account by account and none too late."""

from typing import Any

import pytest

from agents.rules.risk.margin import is_short
from tables.risk import VARIATION_CURSOR
from tests.unit.agents.rules.risk_world import World

ACCOUNTS = ("a", "b", "c", "d")


def future_world(cash: int = 10_000, account_type: str = "MARGIN", **instrument: Any) -> World:
    """XYZ is a future; a lot at 100 costs 1,000."""
    return World(account_type=account_type, cash=cash, kind="FUTURE", **instrument)


def own(world: World, account: str, lots: int, price: int, side: str = "BUY") -> None:
    """Gives an account a position by a trade."""
    name = f"own-{world.offset}"
    world.work(name, side, lots, price_ticks=price, account=account)
    world.fill(name, lots, price)


def booked(world: World, account: str = "a") -> tuple[int, int, int]:
    """An account's cash in EUR, and its lots and open cost in XYZ."""
    tables = world.risk.desk.tables
    held = tables.positions.get(f"{account} XYZ")
    cash = tables.cash[f"{account} EUR"].cash_minor
    return (cash, held.quantity_lots, held.open_cost_minor) if held else (cash, 0, 0)


def equity(world: World, account: str = "a") -> int:
    """An account's equity in EUR, valued now."""
    ledger = world.risk.desk.ledgers[account]
    purse = ledger.purses["EUR"]
    is_short(world.risk.desk, ledger, purse)
    return purse.cash_minor + purse.value_minor


@pytest.mark.parametrize(
    ("side", "price", "after"),
    [
        ("BUY", 110, (10_500, 5, 5_500)),
        ("BUY", 90, (9_500, 5, 4_500)),
        ("BUY", 100, (10_000, 5, 5_000)),
        ("SELL", 110, (9_500, -5, -5_500)),
        ("SELL", 90, (10_500, -5, -4_500)),
    ],
)
def test_variation_turns_value_into_cash(side: str, price: int, after: tuple[int, int, int]) -> None:
    """What the mark is above the cost is in cash, the position costs the mark, and equity is the same."""
    world = future_world()
    own(world, "a", 5, 100, side)
    world.mark(price)
    before = equity(world)
    assert not world.end_session(price)
    assert (booked(world), equity(world)) == (after, before)


def test_what_was_closed_within_the_session_has_realised_all() -> None:
    """A position that is flat at the session end gets nothing, and one that is opened again starts afresh."""
    world = future_world()
    own(world, "a", 5, 100)
    own(world, "a", 5, 110, "SELL")
    world.end_session(120)
    assert booked(world) == (10_500, 0, 0)
    own(world, "a", 1, 105)
    assert booked(world) == (10_500, 1, 1_050)


def test_a_partial_close_after_the_session_realises_from_its_mark() -> None:
    """The order of session end and fill decides how cash and cost are divided; the sum is the same."""
    before, after = future_world(), future_world()
    for world in (before, after):
        own(world, "a", 4, 100)
    own(before, "a", 1, 104, "SELL")
    before.end_session(110)
    after.end_session(110)
    own(after, "a", 1, 104, "SELL")
    assert booked(before) == (10_000 + 40 + 300, 3, 3_300)
    assert booked(after) == (10_000 + 400 - 60, 3, 3_300)


def test_only_futures_have_variation() -> None:
    """Spot was paid in full; an instrument that risk has not heard of is nobody's."""
    world = World(account_type="MARGIN", cash=10_000)
    own(world, "a", 5, 100)
    world.end_session(110)
    world.end_session(110, instrument="LATER")
    assert booked(world) == (5_000, 5, 5_000)
    assert not world.risk.desk.tables.variations


def test_a_cash_account_can_withdraw_no_more_and_no_less() -> None:
    """What a cash account's future costs stays held: the variation raises or lowers both."""
    world = future_world(account_type="CASH")
    own(world, "a", 5, 100)
    world.end_session(110)
    assert (world.cash, world.held) == (10_500, 5_500)
    world.withdraw(5_001)
    assert world.reason() == "insufficient_free_cash"
    world.withdraw(5_000, "all")
    assert world.reason() is None


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> World:
    """Four accounts long of five lots at 100, and records that hold no more than one of them."""
    monkeypatch.setattr("agents.rules.risk.desk.SETTLEMENTS_PER_RECORD", 1)
    world = future_world()
    for account in ACCOUNTS:
        if account != "a":
            world.define_account(account, account_type="MARGIN")
            world.deposit(10_000, "in", account)
        own(world, account, 5, 100)
    return world


def varied(world: World) -> str:
    """The accounts whose position costs another mark than it was opened at."""
    return "".join(it for it in ACCOUNTS if booked(world, it)[2] != 5_000)


@pytest.mark.parametrize("restored", [False, True])
def test_accounts_have_their_turn_tick_by_tick(narrow: World, restored: bool) -> None:
    """A record does so many accounts, each tick goes on behind them, and at the end nothing is remembered."""
    found = []
    narrow.end_session(110)
    for _ in ACCOUNTS:
        found.append(varied(narrow))
        if restored:
            narrow.restore()
        narrow.tick(1)
    assert found == ["a", "ab", "abc", "abcd"]
    assert not narrow.risk.desk.tables.variations
    assert VARIATION_CURSOR not in narrow.risk.desk.tables.cursors


@pytest.mark.parametrize("restored", [False, True])
def test_a_fill_finds_its_position_varied(narrow: World, restored: bool) -> None:
    """Who has not had his turn is caught up before his fill, at the session's mark, and not varied again."""
    narrow.end_session(110)
    if restored:
        narrow.restore()
    narrow.mark(115)
    own(narrow, "c", 1, 105, "SELL")
    assert booked(narrow, "c") == (10_000 + 500 - 50, 4, 4_400)
    for _ in ACCOUNTS:
        narrow.tick(1)
    assert booked(narrow, "c") == (10_450, 4, 4_400)
    assert booked(narrow, "d") == (10_500, 5, 5_500)


@pytest.mark.parametrize("restored", [False, True])
def test_what_opens_behind_a_session_end_is_not_varied(narrow: World, restored: bool) -> None:
    """One whose turn is still to come and who opens, or goes through zero, does so in the next session."""
    own(narrow, "d", 5, 100, "SELL")
    narrow.end_session(110)
    own(narrow, "d", 2, 103)
    own(narrow, "c", 7, 109, "SELL")
    if restored:
        narrow.restore()
    for _ in ACCOUNTS:
        narrow.tick(1)
    assert booked(narrow, "d") == (10_000, 2, 2_060)
    assert booked(narrow, "c") == (10_000 + 500 - 50, -2, -2_180)


def test_a_withdrawal_finds_all_in_cash(narrow: World) -> None:
    """A loss that waits is no cash, though a mark that has risen again makes equity of it."""
    narrow.mark(50)
    narrow.end_session(50)
    narrow.mark(100)
    narrow.withdraw(7_501, "much", "d")
    assert narrow.reason() == "insufficient_free_cash"
    narrow.withdraw(7_500, "all", "d")
    assert booked(narrow, "d") == (0, 5, 2_500)


def test_a_session_end_behind_another_takes_both(narrow: World) -> None:
    """Who has not had his turn before the next session ends gets the variation of both in one."""
    narrow.end_session(110)
    narrow.tick(1)
    narrow.end_session(130)
    for _ in ACCOUNTS:
        narrow.tick(1)
    assert {booked(narrow, it) for it in ACCOUNTS} == {(11_500, 5, 6_500)}
    assert not narrow.risk.desk.tables.variations
