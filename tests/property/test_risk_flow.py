"""Risk under random flow: any commands, any legal answers, in any interleaving."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rules.risk import desk
from schemas.events import MarkChanged
from tests.property.risk_market import ACCOUNTS, INSTRUMENTS, Market

NAMES = [account.account for account in ACCOUNTS]
SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]
SIDES = ["BUY", "SELL"]
TYPES = ["LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT"]
Step = Callable[[Market, int, int], None]


def place(market: Market, first: int, second: int) -> None:
    """An order of any account, instrument, side and type."""
    side, order_type = SIDES[first // 3 % 2], TYPES[first // 11 % len(TYPES)]
    market.place(name(first), symbol(first), side, order_type, price(second), lots(second))


def replace(market: Market, first: int, second: int) -> None:
    """A replace of one of the last things named, of its price, its quantity or both."""
    new_price = price(second) if first % 3 else None
    new_lots = None if first % 3 == 1 else lots(second)
    market.request(-1 - first % 6, replace=True, price=new_price, lots=new_lots)


def cash(market: Market, first: int, second: int) -> None:
    """A deposit or a withdrawal."""
    market.move_cash("withdraw" if second % 2 else "deposit", name(first), 1 + second % 3_000)


def mark(market: Market, first: int, second: int) -> None:
    """A mark moves."""
    market.tell(MarkChanged(instrument=symbol(first), price_ticks=price(second), at_ns=market.now_ns))


def name(number: int) -> str:
    """An account."""
    return NAMES[number % len(NAMES)]


def symbol(number: int) -> str:
    """An instrument."""
    return SYMBOLS[number // 7 % len(SYMBOLS)]


def price(number: int) -> int:
    """A price around the mark."""
    return 85 + number % 31


def lots(number: int) -> int:
    """A quantity."""
    return 1 + number // 31 % 12


# What may happen, each as often as it stands here, from two numbers.
STEPS: tuple[Step, ...] = (
    *[place] * 8,
    *[lambda market, _, __: market.turn(yes=True)] * 7,
    *[lambda market, _, __: market.hear()] * 12,
    *[lambda market, first, second: market.trade(first, second, second // 13)] * 6,
    *[replace] * 4,
    *[lambda market, first, _: market.request(first, replace=False)] * 2,
    lambda market, first, second: market.mass_cancel(name(first), [None, *SIDES][second % 3]),
    lambda market, _, __: market.turn(yes=False),
    lambda market, first, second: market.end(first, expires=bool(second % 2)),
    lambda market, first, _: market.reduce(first),
    cash,
    mark,
    lambda market, _, __: market.tick(),
    lambda market, first, _: market.settle(name(first)),
    lambda market, _, second: market.end_session(price(second)),
    *[lambda market, _, __: market.restore()] * 2,
)
NUMBERS = st.integers(0, 10**6)
FLOW = st.lists(st.tuples(st.sampled_from(STEPS), NUMBERS, NUMBERS), min_size=30, max_size=200)


@settings(max_examples=150, deadline=None)
@given(FLOW)
def test_holds_are_exact_and_nothing_is_lost(flow: list[tuple[Step, int, int]]) -> None:
    """After every item the totals equal what open orders need and no cash account is short.

    Cash, fees and positions are conserved, in the end nothing is held, and a copy made anew from its rows
    says the same throughout.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desk, "SETTLEMENTS_PER_RECORD", 2)  # so that a session end goes on from tick to tick
        market = Market()
        for step, first, second in flow:
            step(market, first, second)
        market.calm()
    market.check_calm()
    market.close()
    market.check_calm()
    for ledger in market.lived.desk.ledgers.values():
        assert not ledger.open_orders
        assert not ledger.purses["EUR"].open_minor
        for holding in ledger.holdings.values():
            assert (holding.buy_lots, holding.sell_lots, holding.buy_claim_minor) == (0, 0, 0)
            assert (holding.open_minor, holding.fees_minor) == (0, 0)
