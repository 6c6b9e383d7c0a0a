from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from infra.demo.compare import BookRow, Difference, RefusalComparison, TradeComparison
from infra.demo.latency import Percentiles
from infra.demo.picture import Kill, PictureData, TradePoint, draw
from infra.demo.plain_book import Fill, Level
from infra.demo.report import Check, DemoResult, Money, StageKill, checks, exit_code, print_report
from schemas.record import Side

GHOST = Difference(Fill("1", "2", 7_833_300, 16_393), "2 was a ghost")
GOOD = DemoResult(
    rows={"cancels": 2, "other orders": 3},
    commands=5,
    answered=5,
    seconds=2.0,
    latency=Percentiles(0.0, 5, 3.0, 9.0, 11.0),
    latency_in_peace=Percentiles(0.0, 2, 2.0, 8.0, 10.0),
    trades=TradeComparison(
        recorded=284, made=282, exact=281, missing=(GHOST,) * 3, made_up=(GHOST,), unlike_plain_book=()
    ),
    refusals=RefusalComparison(
        by_reason={"post_only_would_trade": 7, "invalid_quantity": 2},
        crossing_recorded=7,
        crossing_in_both=7,
        crossing_only_recorded=0,
        crossing_only_engine=0,
        explained={"invalid_quantity": "2 recorded with volume 0"},
        unexplained=0,
    ),
    cancel_refusals={},
    book=(
        BookRow("SELL", Level(7_835_100, 1), Level(7_835_100, 1)),
        BookRow("BUY", Level(7_835_000, 2), Level(7_835_000, 2)),
    ),
    money=Money(
        accounts_holding=2,
        gross_position_lots=6,
        net_position_lots=0,
        deposited_minor=100,
        accounts_cash_minor=98,
        house_cash_minor=2,
        clearing_cash_minor=0,
        outside_cash_minor=-100,
    ),
    kills=(StageKill("risk", 1.0, 0.5, 12),),
    gaps=0,
    further=(Check("fills pair", holds=True, seen="282"),),
    proof=None,
    views=("http://127.0.0.1:8600/books/BTC-USD",),
    picture="demo.png",
)

BREACHES: dict[str, dict[str, object]] = {
    "at least 281": {"trades": msgspec.structs.replace(GOOD.trades, exact=280)},
    "at most 1": {"trades": msgspec.structs.replace(GOOD.trades, made_up=(GHOST, GHOST))},
    "plain book": {"trades": msgspec.structs.replace(GOOD.trades, unlike_plain_book=(GHOST.fill,))},
    "crossing": {"refusals": msgspec.structs.replace(GOOD.refusals, crossing_only_engine=1)},
    "every other refusal": {"refusals": msgspec.structs.replace(GOOD.refusals, unexplained=1)},
    "no cancel is refused": {"cancel_refusals": {"unknown_order": 1}},
    "an answer": {"answered": 4},
    "no record is missing": {"gaps": 1},
    "every stage was killed": {"kills": (StageKill("risk", 1.0, 0.5, 0),)},
    "sum to zero": {"money": msgspec.structs.replace(GOOD.money, net_position_lots=1)},
    "what was deposited": {"money": msgspec.structs.replace(GOOD.money, house_cash_minor=1)},
    "world outside": {"money": msgspec.structs.replace(GOOD.money, outside_cash_minor=-99)},
    "clearing": {"money": msgspec.structs.replace(GOOD.money, clearing_cash_minor=1)},
    "best levels": {"book": (BookRow("BUY", Level(7_835_000, 2), None),)},
    "fills pair": {"further": (Check("fills pair", holds=False, seen="281"),)},
}


def test_a_good_run_ends_with_zero_and_shows_everything() -> None:
    """Without a terminal the report is plain text, with the trades, refusals, money, kills and places."""
    out = StringIO()
    assert print_report(GOOD, Console(file=out, width=160)) == 0
    text = out.getvalue()
    for shown in (
        "281",
        "post_only_would_trade",
        "2 recorded with volume 0",
        "78,351.00",
        "2 was a ghost",
        "not who takes",
        "0.0000000100 USD",
        "http://127.0.0.1:8600/books/BTC-USD",
        "demo.png",
        f"All {len(checks(GOOD))} checks hold",
    ):
        assert shown in text
    assert "\x1b" not in text


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_named_and_ends_non_zero(name: str) -> None:
    """Each invariant, broken alone, is the one line that does not hold, and the exit code is 1."""
    result = msgspec.structs.replace(GOOD, **BREACHES[name])
    broken = [check.name for check in checks(result) if not check.holds]
    assert len(broken) == 1
    assert name in broken[0]
    assert exit_code(checks(result)) == 1


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_drawn_in_the_form_that_its_name_says(tmp_path: Path, ending: str) -> None:
    """The same data give a PNG or an SVG, with empty lists too."""
    point = TradePoint(1.0, 7_835_000, 5)
    book: dict[Side, tuple[Level, ...]] = {"BUY": (Level(7_835_000, 2),), "SELL": (Level(7_835_100, 1),)}
    data = PictureData(
        exact=(point,),
        missing=(),
        made_up=(point,),
        recorded_book=book,
        engine_book={"BUY": (), "SELL": ()},
        latency=(GOOD.latency,),
        kills=(Kill("risk", 0.0),),
    )
    path = tmp_path / f"demo.{ending}"
    draw(data, path)
    assert path.read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[ending])
