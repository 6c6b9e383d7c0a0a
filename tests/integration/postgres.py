"""A Postgres of a test's own, and rows for the tables of the sinks, written as the JDBC sink writes them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from infra.embedded.postgres import ADMIN, EmbeddedPostgres
from infra.processes import free_ports, wait_until
from infra.supervisor import Supervisor
from schemas.sinks import Sink

TIMEOUT_S: Final = 60
SINK_ROLE: Final = "trading_sink"

Connection = Any


@contextmanager
def postgres() -> Iterator[str]:
    """Runs one, and gives its address, as its owner; roles log in without passwords."""
    folder, (port,) = Path(tempfile.mkdtemp(prefix="postgres-")), free_ports(1)
    folder.chmod(0o755)  # whoever Postgres runs as has to come in
    embedded = EmbeddedPostgres(folder / "postgres", port, roles=(SINK_ROLE,))
    supervisor = Supervisor([embedded.program()], folder / "logs")

    def is_ready() -> bool:
        supervisor.step()
        return supervisor.all_ready()

    supervisor.start()
    try:
        assert wait_until(is_ready, TIMEOUT_S), (folder / "logs" / "postgres.log").read_text()
        yield embedded.dsn
    finally:
        supervisor.stop(TIMEOUT_S)
        shutil.rmtree(folder)


def as_role(dsn: str, role: str) -> str:
    """The same database for another role."""
    return dsn.replace(f"//{ADMIN}@", f"//{role}@")


def row_of(sink: Sink, **values: Any) -> dict[str, Any]:
    """A row with something in each column."""
    samples: dict[Any, Any] = {int: 1, str: "{}", bool: False, bytes: b"\0"}
    row = {name: samples[base_of(hint)[0]] for name, hint in get_type_hints(sink.record).items()}
    return row | values


def base_of(hint: Any) -> tuple[Any, bool]:
    """A field's plain type, and whether it may be None."""
    choices = [it for it in get_args(hint) if it is not NoneType] if NoneType in get_args(hint) else [hint]
    plain = str if get_origin(choices[0]) is Literal else choices[0]
    return plain, NoneType in get_args(hint)


async def upsert(connection: Connection, sink: Sink, row: dict[str, Any]) -> None:
    """Writes a row as the JDBC sink does in its upsert mode."""
    columns, rest = ", ".join(row), [it for it in row if it not in sink.key]
    places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
    changes = ", ".join(f"{it} = EXCLUDED.{it}" for it in rest)
    await connection.execute(
        f"INSERT INTO trading.{sink.table} ({columns}) VALUES ({places})"  # noqa: S608 - names of our own
        f" ON CONFLICT ({', '.join(sink.key)}) DO UPDATE SET {changes}",
        *row.values(),
    )


async def rows(connection: Connection, table: str) -> list[dict[str, Any]]:
    """All of a table."""
    return [dict(it) for it in await connection.fetch(f"SELECT * FROM trading.{table}")]  # noqa: S608
