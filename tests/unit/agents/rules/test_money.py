"""Money: notionals, fees, margin, and positions through every kind of fill."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.money import (
    Booked,
    book_fill,
    book_variation,
    fee_minor,
    fits,
    margin_minor,
)
from schemas.book_commands import Terms
from schemas.maximums import INT64_MAX
from schemas.record import InstrumentKind, Liquidity, Side

PRICES = st.integers(1, 10**6)
LOTS = st.integers(1, 10**6)


def terms(
    kind: InstrumentKind = "SPOT", *, unit: int = 1, maker: int = 0, taker: int = 0, days: int = 0
) -> Terms:
    """Terms of an instrument whose price tick times lot is ``unit`` minor units."""
    return Terms(
        kind=kind,
        currency="EUR",
        minor_per_tick_lot=unit,
        maker_bps=maker,
        taker_bps=taker,
        settlement_days=days,
    )


def fill(
    held: int, cost: int, side: Side, price: int, lots: int, by: Terms, liquidity: Liquidity = "TAKER"
) -> Booked:
    """One fill on a position."""
    return book_fill(held, cost, by, side, liquidity, price, lots)


@pytest.mark.parametrize(
    ("notional", "bps", "fee"),
    [
        (10_000, 5, 5),
        (10_001, 5, 6),
        (1, 1, 1),
        (10_000, -5, -5),
        (10_001, -5, -5),
        (19_999, -5, -9),
        (1, -1, 0),
        (-10_001, 5, 6),
        (10_000, 0, 0),
    ],
)
def test_a_fee_is_rounded_up_and_a_rebate_down(notional: int, bps: int, fee: int) -> None:
    """A fraction of a minor unit goes to the house, charged or rebated, whatever the notional's sign."""
    assert fee_minor(notional, bps) == fee


def test_margin_is_rounded_up() -> None:
    """Margin of an exposure is a ceiling."""
    assert [margin_minor(exposure, 1_000) for exposure in (0, 1, 10, 11)] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("held", "cost", "side", "price", "lots", "after", "cost_after", "profit", "closed"),
    [
        (0, 0, "BUY", 100, 3, 3, 300, 0, 0),
        (3, 300, "BUY", 110, 2, 5, 520, 0, 0),
        (5, 520, "SELL", 120, 2, 3, 312, 32, 2),
        (3, 313, "SELL", 120, 1, 2, 209, 16, 1),
        (2, 209, "SELL", 120, 2, 0, 0, 31, 2),
        (2, 209, "SELL", 120, 5, -3, -360, 31, 2),
        (-3, -361, "BUY", 100, 1, -2, -240, 21, 1),
        (-2, -240, "BUY", 100, 2, 0, 0, 40, 2),
        (-2, -240, "BUY", 130, 3, 1, 130, -20, 2),
        (-2, -240, "SELL", 130, 1, -3, -370, 0, 0),
    ],
)
def test_positions(
    held: int,
    cost: int,
    side: Side,
    price: int,
    lots: int,
    after: int,
    cost_after: int,
    profit: int,
    closed: int,
) -> None:
    """A fill opens, adds, closes a floor of the cost (the last lot the rest), or goes through zero."""
    booked = fill(held, cost, side, price, lots, terms())
    assert (booked.quantity_lots, booked.open_cost_minor) == (after, cost_after)
    assert (booked.realised_profit_minor, booked.closed_lots) == (profit, closed)


def test_a_spot_fill_moves_the_notional_and_the_fee() -> None:
    """A buy pays notional and fee, a sell receives the notional less its fee, each at its own rate."""
    by = terms(unit=10, maker=2, taker=7)
    bought = fill(0, 0, "BUY", 100, 3, by, "TAKER")
    sold = fill(3, 3_000, "SELL", 110, 3, by, "MAKER")
    assert (bought.notional_minor, bought.fee_minor, bought.cash_minor) == (3_000, 3, -3_003)
    assert (sold.notional_minor, sold.fee_minor, sold.cash_minor) == (3_300, 1, 3_299)


def test_a_future_moves_only_what_it_realises() -> None:
    """Opening a future costs its fee, closing it pays the profit."""
    by = terms("FUTURE", taker=5)
    opened = fill(0, 0, "SELL", 10_000, 2, by)
    closed = fill(-2, opened.open_cost_minor, "BUY", 9_000, 2, by)
    assert opened.cash_minor == -10
    assert closed.cash_minor == 2_000 - 9


@pytest.mark.parametrize(
    ("kind", "side", "days", "unsettled"),
    [
        ("SPOT", "SELL", 2, 299),
        ("EQUITY", "SELL", 1, 299),
        ("SPOT", "SELL", 0, 0),
        ("SPOT", "BUY", 2, 0),
        ("FUTURE", "SELL", 2, 0),
    ],
)
def test_only_receipts_wait_for_their_day(
    kind: InstrumentKind, side: Side, days: int, unsettled: int
) -> None:
    """What a sale brings, its fee taken off, waits; what a buy pays and a future realises does not."""
    assert fill(0, 0, side, 100, 3, terms(kind, taker=1, days=days)).unsettled_minor == unsettled


@given(st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), PRICES, LOTS), max_size=30), st.integers(1, 100))
def test_cost_and_profit_account_for_every_unit(fills: list[tuple[Side, int, int]], unit: int) -> None:
    """Profit less cost is what was received less what was paid, and a flat position has no cost."""
    held = cost = profit = received = 0
    for side, price, lots in fills:
        booked = fill(held, cost, side, price, lots, terms(unit=unit))
        held, cost = booked.quantity_lots, booked.open_cost_minor
        profit += booked.realised_profit_minor
        received += booked.cash_minor
        assert profit - cost == received
        assert cost == 0 if held == 0 else (cost > 0) == (held > 0)


def test_a_result_beyond_an_int64_stops_the_worker() -> None:
    """What risk let through must fit; a cost that does not is a broken invariant."""
    with pytest.raises(AssertionError, match="must fit an int64"):
        fill(1, INT64_MAX, "BUY", 1, 1, terms())


def test_what_fits_can_be_negated() -> None:
    """The least int64 is left out."""
    assert [fits(it) for it in (INT64_MAX, -INT64_MAX, INT64_MAX + 1, -INT64_MAX - 1)] == [
        True,
        True,
        False,
        False,
    ]


def test_variation_moves_cash_and_cost_alike() -> None:
    """A variation brings a position's cost to its worth at the mark, of either sign; a flat one has none."""
    assert [book_variation(3, 300, mark, 2) for mark in (40, 50, 60)] == [-60, 0, 60]
    assert [book_variation(-3, -300, mark, 2) for mark in (40, 50, 60)] == [60, 0, -60]
    assert book_variation(0, 0, 60, 2) == 0


@given(
    st.integers(-(10**6), 10**6), st.integers(-(10**9), 10**9), st.integers(1, 10**4), st.integers(1, 10**4)
)
def test_variations_add_up(lots: int, cost: int, first: int, second: int) -> None:
    """Two sessions' variations come to that of the second alone, so one that waited for both loses nothing."""
    one = book_variation(lots, cost, first, 3)
    assert one + book_variation(lots, cost + one, second, 3) == book_variation(lots, cost, second, 3)


def test_a_variation_must_fit() -> None:
    """A mark at which a position cannot be counted stops the stage."""
    with pytest.raises(AssertionError, match="leave int64"):
        book_variation(2, 0, INT64_MAX // 2 + 1, 1)
