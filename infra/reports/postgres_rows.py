"""Rows out of Postgres: the tables as they are, in one snapshot."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from infra.database import DatabaseError, connect
from infra.reports.day import Day
from infra.reports.log_rows import MARK
from infra.reports.rows import HOUR_NS
from infra.settings import Settings
from schemas.flat import FlatMarketData, FlatOrderEvent
from schemas.ids import TRADE_NUMBER_BITS
from schemas.record import Record
from schemas.sinks import BY_RECORD, Sink

R = TypeVar("R", bound=Record)

ROWS_A_FETCH: Final = 5_000


class PostgresRows:
    """`Rows` of the tables. Reports are plain generators, so an event loop of its own waits for Postgres."""

    def __init__(self, settings: Settings) -> None:
        """Connects, and takes its snapshot; OperatorError says in one line what is wrong."""
        self._epoch = settings.epoch
        self._runner = asyncio.Runner()
        try:
            self._connection: Any = self._runner.run(_snapshot(settings))
            self.since_ns = self._runner.run(_since_ns(self._connection, self._epoch))
        except BaseException:
            self._runner.close()
            raise

    def close(self) -> None:
        """Lets go of the connection."""
        try:
            self._runner.run(self._connection.close())
        finally:
            self._runner.close()

    def happened(
        self, record: type[R], begin_ns: int, end_ns: int, events: tuple[str, ...] = ()
    ) -> Iterator[R]:
        """Rows of a span of time."""
        where = "at_ns >= $2 AND at_ns < $3"
        values: tuple[Any, ...] = (begin_ns, end_ns)
        if events:
            where, values = f"{where} AND event = ANY($4)", (*values, list(events))
        yield from self._select(BY_RECORD[record], where, *values)

    def orders_before(self, day: Day) -> Iterator[FlatOrderEvent]:
        """Earlier rows of the day's orders."""
        where = (
            "at_ns < $2 AND (at_ns >= $4 OR order_id IN (SELECT order_id FROM trading.order_events"
            " WHERE at_ns >= $2 AND at_ns < $3 AND epoch = $1))"
        )
        values = day.begin_ns, day.end_ns, day.begin_ns - HOUR_NS
        yield from self._select(BY_RECORD[FlatOrderEvent], where, *values)

    def latest(self, record: type[R]) -> Iterator[R]:
        """States, by key."""
        yield from self._select(BY_RECORD[record], "true")

    def marks(self, end_ns: int) -> Mapping[str, int]:
        """Marks, the last of each instrument."""
        sink = BY_RECORD[FlatMarketData]
        last_first = ", ".join(f"{it} DESC" for it in _order(sink))
        query = (
            "SELECT DISTINCT ON (instrument) instrument, price_ticks FROM trading.market_data"  # noqa: S608
            f" WHERE epoch = $1 AND at_ns < $2 AND event = $3 ORDER BY instrument, {last_first}"
        )
        found = self._runner.run(self._connection.fetch(query, self._epoch, end_ns, MARK))
        return {row["instrument"]: row["price_ticks"] for row in found}

    def has_row(self, record: Record) -> bool:
        """Whether a record's row is there: of a state, it or a newer one."""
        sink = BY_RECORD[type(record)]
        where = " AND ".join(f"{name} = ${number}" for number, name in enumerate(sink.key, 1))
        values = [getattr(record, name) for name in sink.key]
        if sink.is_state:
            newest: Any = record
            where, values = f"{where} AND version >= ${len(values) + 1}", [*values, newest.version]
        query = f"SELECT EXISTS (SELECT FROM trading.{sink.table} WHERE {where})"  # noqa: S608 - our own names
        return bool(self._runner.run(self._connection.fetchval(query, *values)))

    def _select(self, sink: Sink, where: str, *values: Any) -> Iterator[Any]:
        columns = ", ".join(sink.record.__struct_fields__)
        query = (
            f"SELECT {columns} FROM trading.{sink.table} WHERE epoch = $1 AND {where}"  # noqa: S608
            f" ORDER BY {', '.join(_order(sink))}"
        )
        cursor = self._runner.run(_open(self._connection, query, self._epoch, *values))
        while found := self._runner.run(cursor.fetch(ROWS_A_FETCH)):
            for row in found:
                yield msgspec.convert(dict(row), sink.record)


def _order(sink: Sink) -> list[str]:
    """The key, texts by their bytes as everywhere else."""
    texts = {it.name for it in msgspec.structs.fields(sink.record) if it.type is str}
    return [f'{it} COLLATE "C"' if it in texts else it for it in sink.key]


async def _open(connection: Any, query: str, *values: Any) -> Any:
    return await connection.cursor(query, *values)


async def _snapshot(settings: Settings) -> Any:
    connection = await connect(settings)
    await connection.transaction(isolation="repeatable_read", readonly=True).start()
    if await connection.fetchval("SELECT to_regclass('trading.order_events') IS NULL"):
        await connection.close()
        raise DatabaseError("Postgres has no tables of the engine: run `trading db migrate`")
    return connection


async def _since_ns(connection: Any, epoch: int) -> int:
    """Trades are numbered from 0: where the first of a partition has another number, the table began later."""
    first = await connection.fetch(
        "SELECT DISTINCT ON (trade_id >> $2) trade_id & ((1::bigint << $2) - 1) AS number, at_ns"
        " FROM trading.trades WHERE epoch = $1 ORDER BY trade_id >> $2, trade_id",
        epoch,
        TRADE_NUMBER_BITS,
    )
    return max((row["at_ns"] for row in first if row["number"]), default=0)
