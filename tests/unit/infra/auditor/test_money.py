"""The auditor's own arithmetic, against numbers worked out by hand."""

import pytest

from infra.auditor.money import Held, after_fill, fee, settlement_day

FRIDAY = 20_000  # days since 1970


@pytest.mark.parametrize(
    ("amount", "bps", "due"),
    [
        (10_000, 3, 3),
        (10_001, 3, 4),
        (1, 1, 1),
        (0, 3, 0),
        (10_000, -3, -3),
        (19_999, -1, -1),
        (9_999, -1, 0),
    ],
)
def test_fee_is_rounded_for_the_house(amount: int, bps: int, due: int) -> None:
    """A charge is rounded up, a rebate down."""
    assert fee(amount, bps) == due


@pytest.mark.parametrize(
    ("held", "side", "lots", "notional", "after"),
    [
        (Held(), "BUY", 3, 30, Held(3, 30, 0, 1)),
        (Held(3, 30), "BUY", 1, 15, Held(4, 45, 0, 1)),
        (Held(3, 31), "SELL", 1, 15, Held(2, 21, 5, 1)),  # floor(31 / 3) = 10 of the cost goes
        (Held(2, 21), "SELL", 2, 30, Held(0, 0, 9, 1)),  # the last one takes the rest
        (Held(2, 20), "SELL", 5, 60, Held(-3, -36, 4, 1)),  # through zero: closes, then opens at the price
        (Held(-3, -31), "BUY", 1, 8, Held(-2, -20, 3, 1)),  # floor(-31 / 3) = -11
        (Held(-2, -20), "BUY", 3, 27, Held(1, 9, 2, 1)),
    ],
)
def test_position_after_a_fill(held: Held, side: str, lots: int, notional: int, after: Held) -> None:
    """A partial close takes the floor of its part of the cost, and what is realised is the rest."""
    assert after_fill(held, side, lots, notional) == after  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("day", "days", "due"), [(0, 0, 0), (0, 1, 3), (0, 2, 4), (1, 0, 1), (1, 1, 3), (-1, 2, 3)]
)
def test_settlement_counts_weekdays(day: int, days: int, due: int) -> None:
    """T+1 of a Friday is the Monday; T+0 is the day itself, whatever day it is."""
    at_ns = (FRIDAY + day) * 86_400 * 10**9 + 1
    assert settlement_day(at_ns, days) == FRIDAY + due
