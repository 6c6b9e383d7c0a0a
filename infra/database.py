"""How the engine's programs reach Postgres: as its owner, and with one line where it does not do what is asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import asyncpg

from connectors.sql.migrate import MigrationError
from infra.errors import OperatorError
from infra.settings import Settings

CONNECT_TIMEOUT_S: Final = 10
T = TypeVar("T")


class DatabaseError(OperatorError):
    """Postgres does not answer, refuses, or is not this engine's."""


def with_database(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do something with a connection of the owner; DatabaseError says in one line what went wrong."""
    return asyncio.run(_with_database(settings, work))


async def connect(settings: Settings) -> Any:
    """A connection of the owner, for the caller to close; DatabaseError where Postgres does not answer."""
    try:
        return await asyncpg.connect(settings.postgres_url.get_secret_value(), timeout=CONNECT_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise DatabaseError(
            f"Postgres does not answer ({error or type(error).__name__}): is it running, and is"
            " TRADING_POSTGRES_URL right?"
        ) from error


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Any]:
    """A connection for whoever reads the tables; DatabaseError also where there are none."""
    connection = await connect(settings)
    try:
        yield connection
    except asyncpg.UndefinedTableError as error:
        raise DatabaseError(f"{error}: run `trading db migrate`") from error
    finally:
        await connection.close()


async def _with_database(settings: Settings, work: Callable[[Any], Awaitable[T]]) -> T:
    connection = await connect(settings)
    try:
        return await work(connection)
    except MigrationError as error:
        raise DatabaseError(str(error)) from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"Postgres refuses: {error}") from error
    finally:
        await connection.close()
