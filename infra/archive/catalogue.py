"""The archive's catalogue: the row in Postgres that says which metadata file is the table, as the connector uses it.

Readers do without it (table.py); whoever changes the table must go through it, or two commits would both be the
newest. pyiceberg's SqlCatalog and Java's JdbcCatalog (schema V1) share their tables and the way a commit is decided:
an UPDATE of this row that names the metadata file it began with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, urlsplit

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.io import InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from infra.archive.bucket import ArchiveError
from infra.settings import Settings

NAME: Final = "iceberg"  # of the catalogue, and of its schema in Postgres: connectors/sinks/archive-raw.json
TABLE: Final = "archive.raw"
# Postgres: no such table, no such schema. A right that is missing is neither.
_NOT_THERE: Final = {"42P01", "3F000"}


class KeepingIO(PyArrowFileIO):
    """Reads and writes, and never deletes: not even what a commit that failed has left behind."""

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Does nothing: the bucket would refuse it, and what no snapshot names does no harm."""


@contextmanager
def catalogue(settings: Settings) -> Iterator[SqlCatalog]:
    """Opens the catalogue as the connectors' role.

    Raises:
        ArchiveError: Postgres does not answer, or stops to; what was committed by then is whole.

    """
    catalog: SqlCatalog | None = None
    try:
        catalog = SqlCatalog(NAME, **_properties(settings))
        yield catalog
    except SQLAlchemyError as error:
        where = urlsplit(settings.postgres_url.get_secret_value())
        said = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
        raise ArchiveError(
            f"the archive's catalogue in Postgres at {where.hostname} does not answer ({said}): start it, or correct"
            " TRADING_POSTGRES_URL; then ask again"
        ) from error
    finally:
        if catalog is not None:
            catalog.close()


def load(catalog: SqlCatalog) -> Table | None:
    """The table as it is now; None before the engine has made it."""
    try:
        return catalog.load_table(TABLE)
    except NoSuchTableError:
        return None
    except ProgrammingError as error:
        if getattr(error.orig, "pgcode", None) in _NOT_THERE:  # not even the catalogue's own tables
            return None
        raise


def _properties(settings: Settings) -> dict[str, str]:
    secret = settings.archive_s3_secret_key
    s3 = {
        "s3.endpoint": settings.archive_s3_endpoint,
        "s3.region": settings.archive_s3_region,
        "s3.access-key-id": settings.archive_s3_access_key,
        "s3.secret-access-key": None if secret is None else secret.get_secret_value(),
    }
    return {
        "uri": _address(settings),
        "warehouse": settings.archive_root,
        "init_catalog_tables": "false",  # `made.py` does, as the sinks' role
        "py-io-impl": f"{KeepingIO.__module__}.{KeepingIO.__name__}",
        **{name: value for name, value in s3.items() if value is not None},
    }


def _address(settings: Settings) -> str:
    place = urlsplit(settings.postgres_url.get_secret_value())
    user, password = settings.sink_postgres_user, settings.sink_postgres_password.get_secret_value()
    login = f"{quote(user, safe='')}:{quote(password, safe='')}" if password else quote(user, safe="")
    host = place.netloc.rpartition("@")[2]
    query = f"{place.query}&" if place.query else ""
    return f"postgresql+psycopg2://{login}@{host}{place.path}?{query}options=-csearch_path%3D{NAME}"
