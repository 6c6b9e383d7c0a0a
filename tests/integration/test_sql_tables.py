"""The tables on a real Postgres: what their triggers let through, their partitions, and the views' numbers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, get_type_hints

import asyncpg
import pytest

from connectors.sql.migrate import maintain, migrate
from schemas.sinks import SINKS, Sink
from tests.integration.postgres import SINK_ROLE, Connection, as_role, base_of, postgres, row_of, rows, upsert

TYPES: Final = {int: "bigint", str: "text", bool: "boolean", bytes: "bytea"}
DAY_NS: Final = 86_400 * 10**9
APPENDED: Final = [it for it in SINKS if not it.is_state]
SERIES: Final = [it for it in SINKS if it.is_series]
STATES: Final = [it for it in SINKS if it.is_state]
by_table: Final = pytest.mark.parametrize
APPEND_ONLY: Final = by_table("sink", APPENDED, ids=lambda it: it.table)


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A migrated database with a role for the sink."""
    with postgres() as address:
        asyncio.run(_prepare(address))
        yield address


async def _prepare(address: str) -> None:
    connection = await asyncpg.connect(address)
    await connection.execute(
        "CREATE ROLE mighty LOGIN SUPERUSER; ALTER DATABASE trading SET timezone = 'Pacific/Auckland'"
    )
    await migrate(connection, writers=(SINK_ROLE, "nobody here"))
    await connection.execute("CREATE ROLE person LOGIN IN ROLE trading_reader")
    await connection.close()


@pytest.fixture
async def owner(dsn: str) -> AsyncIterator[Connection]:
    """The owner's connection; what a test did is undone."""
    async for connection in _connection(dsn):
        yield connection


@pytest.fixture
async def writer(dsn: str) -> AsyncIterator[Connection]:
    """The sink's."""
    async for connection in _connection(as_role(dsn, SINK_ROLE)):
        yield connection


async def _connection(address: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(address)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


@by_table("sink", SINKS, ids=lambda it: it.table)
async def test_a_table_has_its_records_fields(owner: Connection, sink: Sink) -> None:
    """Each column is a field of the record, under its name, of its type and as nullable; the keys are the same."""
    found = await owner.fetch(
        "SELECT column_name, data_type, is_nullable = 'YES' AS nullable FROM information_schema.columns"
        " WHERE table_schema = 'trading' AND table_name = $1 ORDER BY ordinal_position",
        sink.table,
    )
    hints = {name: base_of(hint) for name, hint in get_type_hints(sink.record).items()}
    assert [tuple(it) for it in found] == [
        (name, TYPES[plain], nullable) for name, (plain, nullable) in hints.items()
    ]
    key = await owner.fetch(
        "SELECT attname FROM pg_index, unnest(indkey) WITH ORDINALITY AS k(number, place), pg_attribute"
        " WHERE indrelid = $1::regclass AND indisprimary AND attrelid = indrelid AND attnum = number ORDER BY place",
        f"trading.{sink.table}",
    )
    assert tuple(it["attname"] for it in key) == sink.key


async def test_the_series_are_cut_by_time(owner: Connection) -> None:
    """What is kept a day a piece are the tables whose key begins with the time, and no others."""
    found = await owner.fetch("SELECT name FROM trading.series")
    assert {it["name"] for it in found} == {it.table for it in SERIES}


# Triggers and roles.


@APPEND_ONLY
async def test_a_redelivery_changes_nothing(writer: Connection, sink: Sink) -> None:
    """The same row again is taken without a word and stays one; other content under its key is refused, named."""
    row = row_of(sink)
    await upsert(writer, sink, row)
    before = await writer.fetchval(f"SELECT xmin::text || ctid::text FROM trading.{sink.table}")  # noqa: S608
    await upsert(writer, sink, row)
    assert await writer.fetchval(f"SELECT xmin::text || ctid::text FROM trading.{sink.table}") == before  # noqa: S608
    other = next(name for name, hint in get_type_hints(sink.record).items() if name not in sink.key)
    changed = row | {other: {int: 2, str: "[]", bytes: b"\1", bool: True}[type(row[other])]}
    with pytest.raises(
        asyncpg.IntegrityConstraintViolationError, match="is append-only: a row of it"
    ) as refused:
        await upsert(writer, sink, changed)
    assert "stored: " in refused.value.detail


CUTS: Final = ("DELETE FROM trading.{0}", "TRUNCATE trading.{0}", "TRUNCATE trading.{0}_default")


@by_table(
    ("sink", "statement"),
    [(it, cut) for it in APPENDED for cut in (CUTS if it.is_series else CUTS[:2])],
    ids=lambda it: it.table if isinstance(it, Sink) else None,
)
@by_table("role", [SINK_ROLE, "person", "mighty"])
async def test_nobody_deletes(dsn: str, sink: Sink, statement: str, role: str) -> None:
    """Neither the sink, nor a reader, nor a superuser can delete from a table, cut it, or cut a part of it."""
    mighty = await asyncpg.connect(as_role(dsn, "mighty"))
    transaction = mighty.transaction()
    await transaction.start()
    await upsert(mighty, sink, row_of(sink))
    await mighty.execute(f"SET LOCAL ROLE {role}")
    with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.IntegrityConstraintViolationError)):
        await mighty.execute(statement.format(sink.table))
    await transaction.rollback()
    await mighty.close()


@APPEND_ONLY
async def test_a_superuser_changes_nothing(dsn: str, sink: Sink) -> None:
    """Only the owner may change a row; being a superuser does not help."""
    async for mighty in _connection(as_role(dsn, "mighty")):
        await upsert(mighty, sink, row_of(sink))
        other = next(name for name in row_of(sink) if name not in sink.key)
        with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="is append-only"):
            await mighty.execute(f"UPDATE trading.{sink.table} SET {other} = NULL")  # noqa: S608


@APPEND_ONLY
async def test_the_owner_may_mend(owner: Connection, sink: Sink) -> None:
    """The migrations' owner can change, delete and cut."""
    row = row_of(sink)
    await upsert(owner, sink, row)
    other = next(name for name in row if name not in sink.key and isinstance(row[name], int | str))
    await owner.execute(f"UPDATE trading.{sink.table} SET {other} = {other}")  # noqa: S608
    await owner.execute(f"DELETE FROM trading.{sink.table}")  # noqa: S608
    await upsert(owner, sink, row)
    await owner.execute(f"TRUNCATE trading.{sink.table}")
    assert await rows(owner, sink.table) == []


@by_table("sink", STATES, ids=lambda it: it.table)
async def test_a_state_only_gets_newer(writer: Connection, sink: Sink) -> None:
    """A higher version replaces the row; an older one, or the same again, is dropped without a word."""
    for version, stored in ((5, 5), (4, 5), (5, 5), (6, 6), (1, 6)):
        await upsert(writer, sink, row_of(sink, version=version, at_ns=version * 10 + (version == stored)))
        (row,) = await rows(writer, sink.table)
        assert row["version"] == stored
    assert row["at_ns"] == 61


async def test_the_same_version_keeps_its_row(writer: Connection) -> None:
    """Other content under a version that is there does not replace it."""
    positions = next(it for it in STATES if it.table == "positions")
    await upsert(writer, positions, row_of(positions, version=5, quantity_lots=1))
    await upsert(writer, positions, row_of(positions, version=5, quantity_lots=2))
    assert [it["quantity_lots"] for it in await rows(writer, "positions")] == [1]


async def test_a_reader_reads_and_writes_nothing(dsn: str) -> None:
    """A reader sees every table and view, and may not write."""
    async for person in _connection(as_role(dsn, "person")):
        for name in await person.fetch(
            "SELECT table_name FROM information_schema.views WHERE table_schema = 'trading'"
        ):
            await rows(person, name["table_name"])
        for it in SINKS:
            assert await rows(person, it.table) == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await upsert(person, SINKS[0], row_of(SINKS[0]))


# Partitions.


async def test_days_are_made_ahead_and_dropped(owner: Connection) -> None:
    """Today's and the next days' parts are there; rows of other days move into their own; what is old is dropped."""
    trades = next(it for it in SERIES if it.table == "trades")
    today = datetime.now(UTC).date()
    ahead = {today + timedelta(days=it) for it in range(4)}
    assert await _days(owner, "trades") == ahead
    old = today - timedelta(days=40)
    stamps = {
        day: int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 10**9
        for day in (today, old)
    }
    for number, at_ns in enumerate((stamps[today], stamps[old], stamps[old] + DAY_NS - 1)):
        await upsert(owner, trades, row_of(trades, at_ns=at_ns, trade_id=number))
    assert await owner.fetchval("SELECT count(*) FROM trading.trades_default") == 2
    await maintain(owner)
    assert await _days(owner, "trades") == {*ahead, old}
    assert await owner.fetchval("SELECT count(*) FROM trading.trades_default") == 0
    assert await owner.fetchval(f"SELECT count(*) FROM trading.trades_{old:%Y%m%d}") == 2  # noqa: S608
    savepoint = owner.transaction()
    await savepoint.start()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await owner.execute(f"SET LOCAL ROLE mighty; TRUNCATE trading.trades_{old:%Y%m%d}")
    await savepoint.rollback()
    await owner.execute("UPDATE trading.series SET retain_days = 39 WHERE name = 'trades'")
    await maintain(owner)
    assert await _days(owner, "trades") == ahead
    assert [it["trade_id"] for it in await rows(owner, "trades")] == [0]


async def _days(connection: Connection, series: str) -> set[Any]:
    return {it[0] for it in await connection.fetch("SELECT trading.days_of($1)", series)}


# Views.


async def test_views_count_in_units(owner: Connection) -> None:
    """Prices, quantities and money come out exact, whatever their size, and times to the microsecond."""
    tables = {it.table: it for it in SINKS}
    reference = row_of(
        tables["reference"],
        epoch=1,
        kind="INSTRUMENT",
        name="BTC/USD",
        currency="USD",
        currency_exponent=2,
        tick_size_e9=500_000_000,
        lot_size_e9=10,
        minor_per_tick_lot=3,
    )
    await upsert(owner, tables["reference"], reference)
    trade = row_of(
        tables["trades"],
        instrument="BTC/USD",
        price_ticks=2**62 + 1,
        quantity_lots=123_456_789,
        at_ns=1_700_000_000_123_456_789,
    )
    await upsert(owner, tables["trades"], trade)
    (found,) = await rows(owner, "trades_decimal")
    assert found["price"] == Decimal(2**62 + 1) / 2
    assert found["quantity"] == Decimal("1.23456789")
    assert found["notional"] == Decimal((2**62 + 1) * 123_456_789 * 3).scaleb(-2)
    assert found["at"] == datetime(2023, 11, 14, 22, 13, 20, 123_456, tzinfo=UTC)
    await upsert(owner, tables["balances"], row_of(tables["balances"], currency="USD", cash_minor=-12_345))
    (balance,) = await rows(owner, "balances_decimal")
    assert str(balance["cash"]) == "-123.45"
    await upsert(
        owner, tables["positions"], row_of(tables["positions"], instrument="BTC/USD", open_cost_minor=1_000)
    )
    (position,) = await rows(owner, "positions_decimal")
    assert (position["open_cost"], position["quantity"]) == (Decimal(10), Decimal("1e-8"))
    await upsert(
        owner, tables["settlements"], row_of(tables["settlements"], instrument="?", settlement_day=19_998)
    )
    (settled,) = await rows(owner, "settlements_decimal")
    assert (settled["price"], str(settled["settlement_date"])) == (None, "2024-10-02")


async def test_bars_are_made_of_trades(owner: Connection) -> None:
    """A minute's bar has the first and last price by trade id, the highest and lowest, and the sum."""
    trades = next(it for it in SINKS if it.table == "trades")
    minute = 28_333_334 * 60 * 10**9
    for number, (price, quantity, seconds) in enumerate(((5, 1, 0), (9, 2, 1), (2, 3, 59), (4, 7, 60))):
        row = row_of(
            trades,
            trade_id=number,
            instrument="X",
            price_ticks=price,
            quantity_lots=quantity,
            at_ns=minute + seconds * 10**9,
        )
        await upsert(owner, trades, row)
    bars = await owner.fetch("SELECT * FROM trading.trade_bars ORDER BY minute_ns")
    assert [tuple(it) for it in bars] == [
        (1, "X", minute, 5, 9, 2, 2, 6, 3),
        (1, "X", minute + 60 * 10**9, 4, 4, 4, 4, 7, 1),
    ]
