"""Reports and reconciliation: from Postgres as from the log, and on a real engine."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from agents.projection import Projection
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord
from connectors.sql.migrate import migrate
from infra.auditor.log import LogRecord, Place
from infra.cli import main
from infra.reports import run as reports
from infra.reports.coverage import check_seals
from infra.reports.day import Day
from infra.reports.notes import Notes
from infra.settings import Settings
from schemas import codec
from schemas.audit import Act
from schemas.commands import Tick
from schemas.envelopes import ControlCommands
from schemas.risk_events import BreakClosed, BreakFound
from schemas.sinks import BY_RECORD
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    AUDIT,
    CONTROL,
    MARKET_DATA,
    ORDER_EVENTS,
    PROJECTED,
    RISK_EVENTS,
    SETTLEMENT_EVENTS,
    TRADES,
)
from tests.chaos.harness import Chaos
from tests.integration.postgres import SINK_ROLE, as_role, postgres, upsert
from tests.integration.test_check_sinks import is_whole
from tests.unit.infra.reports.town import Town

# The same days, from the log and from Postgres.


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """An engine's days in memory, and in a real Postgres what the projection makes of them."""
    with postgres() as address:
        town = Town(tmp_path_factory.mktemp("town"))
        town.settings = town.settings.model_copy(
            update={"postgres_url": Settings(postgres_url=address).postgres_url}
        )
        _project(town)
        asyncio.run(_store(address, town))
        yield town


def _project(town: Town) -> None:
    projection = Projection(town.settings.epoch)
    for (topic, partition), records in list(town.log.records.items()):
        if topic in PROJECTED:
            batch = Batch(topic, partition, [InboxRecord(*it) for it in records])
            for output in projection.decide(batch):
                place: Place = output.topics[0], output.partition
                flat = town.log.records.setdefault(place, [])
                flat.append(LogRecord(len(flat), 0, output.key, output.value))


async def _store(address: str, town: Town) -> None:
    connection = await asyncpg.connect(address)
    await migrate(connection, writers=(SINK_ROLE,))
    await connection.close()
    writer = await asyncpg.connect(as_role(address, SINK_ROLE))
    tables = {it.topic: it for it in BY_RECORD.values()}
    for (topic, _), records in town.log.records.items():
        if topic in tables:
            for record in records:
                row: Any = codec.decode(record.value)
                await upsert(writer, tables[topic], msgspec.structs.asdict(row))
    await writer.close()


def from_postgres(town: Town, name: str, day: Day, suffix: str = ".csv") -> dict[str, Any]:
    """A report of the tables."""
    asked = reports.Order(name, day, town.folder / "postgres", suffix)
    return reports.from_postgres(asked, town.settings, town.log)


@pytest.mark.parametrize("name", reports.REPORTS)
def test_the_same_bytes_from_postgres_as_from_the_log(town: Town, name: str) -> None:
    """Each report of each day is the same file, byte for byte, wherever it comes from, and complete."""
    for day in town.days[:-1]:
        for suffix in (".csv", ".json"):
            ours, theirs = town.make(name, day, suffix), from_postgres(town, name, day, suffix)
            assert theirs["reasons"] == []
            one, other = town.folder / "out" / ours["file"], town.folder / "postgres" / theirs["file"]
            assert one.read_bytes() == other.read_bytes()
            assert ours["sha256"] == theirs["sha256"]
            assert ours["count"] > 0


@pytest.mark.parametrize("name", reports.REPORTS)
def test_tables_that_are_behind_are_named(town: Town, name: str) -> None:
    """A record that stands on a flat topic and is no row yet makes the report incomplete, with its place."""
    kind = reports.REPORTS[name]
    sink = BY_RECORD[kind.records[0]]
    place = sink.topic, 0
    last: Any = codec.decode(town.log.records[place][-1].value)
    field = "trade_id" if name != "orders" else "sequence"
    later = msgspec.structs.replace(last, **{field: getattr(last, field) + 4096})
    record = LogRecord(len(town.log.records[place]), 0, None, codec.encode(later))
    town.log.records[place].append(record)
    try:
        reasons = from_postgres(town, name, town.days[2])["reasons"]
    finally:
        town.log.records[place].pop()
    assert reasons == [f"{reports.NOT_STORED}: {sink.table} has not {sink.topic} 0 at {record.offset}"]


def test_tables_without_kafka_are_reported_as_unchecked(town: Town, tmp_path: Path) -> None:
    """With Kafka gone the report is written, and says that nobody knows whether the tables are whole."""
    settings = town.settings.model_copy(update={"kafka_bootstrap": "127.0.0.1:1"})
    words = [
        "report",
        "trades",
        "--day",
        str(town.days[2]),
        "--from",
        "postgres",
        "--out",
        str(tmp_path),
        "--json",
    ]
    done = CliRunner(env=settings.environment()).invoke(main, words)
    assert done.exit_code == 1
    manifest = json.loads(done.stdout)
    assert manifest["reasons"] == [reports.UNCHECKED]
    assert "does not answer" in done.stderr
    assert manifest["sha256"] == town.make("trades")["sha256"]


# A real engine.

ENGINE: Final = "control+intake+risk+matching+settlement"
PROJECTION: Final = "projection+order-states"
SOURCES: Final = (ACCOUNT_COMMANDS, ACCOUNT_EVENTS, TRADES, SETTLEMENT_EVENTS, MARKET_DATA)
MINUTE_MS: Final = 60_000
TODAY: Final = Day(int(datetime.now(UTC).timestamp()) // 86_400)


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    """An engine that has traded, whose rows are all in Postgres."""
    with (
        postgres() as address,
        Chaos(
            tmp_path_factory.mktemp("engine"), 12, (ENGINE, PROJECTION, "audit"), postgres_url=address
        ) as chaos,
    ):
        with chaos.load():
            chaos.until_said(300, ORDER_EVENTS)
        chaos.until_quiet()
        asyncio.run(_prepare(address))
        chaos.until(lambda: is_whole(chaos), "all is in Postgres")
        yield chaos


async def _prepare(address: str) -> None:
    connection = await asyncpg.connect(address)
    await migrate(connection, writers=(SINK_ROLE,))
    await connection.close()


def trading(chaos: Chaos, *words: str) -> Result:
    """A command on this engine."""
    return CliRunner(env=chaos.settings.environment()).invoke(main, list(words))


def reported(chaos: Chaos, name: str, source: str, out: Path) -> tuple[int, dict[str, Any]]:
    """`trading report` of today: its exit code and its manifest."""
    done = trading(chaos, "report", name, "--day", str(TODAY), "--from", source, "--out", str(out), "--json")
    return done.exit_code, json.loads(done.stdout)


def break_of(done: Result) -> dict[str, Any]:
    """The one break that was found."""
    assert done.exit_code == 1, done.output
    (found,) = json.loads(done.stdout)["breaks"]
    return dict(found)


def said(chaos: Chaos) -> list[Any]:
    """What reconciliations wrote to `risk-events`."""
    values: list[Any] = [
        codec.decode(it.value) for partition in range(2) for it in chaos.records(RISK_EVENTS, partition)
    ]
    return [item for it in values for item in it.items if isinstance(item, BreakFound | BreakClosed)]


def as_owner(chaos: Chaos, *statements: str) -> list[Any]:
    """Do this to the tables as their owner; gives the last one's rows."""

    async def do() -> list[Any]:
        connection = await asyncpg.connect(chaos.settings.postgres_url.get_secret_value())
        try:
            found: list[list[Any]] = [await connection.fetch(it) for it in statements]
            return found[-1]
        finally:
            await connection.close()

    return asyncio.run(do())


def test_the_engine_agrees_with_postgres_and_with_its_own_replay(chaos: Chaos) -> None:
    """No breaks: neither with the tables nor with a fold of the log; each reconciliation is an act."""
    for against in ("postgres", "kafka"):
        done = trading(chaos, "reconcile", "--against", against)
        assert done.exit_code == 0, done.output
        assert "no breaks" in done.stdout
    acts: list[Any] = [codec.decode(it.value) for it in chaos.records(AUDIT)]
    done_acts = [it for it in acts if it.action == "RECONCILE"]
    assert [(it.outcome, json.loads(it.details)["against"]) for it in done_acts] == [
        ("ASKED", "postgres"),
        ("APPLIED", "postgres"),
        ("ASKED", "replay of kafka"),
        ("APPLIED", "replay of kafka"),
    ]
    assert json.loads(done_acts[1].after)["compared"] > 500


def test_a_changed_row_is_a_break_with_its_trades_and_its_age(chaos: Chaos) -> None:
    """A position that the owner changed is found, followed, explained, and closed when it is right again."""
    change = (
        "UPDATE trading.positions SET quantity_lots = quantity_lots + {} WHERE (account, instrument) ="
        " (SELECT account, instrument FROM trading.positions ORDER BY version DESC, account, instrument LIMIT 1)"
        " RETURNING account, instrument, quantity_lots, version"
    )
    switch = "ALTER TABLE trading.positions {} TRIGGER keep_newer"
    (row,) = as_owner(chaos, switch.format("DISABLE"), change.format(1))
    found = break_of(trading(chaos, "reconcile", "--against", "postgres", "--timeout", "0", "--json"))
    assert (found["account"], found["instrument"]) == (row["account"], row["instrument"])
    assert found["engine"] == str(row["quantity_lots"] - 1)
    assert found["other"] == str(row["quantity_lots"])
    assert found["cause_count"] == row["version"]
    assert {it["kind"] for it in found["causes"]} == {"TRADE"}
    again = break_of(trading(chaos, "reconcile", "--against", "postgres", "--timeout", "0", "--json"))
    assert again["first_seen"] == found["first_seen"]
    as_owner(chaos, change.format(-1), switch.format("ENABLE"))
    done = trading(chaos, "reconcile", "--against", "postgres", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["closed"] == [found["break_id"]]
    told = [it for it in said(chaos) if it.break_id == found["break_id"]]
    assert [type(it) for it in told] == [BreakFound, BreakFound, BreakClosed]
    assert len({it.first_seen_ns for it in told}) == 1
    assert told[1].at_ns > told[0].at_ns == told[0].first_seen_ns


def test_a_row_that_stayed_behind_tells_since_when(chaos: Chaos) -> None:
    """A balance that Postgres does not have yet differs since the first posting after what it has."""
    kept = as_owner(
        chaos,
        "CREATE TABLE kept AS TABLE trading.balances",
        "DELETE FROM trading.balances WHERE account = 'bench0000' RETURNING cash_minor",
    )
    assert len(kept) == 1
    found = break_of(trading(chaos, "reconcile", "--against", "postgres", "--timeout", "0", "--json"))
    as_owner(chaos, "TRUNCATE trading.balances", "INSERT INTO trading.balances TABLE kept", "DROP TABLE kept")
    assert (found["account"], found["currency"], found["other"]) == ("bench0000", "USD", "nothing")
    assert found["causes"][0]["kind"] == "DEPOSIT"
    assert found["since"] is not None
    assert trading(chaos, "reconcile", "--against", "postgres").exit_code == 0


def test_a_statement_is_compared(chaos: Chaos, tmp_path: Path) -> None:
    """What a custodian says of an account: right to the cent, or a break under his name; bad lines are named."""
    (cash,) = as_owner(chaos, "SELECT cash_minor FROM trading.balances WHERE account = 'bench0001'")
    file = tmp_path / "statement.csv"
    right = (
        f"account,currency,amount\nbench0001,USD,{cash['cash_minor'] // 100}.{cash['cash_minor'] % 100:02}\n"
    )
    file.write_text(right)
    done = trading(chaos, "reconcile", "--against", str(file), "--name", "custodian")
    assert done.exit_code == 0, done.output
    file.write_text("account,currency,amount\nbench0001,USD,1.5\n")
    found = break_of(trading(chaos, "reconcile", "--against", str(file), "--name", "custodian", "--json"))
    assert (found["break_id"], found["other"]) == ("custodian bench0001 cash USD", "1.5")
    file.write_text("account,currency,amount\nbench0001,USD,1.555\nbench0001,XYZ,1\n")
    refused = trading(chaos, "reconcile", "--against", str(file))
    assert refused.exit_code == 1
    assert "line 2: 1.555 is not a multiple of the minor unit of USD" in refused.output
    assert "line 3: currency XYZ is not defined" in refused.output


def test_what_an_edge_writes_to_risk_events_breaks_no_check(chaos: Chaos) -> None:
    """After all of that the audit of the log passes: origins are contiguous, tables equal their folds."""
    assert said(chaos)
    report = chaos.check()
    assert report.breaches == 0, list(report.lines())
    chaos.until(lambda: is_whole(chaos), "breaks are rows")
    rows = as_owner(chaos, "SELECT event, origin FROM trading.risk_events WHERE event LIKE 'Break%'")
    assert {(it["event"], it["origin"]) for it in rows} == {
        ("BreakFound", "edge/risk-events"),
        ("BreakClosed", "edge/risk-events"),
    }


def test_a_day_of_a_real_engine(chaos: Chaos, tmp_path: Path) -> None:
    """Today is not over, then it is: all reports are complete, and the same from Kafka as from Postgres."""
    code, manifest = reported(chaos, "trades", "kafka", tmp_path / "early")
    assert code == 1
    assert manifest["reasons"][0].startswith("the day is not over by the engine's clock")
    assert (tmp_path / "early" / manifest["file"]).exists()
    _end_the_day(chaos)
    for name in reports.REPORTS:
        codes = []
        for source in ("kafka", "postgres"):
            code, manifest = reported(chaos, name, source, tmp_path / source)
            assert (code, manifest["reasons"]) == (0, [])
            assert manifest["count"] > 0
            codes.append(manifest["sha256"])
        assert codes[0] == codes[1]


def _end_the_day(chaos: Chaos) -> None:
    """Engine time reaches tomorrow, and log time goes on by minutes, so that all of today is sealed."""
    tick = Tick(tick_ns=TODAY.end_ns, at_ns=TODAY.end_ns)
    chaos.produce(CONTROL, codec.encode(ControlCommands(items=(tick,))))
    chaos.until_quiet()
    chaos.until(lambda: is_whole(chaos), "all is in Postgres")
    done: list[Any] = []
    producer = Producer(chaos.settings.kafka())
    stamp_ms = int(datetime.now(UTC).timestamp() * 1000) + 5 * MINUTE_MS
    act = _an_act()
    producer.produce(
        AUDIT, codec.encode(act), timestamp=stamp_ms, on_delivery=lambda error, _: done.append(error)
    )
    assert producer.flush(30) == 0
    assert done == [None]

    def is_sealed() -> bool:
        notes = Notes()
        places = [(topic, it) for topic in SOURCES for it in range(2)]
        check_seals(chaos.log, places, TODAY, notes)
        return not notes.reasons

    chaos.until(is_sealed, "today is sealed")


def _an_act() -> Act:
    return Act(
        act_id="later",
        outcome="APPLIED",
        action="WAIT",
        target="everyone",
        operator="test",
        os_user="test",
        host="test",
        program="test",
        command_id=None,
        details=None,
        before=None,
        after=None,
        reason=None,
        note=None,
        at_ns=1,
    )
