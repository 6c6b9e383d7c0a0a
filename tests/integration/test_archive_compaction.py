"""Compaction through the catalogue in a real Postgres: the same records in fewer files, whoever dies meanwhile."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any, Final

import asyncpg
import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from pyiceberg.catalog.sql import SqlCatalog

from infra.archive import compact as compaction
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.catalogue import _properties, catalogue, load
from infra.archive.compact import Compacted, CompactionError, closed_days, compact, tasks
from infra.archive.compaction_chore import CompactionChore
from infra.archive.holdings import day_of
from infra.archive.log import ArchiveConflict
from infra.archive.table import entries
from infra.auditor.log import LogRecord, Place
from infra.settings import Settings
from tests.integration.postgres import SINK_ROLE, TIMEOUT_S, postgres
from tests.unit.infra.archive.archived import DAY_MS, Archive, Row

DAY: Final = 19_675
START_MS: Final = DAY * DAY_MS
PLACES: Final[tuple[Place, ...]] = (("trades", 0), ("trades", 1), ("a-topic-with-quite-a-long-name", 0))
ALL: Final = (0, 2**62)
KILLED: Final = 9
PACE_S: Final = (
    0.5  # between two commits of a connector that is quicker than the real one, by a hundred times
)


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A Postgres with the catalogue's schema, as `trading db migrate` leaves it."""
    with postgres() as dsn:
        asyncio.run(prepare(dsn))
        yield dsn


async def prepare(dsn: str) -> None:
    """Makes the schema."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE SCHEMA iceberg; GRANT USAGE, CREATE ON SCHEMA iceberg TO {SINK_ROLE}")
    await connection.close()


async def empty(dsn: str) -> None:
    """Forgets every table."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(
        "DROP TABLE IF EXISTS iceberg.iceberg_tables, iceberg.iceberg_namespace_properties"
    )
    await connection.close()


@pytest.fixture
def settings(dsn: str, tmp_path: Path) -> Settings:
    """An archive in a folder, with its catalogue in that Postgres."""
    asyncio.run(empty(dsn))
    return Settings(postgres_url=SecretStr(dsn), archive_url=f"file://{tmp_path}")


@pytest.fixture
def archive(settings: Settings) -> Iterator[Archive]:
    """A closed day in 20 commits, some of it twice, and the beginning of the next day."""
    with opened(settings) as archive:
        for number in range(20):
            base = number * 10
            rows = [row for place in PLACES for row in records(place, base - 3 * (number % 2), base + 10)]
            archive.commit(rows)
        archive.commit(records(PLACES[0], 200, 210, day=1))
        yield archive


@contextmanager
def opened(settings: Settings) -> Iterator[Archive]:
    """The archive through the catalogue that compaction uses; it makes its tables, as the connector does."""
    catalog = SqlCatalog("iceberg", **_properties(settings) | {"init_catalog_tables": "true"})
    yield Archive(Path(settings.archive_root.removeprefix("file://")), catalog)
    catalog.close()


def records(place: Place, begin: int, end: int, *, day: int = 0) -> list[Row]:
    """Records of a place."""
    return [
        (
            place,
            LogRecord(
                it, START_MS + day * DAY_MS + it, None, None if it % 9 == 4 else f"{place} {it}".encode()
            ),
        )
        for it in range(max(0, begin), end)
    ]


def content(archive: Archive) -> dict[Place, list[LogRecord]]:
    """All that the archive gives."""
    log = archive.log()
    return {place: list(log.read(place, ALL)) for place in PLACES}


def run(settings: Settings, days: range = range(DAY + 1)) -> list[Compacted | None]:
    """Does all there is to do."""
    bucket = Bucket.of(settings)
    with catalogue(settings) as catalog:
        return [compact(catalog, bucket, task) for task in tasks(bucket, load(catalog), days)]


def test_few_files_have_the_same_records(settings: Settings, archive: Archive) -> None:
    """A file for each partition, sorted, in the layout of the table; the day that is open is left alone."""
    before, files = content(archive), set(archive.data_files())
    done = {it.topic: it for it in run(settings) if it is not None}
    trades = done["trades"]
    assert (trades.files_before, trades.files_after, trades.records, trades.repeats) == (20, 2, 400, 60)
    assert content(archive) == before
    log = archive.log()
    made = [it for it in log.files("trades") if it.day == DAY]
    assert [it.partitions for it in made] == [(0, 0), (1, 1)] or [it.partitions for it in made] == [
        (1, 1),
        (0, 0),
    ]
    assert all("topic=trades/ts_day=2023-11-14/" in it.path for it in made)
    assert files < set(archive.data_files()), "nothing is deleted"
    for file in made:
        offsets = pq.read_table(archive.folder / file.path).column("offset").to_pylist()
        assert offsets == sorted(set(offsets))
    assert run(settings) == [], "and there is nothing left to do"
    assert archive.table.current_snapshot().summary["compacted-content-hash"]  # type: ignore[union-attr,index]


def test_earlier_snapshots_stay_readable(settings: Settings, archive: Archive) -> None:
    """Whoever began to read before goes on, and the table's history has all of it."""
    log, before = archive.log(), content(archive)
    reading = log.read(PLACES[0], ALL)
    begun = [next(reading)]
    run(settings)
    assert [*begun, *reading] == before[PLACES[0]]
    old = archive.table.snapshots()[20]
    assert (
        archive.table.scan(snapshot_id=old.snapshot_id, selected_fields=("offset",)).to_arrow().num_rows > 600
    )


def test_the_connector_may_commit_meanwhile(settings: Settings, archive: Archive) -> None:
    """Commits that come one after the other are neither lost nor held up; compaction comes on top of them."""
    begun, stop, committed = Event(), Event(), [0]

    def connector() -> None:
        with catalogue(settings) as catalog:
            other = Archive.__new__(Archive)
            other.folder, other.bucket, other.catalog = archive.folder, archive.bucket, catalog
            while not stop.wait(PACE_S):
                base = 1_000 + committed[0] * 5
                other.commit(records(PLACES[0], base, base + 5, day=1))
                committed[0] += 1
                begun.set()

    before = content(archive)
    thread = Thread(target=connector)
    thread.start()
    try:
        assert begun.wait(TIMEOUT_S)
        done = run(settings)
    finally:
        stop.set()
        thread.join()
    assert [it is not None for it in done] == [True, True]
    after = content(archive)
    assert [it for it in after[PLACES[0]] if it.offset < 1_000] == before[PLACES[0]]
    assert len([it for it in after[PLACES[0]] if it.offset >= 1_000]) == committed[0] * 5 > 0


def test_a_commit_between_look_and_commit_is_kept(
    settings: Settings, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment in which a commit of another could be lost: it is found, and tried again on top."""
    late: list[Callable[[], Any]] = []
    monkeypatch.setattr(compaction, "entries", after_which(entries, late))
    monkeypatch.setattr(compaction, "PAUSE_S", 0)
    bucket = Bucket.of(settings)
    with catalogue(settings) as catalog:
        (task, *_) = [it for it in tasks(bucket, load(catalog), range(DAY + 1)) if it.topic == "trades"]
        late.append(lambda: archive.commit(records(PLACES[0], 500, 510, day=1)))
        assert compact(catalog, bucket, task) is not None
    assert not late
    assert [it.offset for it in content(archive)[PLACES[0]]] == [*range(210), *range(500, 510)]


def after_which(function: Callable[..., Any], deeds: list[Callable[[], Any]]) -> Callable[..., Any]:
    """The function; each time it was called, the next deed is done."""

    def called(*arguments: Any) -> Any:
        result = list(function(*arguments))
        if deeds:
            deeds.pop()()
        return result

    return called


def test_a_large_day_is_done_in_portions(
    settings: Settings, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each portion is a commit of its own, over offsets that follow one another."""
    before = content(archive)
    sizes = [it.size for it in archive.log().files("trades") if it.day == DAY]
    monkeypatch.setattr(compaction, "TASK_BYTES", 7 * max(sizes))
    done = [it for it in run(settings) if it is not None and it.topic == "trades"]
    assert len(done) > 1
    assert sum(it.files_before for it in done) == 20
    assert {it.files_after for it in done} == {2}
    assert all(it.bytes_before <= compaction.TASK_BYTES for it in done)
    assert content(archive) == before


def test_the_chore_does_a_task_at_a_time(settings: Settings, archive: Archive) -> None:
    """A line for each, and then it rests."""
    before, chore = content(archive), CompactionChore()
    said = [chore(settings), chore(settings)]
    assert ["a-topic" in str(said[0]), "trades: 20 files" in str(said[1])] == [True, True]
    assert chore(settings) is None
    assert chore._look_at_s > time.monotonic()
    assert content(archive) == before


def test_one_bad_topic_holds_no_other_up(settings: Settings, archive: Archive, tmp_path: Path) -> None:
    """What cannot be read leaves no half of a copy behind, the rest is done, and all of it is tried again later."""
    (place, record), *_ = records(PLACES[2], 7, 8)
    archive.commit([(place, record._replace(value=b"another"))])
    files, chore = set(tmp_path.rglob("*.parquet")), CompactionChore()
    with pytest.raises(ArchiveError, match=f"{place[0]} 0 offset 7"):
        chore(settings)
    made = set(tmp_path.rglob("*.parquet")) - files
    assert made
    assert all("topic=trades" in str(it) for it in made)
    assert chore._look_at_s > time.monotonic()


def test_two_at_once_do_it_once(settings: Settings, archive: Archive) -> None:
    """Who comes second finds the files replaced, and leaves it."""
    before, bucket = content(archive), Bucket.of(settings)
    with catalogue(settings) as one, catalogue(settings) as other:
        (task, *_) = tasks(bucket, load(one), range(DAY + 1))
        assert compact(one, bucket, task) is not None
        assert compact(other, bucket, task) is None
    assert content(archive) == before


def test_what_is_read_back_otherwise_is_not_committed(
    settings: Settings, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte that a machine got wrong on the way is an error, and the table stays as it was."""
    version = archive.table.metadata_location
    table_of = compaction._table

    def damaged(group: list[LogRecord], *more: Any) -> Any:
        return table_of([group[0]._replace(value=b"damaged"), *group[1:]], *more)

    monkeypatch.setattr(compaction, "_table", damaged)
    with pytest.raises(CompactionError, match="nothing was committed"):
        run(settings)
    assert archive.table.metadata_location == version


def test_two_records_of_one_place_stop_it(settings: Settings, archive: Archive) -> None:
    """Which of them is true is not for compaction to say: both stay."""
    (place, record), *_ = records(PLACES[0], 7, 8)
    archive.commit([(place, record._replace(value=b"another"))])
    with pytest.raises(ArchiveConflict, match="trades 0 offset 7"):
        run(settings)


def test_a_day_is_closed_an_hour_after_midnight() -> None:
    """Until then the connector may well be about to write its last minutes."""
    midnight = datetime(2026, 11, 25, tzinfo=UTC)
    assert day_of(midnight.date()) - 1 not in closed_days(midnight + timedelta(minutes=59))
    assert closed_days(midnight + timedelta(minutes=61))[-1] == day_of(midnight.date()) - 1


def test_without_postgres_it_says_so(settings: Settings) -> None:
    """One line, with the next act."""
    gone = settings.model_copy(update={"postgres_url": SecretStr("postgresql://trading@127.0.0.1:9/trading")})
    with pytest.raises(ArchiveError, match=r"catalogue in Postgres at 127\.0\.0\.1 does not answer"):
        run(gone)


def test_before_the_first_commit_there_is_nothing_to_do(settings: Settings) -> None:
    """Not even the catalogue's tables are there."""
    assert run(settings) == []


def test_kill_at_any_line_loses_nothing(settings: Settings, archive: Archive) -> None:
    """Killed once at each line of it, of the catalogue's commit too: the archive gives the same each time."""
    before = content(archive)
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    lines, where = 0, (settings.postgres_url.get_secret_value(), settings.archive_root)
    while True:
        process = context.Process(target=killed_at, args=(*where, lines))
        process.start()
        process.join()
        assert content(archive) == before
        if process.exitcode != KILLED:
            break
        lines += 1
    assert process.exitcode == 0
    assert lines > 60
    log = archive.log()
    assert {topic: len(log.files(topic)) for topic in log.topics()} == {"trades": 3, PLACES[2][0]: 1}


def killed_at(dsn: str, root: str, number: int) -> None:
    """Compacts, and dies at the first time that the NUMBERth line of the code runs, counting lines as they come."""
    seen = set[tuple[str, int]]()
    watched = (compaction.__file__, sys.modules[SqlCatalog.__module__].__file__)

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename not in watched:
            return None
        if event == "line":
            seen.add((frame.f_code.co_filename, frame.f_lineno))
            if len(seen) > number:
                os._exit(KILLED)
        return trace

    settings = Settings(postgres_url=SecretStr(dsn), archive_url=root)
    sys.settrace(trace)
    run(settings)
    sys.settrace(None)
