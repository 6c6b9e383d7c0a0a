"""Migrations: plain SQL files, applied once each, in order, under a lock, and never changed afterwards.

A file is ``NUMBER_NAME.sql``; where the time series differ it is ``NUMBER_NAME.VARIANT.sql``, one for TimescaleDB and
one for plain Postgres. Which of them a database is made with is decided once, with its first migration.
"""

import re
from collections.abc import Iterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

MIGRATIONS: Final = Path(__file__).parent / "migrations"
NATIVE: Final = "native"
TIMESCALE: Final = "timescale"
WRITER: Final = "trading_writer"

_FILE: Final = re.compile(rf"(\d{{4}})_(\w+)(?:\.({NATIVE}|{TIMESCALE}))?\.sql").fullmatch
_LOCK: Final = 7_237_125_489  # any number that no other program's lock has
_LEDGER: Final = """
CREATE SCHEMA IF NOT EXISTS trading;
CREATE TABLE IF NOT EXISTS trading.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    variant text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""
# The archive's catalogue: its tables are its library's, which makes them itself, so no migration knows them.
CATALOGUE: Final = "iceberg"
_CATALOGUE: Final = f"""
CREATE SCHEMA IF NOT EXISTS {CATALOGUE};
GRANT USAGE, CREATE ON SCHEMA {CATALOGUE} TO {WRITER};
"""
_HAS_TIMESCALE: Final = """
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb')
    AND position('timescaledb' IN current_setting('shared_preload_libraries')) > 0
"""


class MigrationError(Exception):
    """The database and the files do not belong together; the message says what to do."""


class Migration(NamedTuple):
    """A file that this version brings."""

    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        """The file's sha256, in hex."""
        return sha256(self.text.encode()).hexdigest()


class Standing(NamedTuple):
    """What a database has: its variant (None before the first migration), what was applied, and what is to come."""

    variant: str
    applied: tuple[Migration, ...]
    pending: tuple[Migration, ...]


def migrations(variant: str, folder: Path = MIGRATIONS) -> tuple[Migration, ...]:
    """The files for a variant, in order; MigrationError for a name that is none."""
    found = sorted(_read(variant, folder))
    numbers = [it.number for it in found]
    if numbers != list(range(1, len(numbers) + 1)):
        raise MigrationError(
            f"the migrations in {folder} are numbered {numbers}: a number is missing or doubled"
        )
    return tuple(found)


def _read(variant: str, folder: Path) -> Iterator[Migration]:
    for path in folder.glob("*.sql"):
        match = _FILE(path.name)
        if match is None:
            raise MigrationError(f"{path} is no migration's name: NUMBER_NAME.sql or NUMBER_NAME.VARIANT.sql")
        if match[3] in (None, variant):
            yield Migration(int(match[1]), match[2], path.read_text(encoding="utf-8"))


async def status(connection: Any, folder: Path = MIGRATIONS) -> Standing:
    """What is applied, and what is not; MigrationError where what was applied is not what the files say."""
    known = await connection.fetchval("SELECT to_regclass('trading.migrations') IS NOT NULL")
    query = "SELECT number, name, variant, sha256 FROM trading.migrations ORDER BY number"
    rows = await connection.fetch(query) if known else []
    variant = rows[0]["variant"] if rows else await _variant(connection)
    files = migrations(variant, folder)
    for row, file in zip(rows, files, strict=False):
        _check(row, file)
    if len(rows) > len(files):
        raise MigrationError(
            f"the database has {len(rows)} migrations and this version knows {len(files)}: use the newer version"
        )
    return Standing(variant, files[: len(rows)], files[len(rows) :])


async def migrate(
    connection: Any, folder: Path = MIGRATIONS, writers: tuple[str, ...] = ()
) -> tuple[Migration, ...]:
    """Applies what is pending, each file in a transaction of its own, and gives it.

    ``connection`` is asyncpg's, of the owner. Roles of ``writers`` that exist may write from then on. Several may
    migrate at once: one does, the others wait for it. MigrationError as of ``status``.
    """
    async with _locked(connection):
        await connection.execute(_LEDGER)
        standing = await status(connection, folder)
        for file in standing.pending:
            await _apply(connection, file, standing.variant)
        await connection.execute(_CATALOGUE)
        for role in writers:
            await _let_write(connection, role)
    return standing.pending


async def maintain(connection: Any) -> None:
    """Makes the partitions of the days to come, and drops what is older than is to be kept: once a day."""
    await connection.execute("CALL trading.maintain()")


async def _variant(connection: Any) -> str:
    return TIMESCALE if await connection.fetchval(_HAS_TIMESCALE) else NATIVE


def _check(row: Any, file: Migration) -> None:
    name = f"{file.number:04}_{file.name}"
    if (row["number"], row["name"]) != (file.number, file.name):
        raise MigrationError(
            f"the database has {row['number']:04}_{row['name']} where this version has {name}: it belongs to another"
            " version"
        )
    if row["sha256"] != file.digest:
        raise MigrationError(
            f"{name} is not what was applied: an applied migration is never changed. Put the file back, and say"
            " what is to change in a new one"
        )


async def _apply(connection: Any, file: Migration, variant: str) -> None:
    async with connection.transaction():
        await connection.execute(file.text)
        await connection.execute(
            "INSERT INTO trading.migrations (number, name, variant, sha256) VALUES ($1, $2, $3, $4)",
            file.number,
            file.name,
            variant,
            file.digest,
        )


async def _let_write(connection: Any, role: str) -> None:
    quoted = await connection.fetchval("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = $1", role)
    if quoted is not None:
        await connection.execute(f"GRANT {WRITER} TO {quoted}")


@asynccontextmanager
async def _locked(connection: Any) -> Any:
    await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    try:
        yield
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")
