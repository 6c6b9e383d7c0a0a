"""`trading check --sinks` on real topics and a real Postgres: whatever is not as the topics say is named."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any, Final

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from connectors.sql.migrate import migrate
from infra.acts import acting
from infra.auditor.report import Report
from infra.auditor.run import run_sinks
from infra.cli import main
from infra.settings import Settings
from infra.supervisor import State
from schemas import codec
from schemas.sinks import BY_TABLE, SINKS
from schemas.topics import BY_NAME, LEDGER, ORDER_EVENTS, TRADES_FLAT
from tests.chaos.harness import Chaos
from tests.integration.postgres import SINK_ROLE, as_role, postgres, upsert

ENGINE: Final = "control+intake+risk+matching+settlement"
PROJECTION: Final = "projection+order-states"
TIMEOUT_S: Final = 1.0


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    """An engine with a Postgres that has all rows; nothing flows any more."""
    with (
        postgres() as address,
        Chaos(tmp_path_factory.mktemp("engine"), 12, (ENGINE, PROJECTION), postgres_url=address) as chaos,
    ):
        with chaos.load():
            chaos.until_said(300, ORDER_EVENTS)
            chaos.until_said(10, TRADES_FLAT)
        with acting(chaos.settings, "TEST", "everyone"):
            chaos.until_quiet()
        asyncio.run(_prepare(address))
        chaos.until(lambda: is_whole(chaos), "all is in Postgres")
        yield chaos


async def _prepare(address: str) -> None:
    connection = await asyncpg.connect(address)
    await migrate(connection, writers=(SINK_ROLE,))
    await connection.close()


def is_whole(chaos: Chaos) -> bool:
    """Carries what is on the flat topics to Postgres, as it is by now, and checks."""
    asyncio.run(_carry(chaos))
    return not run_sinks(chaos.settings, TIMEOUT_S).breaches


async def _carry(chaos: Chaos) -> None:
    connection = await asyncpg.connect(as_role(address_of(chaos.settings), SINK_ROLE))
    for sink in SINKS:
        for partition in range(chaos.counts.of(BY_NAME[sink.topic])):
            place = sink.topic, partition
            for record in chaos.log.read(place, chaos.log.bounds(place)):
                row: Any = codec.decode(record.value)
                await upsert(connection, sink, msgspec.structs.asdict(row))
    await connection.close()


def address_of(settings: Settings) -> str:
    """Postgres, as its owner."""
    return settings.postgres_url.get_secret_value()


def spoiled(chaos: Chaos, *statements: str, table: str = "trades") -> Report:
    """What a check finds after the owner did this to the rows of a table; it is undone."""

    async def do(*todo: str) -> None:
        connection = await asyncpg.connect(address_of(chaos.settings))
        for statement in todo:
            await connection.execute(statement)
        await connection.close()

    asyncio.run(do(f"CREATE TABLE kept AS TABLE trading.{table}", *statements))
    try:
        return run_sinks(chaos.settings, TIMEOUT_S)
    finally:
        back = (f"TRUNCATE trading.{table}", f"INSERT INTO trading.{table} TABLE kept", "DROP TABLE kept")
        asyncio.run(do(*back))


def trades_of(report: Report) -> list[str]:
    """What was found about trades."""
    return found_of(report, "trades")


def found_of(report: Report, table: str) -> list[str]:
    """What was found about one table; of the others there must be nothing."""
    assert [it.name for it in report if it.breaches and not it.name.startswith(f"{table} ")] == []
    return next(it.examples for it in report if it.name.startswith(f"{table} "))


def test_a_whole_database_passes(chaos: Chaos) -> None:
    """Every table has been compared with its topic, row by row, and the command ends with 0."""
    report = run_sinks(chaos.settings, TIMEOUT_S)
    counts = {it.name.split()[0]: it.count for it in report}
    assert report.breaches == 0, list(report.lines())
    assert counts.keys() == {*BY_TABLE, "everything"}
    empty = {name for name, count in counts.items() if not count}
    assert empty <= {"dead_letters"}
    passed = CliRunner(env=chaos.settings.environment()).invoke(main, ["check", "--sinks"])
    assert passed.exit_code == 0, passed.output
    assert "Every check passed." in passed.stdout


ONE: Final = "trade_id = (SELECT min(trade_id) FROM trading.trades)"
DELETE_ONE: Final = f"DELETE FROM trading.trades WHERE {ONE}"  # noqa: S608 - all of it is written here
SET_ONE: Final = f"UPDATE trading.trades SET {{}} WHERE {ONE}"  # noqa: S608
DOUBLE_ONE: Final = (
    "INSERT INTO trading.trades SELECT epoch, 77, instrument, price_ticks, quantity_lots, aggressor_side,"  # noqa: S608
    " maker_order_id, maker_client_order_id, maker_account, taker_order_id, taker_client_order_id,"
    f" taker_account, at_ns FROM trading.trades WHERE {ONE}"
)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (DELETE_ONE, "missing in Postgres"),
        (SET_ONE.format("maker_account = 'thief'"), ": maker_account is 'thief', not '"),
        (SET_ONE.format("price_ticks = price_ticks + 1"), ": price_ticks is "),
        (DOUBLE_ONE, "trade_id=77: not on the topic trades-flat"),
    ],
)
def test_one_row_that_is_not_as_said_is_named(chaos: Chaos, statement: str, said: str) -> None:
    """One row missing, changed in any column, or too much: the check names it, and what is wrong with it."""
    (found,) = trades_of(spoiled(chaos, statement))
    assert found.startswith("trades at_ns=")
    assert said in found


def test_a_forged_act_is_named(chaos: Chaos) -> None:
    """Who did what is compared as well: another name in the audit's table is found."""
    forged = "UPDATE trading.audit SET operator = 'nobody' WHERE outcome = 'ASKED'"
    (found,) = found_of(spoiled(chaos, forged, table="audit"), "audit")
    assert found.startswith("audit act_id=act-")
    assert " outcome=ASKED: operator is 'nobody', not '" in found


def test_a_moved_key_is_two_findings(chaos: Chaos) -> None:
    """A row under another key is one missing and one too much."""
    found = trades_of(spoiled(chaos, SET_ONE.format("trade_id = 78")))
    assert ["missing" in it for it in found] == [True, False]
    assert "trade_id=78: not on the topic" in found[1]


def test_each_of_many_is_named(chaos: Chaos) -> None:
    """All that is missing is listed, not the first few; the command ends with 1."""
    report = spoiled(chaos, "TRUNCATE trading.trades")
    found = trades_of(report)
    assert len(found) == report.breaches == len(set(found)) > 5


def test_a_stale_state_is_found(chaos: Chaos) -> None:
    """A state that stayed behind its topic is named with what is behind."""
    connection: Any = None

    async def set_back() -> None:
        nonlocal connection
        connection = await asyncpg.connect(address_of(chaos.settings))
        await connection.execute("ALTER TABLE trading.positions DISABLE TRIGGER keep_newer")
        await connection.execute("UPDATE trading.positions SET version = version - 1")
        await connection.execute("ALTER TABLE trading.positions ENABLE TRIGGER keep_newer")
        await connection.close()

    asyncio.run(set_back())
    report = run_sinks(chaos.settings, TIMEOUT_S)
    (tally,) = (it for it in report if it.breaches)
    assert tally.name == "positions has the rows of positions"
    assert all(": version is " in it for it in tally.examples)
    assert is_whole(chaos), "a replay of the topic brings it forward again"


def test_a_projection_that_is_behind_is_found(chaos: Chaos) -> None:
    """What stands on the engine's topics and was not projected is a breach, though rows and flat topics agree."""
    chaos.stop(PROJECTION)
    with chaos.load():
        chaos.until_said(50)
    report = run_sinks(chaos.settings, TIMEOUT_S)
    (tally,) = (it for it in report if it.breaches)
    assert tally.name == "everything on the engine's topics is projected"
    assert any(it.startswith("projection, settlement-events ") for it in tally.examples)
    assert any(it.startswith("order-states, account-events ") for it in tally.examples)
    failed = CliRunner(env=chaos.settings.environment()).invoke(main, ["check", "--sinks", "--timeout", "1"])
    assert failed.exit_code == 1
    chaos.start(PROJECTION)
    chaos.until(lambda: chaos.state(PROJECTION) is State.READY, "the projection is back")
    chaos.until(lambda: is_whole(chaos), "all is in Postgres again")


def test_a_record_that_stops_the_states_can_be_skipped(chaos: Chaos) -> None:
    """`trading skip` knows the stage of orders' states as any other, and refuses what it has passed."""
    runner = CliRunner(env=chaos.settings.environment())
    refused = runner.invoke(main, ["skip", "order-states", "0", "0", "--note", "test"])
    assert refused.exit_code == 1
    assert "replica a of order-states has passed offset 0 of partition 0" in refused.output


def test_a_topic_that_contradicts_itself_is_found(chaos: Chaos) -> None:
    """Two contents under one key are a breach, whichever of them the table has."""
    (row, *_) = (
        codec.decode(it.value) for it in chaos.log.read((TRADES_FLAT, 0), chaos.log.bounds((TRADES_FLAT, 0)))
    )
    forged = msgspec.structs.replace(row, taker_account="thief")
    producer = Producer(chaos.settings.kafka())
    producer.produce(TRADES_FLAT, codec.encode(forged), partition=0)
    assert producer.flush(30) == 0
    (found,) = trades_of(run_sinks(chaos.settings, TIMEOUT_S))
    assert found.endswith("the topic says two things of it")


def test_garbage_on_a_flat_topic_is_named(chaos: Chaos) -> None:
    """What no schema reads is a breach with its place, and all else is compared."""
    producer = Producer(chaos.settings.kafka())
    producer.produce(LEDGER, b"garbage", partition=0)
    assert producer.flush(30) == 0
    report = run_sinks(chaos.settings, TIMEOUT_S)
    (found,) = next(it.examples for it in report if it.name.startswith("ledger "))
    assert re.match(r"ledger 0 at \d+: ", found)
    assert {it.name.split()[0]: it.count for it in report}.keys() == {*BY_TABLE, "everything"}


def test_no_tables_is_one_line(chaos: Chaos) -> None:
    """A database without the tables is told so in one line, with what to do."""
    with postgres() as address:
        env = {**chaos.settings.environment(), "TRADING_POSTGRES_URL": address}
        failed = CliRunner(env=env).invoke(main, ["check", "--sinks"])
    assert failed.exit_code == 1
    assert "run `trading db migrate`" in failed.output
