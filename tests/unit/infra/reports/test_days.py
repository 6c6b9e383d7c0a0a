"""Reports of a whole engine's days in memory: complete ones, and a broken day for each reason why one is not."""

import json
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from infra.auditor.log import LogRecord, Place
from infra.cli import main
from infra.reports import coverage, executions, log_rows
from infra.reports.files import read, schema
from infra.reports.run import REPORTS, Order, from_log
from schemas import codec
from schemas.commands import PlaceOrder
from schemas.envelopes import AccountCommands, AccountEvents
from schemas.events import OrderFilled, OrderRejected
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, SEALS, SETTLEMENT_EVENTS, TRADES
from tests.unit.infra.archive.archived import Archive
from tests.unit.infra.auditor.engine import ENV, MemoryLog
from tests.unit.infra.reports.town import JOURNAL, Town


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """One for all: a test spoils a copy of its log."""
    return Town(tmp_path_factory.mktemp("town"))


@pytest.mark.parametrize("name", REPORTS)
def test_every_day_that_is_over_has_a_complete_report(town: Town, name: str) -> None:
    """All reports of all days are complete and tie, in both formats, with what their manifests count and hash."""
    for day in town.days[:-1]:
        made = [town.make(name, day, suffix) for suffix in (".csv", ".json")]
        assert [it["reasons"] for it in made] == [[], []]
        files = [town.folder / "out" / it["file"] for it in made]
        found = [list(read(path, schema(name))) for path in files]
        assert found[0] == found[1]
        assert made[0]["count"] == len(found[0]) > 0
        assert made[0]["last_sequence"] == len(found[0])
        assert [it["sha256"] for it in made] == [sha256(path.read_bytes()).hexdigest() for path in files]
        manifest = json.loads(files[0].with_name(f"{files[0].name}.manifest.json").read_text())
        assert manifest == made[0]


def test_a_day_closes_as_the_next_opens(town: Town) -> None:
    """Whatever was held at a day's end is held at the next one's start, at the same cost, over all days."""
    days = [_positions(town, day) for day in town.days[:-1]]
    for today, tomorrow in pairwise(days):
        closed = {
            key: (it["closing_quantity"], it["closing_cost"])
            for key, it in today.items()
            if it["closing_quantity"] != "0"
        }
        opened = {
            key: (it["opening_quantity"], it["opening_cost"])
            for key, it in tomorrow.items()
            if it["opening_quantity"] != "0"
        }
        assert closed == opened
    assert any(days)


def _positions(town: Town, day: Any) -> dict[tuple[str, str], dict[str, Any]]:
    made = town.make("positions", day, ".json")
    found = read(town.folder / "out" / made["file"], schema("positions"))
    return {(it["account"], it["instrument"]): it for it in found}


def test_the_events_of_all_days_are_those_of_the_log(town: Town) -> None:
    """No fill of the log is in no report of orders, and none in two."""
    found = []
    for day in town.days:
        made = town.make("orders", day, ".json")
        column = "Trading venue transaction identification code"
        rows = read(town.folder / "out" / made["file"], schema("orders"))
        found += [(it[column], it["Passive or aggressive indicator"]) for it in rows if it[column]]
    fills = [
        (f"1-{item.trade_id}", {"MAKER": "PASV", "TAKER": "AGRE"}[item.liquidity])
        for item in _items(town.log, ACCOUNT_EVENTS)
        if isinstance(item, OrderFilled)
    ]
    assert sorted(found) == sorted(fills)


def _items(log: MemoryLog, topic: str) -> list[Any]:
    values: list[Any] = [
        codec.decode(it.value) for key, found in log.records.items() if key[0] == topic for it in found
    ]
    return [item for value in values for item in value.items]


def test_repeats_change_nothing(town: Town, tmp_path: Path) -> None:
    """What a stage says twice, as after a kill, gives the same bytes."""
    log = town.log.copy()
    for topic in (ACCOUNT_EVENTS, TRADES, SETTLEMENT_EVENTS):
        place = topic, 0
        records = log.records[place]
        for record in records[10:14]:
            records.append(record._replace(offset=len(records), timestamp_ms=records[-1].timestamp_ms))
    del tmp_path
    for name in REPORTS:
        assert town.make(name, log=log)["sha256"] == town.make(name)["sha256"]


# A broken day for each reason.


def spoiled(town: Town, name: str, log: MemoryLog) -> str:
    """The reasons of a report of a spoiled log, which is written and marked all the same."""
    made = town.make(name, log=log)
    assert not made["complete"]
    assert (town.folder / "out" / made["file"]).exists()
    return "\n".join(made["reasons"])


def test_a_day_that_is_not_over(town: Town) -> None:
    """The last day has no end yet: neither the clock nor the stages have passed it."""
    reasons = "\n".join(town.make("trades", town.days[-1])["reasons"])
    assert f"{coverage.NOT_OVER}: account-events 0 " in reasons
    assert f"{coverage.NOT_PASSED}: control 0 " in reasons


def test_a_stage_that_is_behind(town: Town) -> None:
    """A stage whose checkpoint stands before the day's end is named, though the clock is past it."""
    log = town.log.copy()
    place = f"{ENV}-settlement-a-changelog", 1
    log.records[place] = []
    assert f"{coverage.NOT_PASSED}: settlement 1 at " in spoiled(town, "positions", log)


@pytest.mark.parametrize("name", REPORTS)
def test_a_source_that_begins_later(town: Town, name: str) -> None:
    """Retention has deleted the day's start: since when all is there is said."""
    log, place = town.log.copy(), (ACCOUNT_EVENTS, 1)
    day = town.days[2]
    first = next(it.offset for it in log.records[place] if it.timestamp_ms * 10**6 > day.begin_ns)
    log.delete(place, first + 5)
    assert f"{coverage.BEGINS_LATER}: all is there from {day}T" in spoiled(town, name, log)


@pytest.mark.parametrize("topic", [ACCOUNT_EVENTS, TRADES, SETTLEMENT_EVENTS])
def test_a_gap(town: Town, topic: str) -> None:
    """A record that is not there is a gap of its origin, and the report says so."""
    place: Place = next(
        key for key, records in town.log.records.items() if key[0] == topic and len(records) > 30
    )
    log = town.log.copy()
    del log.records[place][20]
    assert f"{log_rows.GAP}: {topic} " in spoiled(town, "trades", log)


def test_a_changed_record(town: Town) -> None:
    """A record with other bytes is on another chain."""
    log, place = town.log.copy(), (TRADES, 0)
    record = next(it for it in log.records[place] if it.value)
    value: Any = codec.decode(record.value)
    forged = codec.encode(type(value)(items=value.items * 2, origin=value.origin))
    log.records[place][record.offset] = record._replace(value=forged)
    assert "is on another chain" in spoiled(town, "trades", log)


def test_a_record_that_cannot_be_read(town: Town) -> None:
    """What is no engine's record is named by its place."""
    log, place = town.log.copy(), (ACCOUNT_COMMANDS, 0)
    log.records[place][3] = log.records[place][3]._replace(value=b"what?")
    assert f"{log_rows.UNREADABLE}: account-commands 0 at 3" in spoiled(town, "orders", log)


def test_settlement_that_has_not_spoken(town: Town) -> None:
    """A fill that settlement has not confirmed is missed, though no origin has a gap."""
    log, place = town.log.copy(), (SETTLEMENT_EVENTS, 0)
    day = town.days[2]
    until = next(n for n, it in enumerate(log.records[place]) if it.timestamp_ms * 10**6 > day.begin_ns)
    log.records[place] = log.records[place][: until + 4]
    reasons = spoiled(town, "positions", log)
    assert executions.MISSING in reasons
    assert "confirmation" in reasons


@pytest.mark.parametrize("name", REPORTS)
def test_no_seals(town: Town, name: str) -> None:
    """Where nobody has sealed the day every place of it is named."""
    log = town.log.copy()
    log.records[JOURNAL] = []
    assert f"{coverage.UNSEALED}: account-" in spoiled(town, name, log)


def test_seals_that_end_too_early(town: Town) -> None:
    """Records of the day behind the last seal are named with the first of them."""
    log, place = town.log.copy(), (TRADES, 0)
    sealed: list[Any] = [codec.decode(it.value) for it in log.records[JOURNAL]]
    day_ms = town.days[2].begin_ns // 10**6
    kept = [
        record
        for record, seal in zip(log.records[JOURNAL], sealed, strict=True)
        if (seal.topic, seal.partition) != place or seal.last_timestamp_ms < day_ms
    ]
    log.records[JOURNAL] = kept
    assert f"{coverage.UNSEALED}: trades 0 from " in spoiled(town, "trades", log)


def test_a_seal_that_is_missing(town: Town) -> None:
    """A hole in a chain of seals is named by its number."""
    log = town.log.copy()
    log.records[JOURNAL] = [it for it in log.records[JOURNAL] if not _is_second(it.value)]
    assert f"{coverage.SEALS_MISSING}: account-events 0, 1" in spoiled(town, "trades", log)


def _is_second(value: Any) -> bool:
    seal: Any = codec.decode(value)
    return (seal.topic, seal.partition, seal.number) == (ACCOUNT_EVENTS, 0, 1)


def test_a_log_without_a_journal(town: Town) -> None:
    """A log that has no topic of seals is not sealed."""
    log = town.log.copy()
    del log.records[SEALS, 0]
    assert coverage.UNSEALED in spoiled(town, "trades", log)


@pytest.mark.parametrize("name", REPORTS)
def test_the_same_bytes_from_the_archive(town: Town, name: str, tmp_path: Path) -> None:
    """From the bucket alone, without keys and with some records twice: the report is the same file, and complete."""
    archive = Archive(tmp_path / "archive")
    rows = [(place, it) for place, records in town.log.records.items() for it in records]
    archive.commit(rows)
    archive.commit(rows[100:200])
    where = ["--from", "archive", "--archive", f"file://{archive.folder}", "--out", str(tmp_path / "out")]
    words = ["report", name, "--day", str(town.days[2]), *where, "--json"]
    done = CliRunner(env=town.settings.environment()).invoke(main, words)
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert (made["source"], made["reasons"]) == ("archive", [])
    assert made["sha256"] == town.make(name)["sha256"]


def test_an_order_that_is_refused_behind_midnight(town: Town, tmp_path: Path) -> None:
    """Asked for on one day and refused, without an id, on the next: its terms are known all the same."""
    day = town.days[2]
    asked = PlaceOrder(
        account="alice",
        client_order_id="late",
        instrument="BTC",
        side="SELL",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=3,
        price_ticks=100,
        at_ns=day.begin_ns - 1,
    )
    no = OrderRejected(
        account="alice",
        client_order_id="late",
        instrument="BTC",
        order_id=None,
        reason="insufficient_holding",
        reason_code=124,
        at_ns=day.begin_ns + 1,
    )
    log = town.log.copy()
    for topic, value in (
        (ACCOUNT_COMMANDS, codec.encode(AccountCommands(items=(asked,)))),
        (ACCOUNT_EVENTS, codec.encode(AccountEvents(items=(no,)))),
    ):
        records = log.records[topic, 0]
        records.append(LogRecord(len(records), records[-1].timestamp_ms, None, value))
    made = from_log(Order("orders", day, tmp_path, ".json"), town.settings, log, "memory")
    first = next(read(tmp_path / made["file"], schema("orders")))
    assert (first["Client order identifier"], first["Buy-sell indicator"]) == ("late", "SELL")
    assert (first["Initial quantity"], first["Date of receipt"]) == ("3", str(town.days[1]))
