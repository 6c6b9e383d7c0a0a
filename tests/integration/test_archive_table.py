"""The archive's table in a real catalogue: made once, found again when the catalogue is lost, with small metadata."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.io.pyarrow import parquet_file_to_data_file

from connectors.sql.migrate import CATALOGUE, migrate
from infra.archive.bucket import Bucket
from infra.archive.catalogue import catalogue, load
from infra.archive.control import HELD_EVENTS, held_events
from infra.archive.log import ArchiveLog
from infra.archive.made import ensure_table
from infra.archive.snapshots import KEPT, SLACK, trim
from infra.archive.table import FOLDER
from infra.auditor.log import LogRecord
from infra.database import with_database
from infra.settings import Settings
from schemas.topics import ORDERS
from tests.integration.postgres import postgres
from tests.unit.infra.archive.archived import DAY_MS, as_table


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """An engine with a Postgres and a folder for its archive."""
    with postgres() as address:
        chosen = Settings.load(sinks=True, data_folder=tmp_path, postgres_url=address)
        _migrate(chosen)
        yield chosen


def _migrate(settings: Settings) -> None:
    with_database(settings, lambda connection: migrate(connection, writers=(settings.sink_postgres_user,)))


def commit(settings: Settings, offset: int, *, as_connector: bool = True) -> None:
    """Put a record into the table, as the connector does, or somebody else."""
    record = LogRecord(offset, DAY_MS, None, b"v")
    data = pa.BufferOutputStream()
    pq.write_table(as_table([((ORDERS, 0), record)]), data)
    path = f"{FOLDER}/data/topic={ORDERS}/ts_day=1970-01-02/{uuid.uuid4()}.parquet"
    bucket = Bucket.of(settings)
    bucket.write_new(path, data.getvalue().to_pybytes())
    summary = {HELD_EVENTS: f'{{"0":{offset}}}'} if as_connector else {}
    with catalogue(settings) as catalog:
        table = load(catalog)
        assert table is not None
        file = parquet_file_to_data_file(table.io, table.metadata, bucket.uri(path))
        with table.transaction() as transaction, transaction.update_snapshot(summary).fast_append() as append:
            append.append_data_file(file)


def files(settings: Settings) -> set[str]:
    """All that lies in the bucket."""
    return set(Bucket.of(settings).list())


def test_a_lost_catalogue_gets_its_table_back(settings: Settings) -> None:
    """Made once; when Postgres is new and the bucket is not, the table goes on where it was, with all its records."""
    assert "was made" in (ensure_table(settings) or "")
    assert ensure_table(settings) is None
    commit(settings, 0)
    with_database(settings, lambda connection: connection.execute(f"DROP SCHEMA {CATALOGUE} CASCADE"))
    _migrate(settings)
    assert "had lost its table" in (ensure_table(settings) or "")
    commit(settings, 1)
    log = ArchiveLog(Bucket.of(settings))
    assert [it.offset for it in log.read((ORDERS, 0), log.bounds((ORDERS, 0)))] == [0, 1]


def test_metadata_stay_small_and_nothing_is_deleted(settings: Settings) -> None:
    """Of many snapshots the newest stay listed; every file stays, every record is read, what is held is still known."""
    ensure_table(settings)
    commits = KEPT + SLACK + 1
    for offset in range(commits):
        commit(settings, offset)
    before = files(settings)
    trim(settings)
    assert snapshots(settings) == KEPT
    assert files(settings) > before
    assert held_events(settings, Bucket.of(settings)) == commits - 1
    log = ArchiveLog(Bucket.of(settings))
    assert len(list(log.read((ORDERS, 0), log.bounds((ORDERS, 0))))) == commits
    trim(settings)
    assert len(files(settings)) == len(before) + 1, "there is nothing to do"


def test_the_connectors_last_snapshot_stays_within_reach(settings: Settings) -> None:
    """However much others commit: with a link of the chain gone, what the table holds would be forgotten."""
    ensure_table(settings)
    commit(settings, 0)
    commit(settings, 1)
    for offset in range(2, KEPT + SLACK + 1):
        commit(settings, offset, as_connector=False)
    trim(settings)
    assert snapshots(settings) == KEPT + SLACK
    assert held_events(settings, Bucket.of(settings)) == 1


def snapshots(settings: Settings) -> int:
    """How many are listed."""
    with catalogue(settings) as catalog:
        table = load(catalog)
        assert table is not None
        return len(table.metadata.snapshots)
