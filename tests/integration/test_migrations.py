"""The migrations on a real Postgres: applied once each, whoever comes first, and never changed."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from connectors.sql.migrate import (
    MIGRATIONS,
    NATIVE,
    TIMESCALE,
    MigrationError,
    migrate,
    migrations,
    status,
)
from infra.cli import main
from tests.integration.postgres import postgres


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A migrated database."""
    with postgres() as address:
        asyncio.run(_migrate(address))
        yield address


async def _migrate(address: str) -> None:
    connection = await asyncpg.connect(address)
    await migrate(connection)
    await connection.close()


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Any]:
    """The owner's connection."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def test_a_second_time_nothing_is_applied(owner: Any) -> None:
    """All is applied once; the ledger has each file's digest, and plain Postgres takes the native series."""
    standing = await status(owner)
    assert (standing.variant, standing.pending) == (NATIVE, ())
    assert standing.applied == migrations(NATIVE)
    assert await migrate(owner) == ()


async def test_several_at_once_apply_each_once() -> None:
    """Two that start together end with one set of tables, each file applied by one of them."""
    with postgres() as address:
        connections = [await asyncpg.connect(address) for _ in range(3)]
        done = await asyncio.gather(*(migrate(it) for it in connections))
        assert sorted(map(len, done)) == [0, 0, len(migrations(NATIVE))]
        for connection in connections:
            await connection.close()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda it: (it / "0002_tables.sql").write_text("SELECT 1"), "0002_tables is not what was applied"),
        (lambda it: (it / "0007_orders_as_asked.sql").unlink(), "use the newer version"),
        (
            lambda it: (it / "0006_views.sql").rename(it / "0006_looks.sql"),
            "has 0006_views where this version has 0006_looks",
        ),
        (lambda it: (it / "0002_tables.sql").unlink(), "a number is missing or doubled"),
        (lambda it: (it / "0009_more.sql").write_text(""), "a number is missing or doubled"),
        (lambda it: (it / "more.sql").write_text(""), "is no migration's name"),
    ],
)
async def test_a_changed_history_is_refused(owner: Any, tmp_path: Path, spoil: Any, message: str) -> None:
    """Whatever differs from what was applied is refused before anything is done, and the message says why."""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    spoil(folder)
    with pytest.raises(MigrationError, match=message):
        await migrate(owner, folder)


async def test_a_failing_file_leaves_nothing(dsn: str, tmp_path: Path) -> None:
    """A file that fails half way is undone whole and stays pending; the lock is free again."""
    folder = shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    (folder / "0008_half.sql").write_text("CREATE TABLE trading.half (); SELECT 1 / 0;")
    connection = await asyncpg.connect(dsn)
    for _ in range(2):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await migrate(connection, folder)
    assert await connection.fetchval("SELECT to_regclass('trading.half')") is None
    assert [it.name for it in (await status(connection, folder)).pending] == ["half"]
    await connection.close()


def test_both_variants_have_the_same_names() -> None:
    """What TimescaleDB gets and what plain Postgres gets differs in content alone."""
    native, timescale = migrations(NATIVE), migrations(TIMESCALE)
    assert [it[:2] for it in native] == [it[:2] for it in timescale]
    assert [it.name for it, other in zip(native, timescale, strict=True) if it != other] == ["series", "bars"]


def test_the_commands_say_what_is_done() -> None:
    """`status` ends with 1 until `migrate` has run; each says what it did; `maintain` passes."""
    with postgres() as address:
        runner = CliRunner(env={"TRADING_POSTGRES_URL": address})
        before = runner.invoke(main, ["db", "status", "--json"])
        assert before.exit_code == 1
        assert len(json.loads(before.stdout)["pending"]) == len(migrations(NATIVE))
        done = runner.invoke(main, ["db", "migrate", "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout) == [f"{it.number:04}_{it.name}" for it in migrations(NATIVE)]
        assert "nothing, all was there" in runner.invoke(main, ["db", "migrate"]).stdout
        assert runner.invoke(main, ["db", "maintain"]).exit_code == 0
        after = runner.invoke(main, ["db", "status"])
        assert after.exit_code == 0
        assert "0001_foundations: applied" in after.stdout


def test_no_database_is_one_line() -> None:
    """Where no Postgres answers, a command says so in one line."""
    runner = CliRunner(env={"TRADING_POSTGRES_URL": "postgresql://trading@127.0.0.1:9/trading"})
    failed = runner.invoke(main, ["db", "status"])
    assert failed.exit_code == 1
    assert "Postgres does not answer" in failed.output
