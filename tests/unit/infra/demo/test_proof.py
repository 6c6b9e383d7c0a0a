"""The demo's comparisons of what the sinks keep find each single thing that is not as the engine said it."""

from collections.abc import Callable
from decimal import Decimal
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from infra.auditor.log import LogRecord
from infra.demo.proof import compare, sums_agree
from infra.demo.report import Check, Proof, Slice, print_report
from infra.demo.run import fresh
from infra.settings import Settings
from schemas.events import Trade
from tests.unit.infra.auditor.engine import MemoryLog
from tests.unit.infra.demo.test_report import GOOD

TRADE = Trade(
    trade_id=1,
    instrument="BTC-USD",
    price_ticks=7_835_100,
    quantity_lots=50_000_000,
    aggressor_side="BUY",
    maker_order_id=1,
    maker_client_order_id="1",
    maker_account="a",
    taker_order_id=2,
    taker_client_order_id="2",
    taker_account="b",
    at_ns=5,
)
SLICE = Slice(
    since="02:36:00",
    trades=2,
    volume=Decimal(1),
    notional=Decimal(78351),
    average=Decimal(78351),
)
PLACES = {("trades", 0): (0, 3), ("orders", 0): (0, 3)}


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"trades": 3}, False),
        ({"volume": Decimal("1.00000001")}, False),
        ({"notional": Decimal("78351.01")}, False),
    ],
)
def test_sums_are_equal_to_the_last_unit(change: dict[str, object], holds: bool) -> None:
    """Count, volume and turnover of SQL are the engine's own, or the check does not hold."""
    assert sums_agree([msgspec.structs.replace(SLICE, **change)], [TRADE, TRADE]).holds is holds


def log_of(*values: bytes | None) -> MemoryLog:
    """Two topics with these values."""
    records = [LogRecord(offset, 1_000 + offset, None, value) for offset, value in enumerate(values)]
    return MemoryLog({place: list(records) for place in PLACES})


def spoil(change: Callable[[list[LogRecord]], object]) -> MemoryLog:
    """A log that differs in one topic."""
    log = log_of(b"a", None, b"c")
    change(log.records["trades", 0])
    return log


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.pop(),
        lambda it: it.__setitem__(1, it[1]._replace(value=b"")),
        lambda it: it.__setitem__(2, it[2]._replace(value=b"x")),
        lambda it: it.__setitem__(2, it[2]._replace(timestamp_ms=1)),
        lambda it: it.insert(1, it[0]),
    ],
    ids=["missing", "no tombstone", "changed", "another time", "twice"],
)
def test_an_archive_that_differs_is_found(change: Callable[[list[LogRecord]], object]) -> None:
    """One record missing, changed or too much in one topic breaks the check; the same passes."""
    kafka = log_of(b"a", None, b"c")
    alike = compare(log_of(b"a", None, b"c"), kafka, PLACES)
    assert (alike.holds, alike.seen) == (True, "6 records of 2 topics")
    assert not compare(spoil(change), kafka, PLACES).holds


def test_the_report_shows_the_sums_and_counts_the_checks() -> None:
    """The sums stand in a table of their own, and a check of the sinks that is broken ends the demo with 1."""
    proof = Proof(took_s=1.5, slices=(SLICE,), checks=(Check("rows", holds=True, seen="6"),), reports="r")
    console = Console(file=StringIO(), width=200)
    assert print_report(msgspec.structs.replace(GOOD, proof=proof), console) == 0
    broken = msgspec.structs.replace(proof, checks=(Check("rows", holds=False, seen="5"),))
    assert print_report(msgspec.structs.replace(GOOD, proof=broken), console) == 1
    assert isinstance(console.file, StringIO)
    assert "02:36:00" in console.file.getvalue()


def test_a_new_demo_takes_the_old_ones_database_away(tmp_path: Path) -> None:
    """Also where Postgres lies elsewhere, behind a link."""
    elsewhere, demo = tmp_path / "elsewhere", tmp_path / "demo"
    (elsewhere / "data").mkdir(parents=True)
    demo.mkdir()
    (demo / "postgres").symlink_to(elsewhere)
    (demo / "broker").mkdir()
    fresh(Settings.load(data_folder=tmp_path))
    assert not elsewhere.exists()
    assert [it.name for it in demo.iterdir()] == ["lock"]
