"""Decimal strings and integers are the same number."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.decimals import Grid

CENT = Grid(10_000_000, "tick size")
QUARTER = Grid(250_000_000, "tick size")
FIVE = Grid(5_000_000_000, "tick size")
SATOSHI = Grid(10, "lot size")
MINOR = Grid(1, "minor unit", 2)

INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("grid", "text", "steps"),
    [
        (CENT, "100.05", 10_005),
        (CENT, "100", 10_000),
        (CENT, "0.01", 1),
        (CENT, "100.050000000", 10_005),
        (CENT, "100.0500000000000000000000000000000000000000", 10_005),
        (CENT, "-1.5", -150),
        (CENT, "+1.5", 150),
        (CENT, "1e2", 10_000),
        (CENT, "1.5E-1", 15),
        (CENT, 7, 700),
        (QUARTER, "100.25", 401),
        (FIVE, "15", 3),
        (SATOSHI, "0.00000001", 1),
        (SATOSHI, "92233720368.54775807", 2**63 - 1),
        (MINOR, "12.34", 1234),
    ],
)
def test_a_decimal_is_so_many_steps(grid: Grid, text: object, steps: int) -> None:
    """Signs, exponents, JSON integers and spare zeros are all the number that they say."""
    assert grid.parse(text) == steps


@pytest.mark.parametrize(
    ("grid", "text", "message"),
    [
        (CENT, "100.005", "100.005 is not a multiple of the tick size 0.01"),
        (QUARTER, "0.3", "0.3 is not a multiple of the tick size 0.25"),
        (FIVE, "12", "12 is not a multiple of the tick size 5"),
        (MINOR, "0.001", "0.001 is not a multiple of the minor unit 0.01"),
        *(
            (CENT, text, f"{text!r} is not a decimal number")
            for text in (
                "",
                ".",
                "x",
                "1_0",
                "\uff11",
                "1 ",
                "0x1",
                "NaN",
                "inf",
                "1e400",
                "1,5",
                None,
                True,
                1.5,
            )
        ),
        (CENT, "1" * 201, f"'{'1' * 201}' is not a decimal number"),
    ],
)
def test_a_bad_decimal_is_named(grid: Grid, text: object, message: str) -> None:
    """An error repeats what was given and says what was expected."""
    with pytest.raises(ValueError, match=r".") as raised:
        grid.parse(text)
    assert str(raised.value) == message


@settings(deadline=None)
@given(INT64, st.sampled_from([CENT, QUARTER, FIVE, SATOSHI, MINOR]))
def test_what_is_written_reads_back(steps: int, grid: Grid) -> None:
    """Formatting is the inverse of parsing, in the shortest plain form."""
    text = grid.format(steps)
    assert grid.parse(text) == steps
    assert "." not in text or not text.endswith(("0", "."))
    assert "e" not in text.lower()


@settings(deadline=None)
@given(INT64, st.integers(0, 9), st.integers(1, 10**12))
def test_parsing_agrees_with_decimal(value: int, places: int, step_e9: int) -> None:
    """Every text is the multiple that exact arithmetic says, or refused."""
    text = str(Decimal(value).scaleb(-places)) if places < 7 else f"{value}e-{places}"
    exact = Decimal(value).scaleb(9 - places).as_integer_ratio()
    grid = Grid(step_e9, "tick size")
    steps, rest = divmod(exact[0], exact[1] * step_e9)
    if rest:
        with pytest.raises(ValueError, match=r"not a multiple"):
            grid.parse(text)
    else:
        assert grid.parse(text) == steps
