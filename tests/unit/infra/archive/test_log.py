"""The archive is read exactly: each record once, in order, whatever files and commits made it."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.archive import pieces
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.log import ArchiveConflict, ArchiveLog
from infra.archive.pieces import FileFault, Piece
from infra.auditor.log import LogRecord, Place
from tests.s3 import BUCKET, KEY, REGION, SECRET, client, s3_server
from tests.unit.infra.archive.archived import DAY_MS, NAME, Archive, Row, rewrite

TRADES: Place = ("trades", 0)
OTHER: Place = ("trades", 1)
LONG: Place = ("a-topic-with-a-name-longer-than-a-bound", 3)
START_MS = 19_675 * DAY_MS
ALL = (0, 2**62)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An empty archive."""
    return Archive(tmp_path)


def record(offset: int, *, day: int = 0) -> LogRecord:
    """A record like no other; each seventh is a tombstone, each eighth is empty."""
    value = None if offset % 7 == 3 else b"" if offset % 8 == 5 else f"value {offset}".encode()
    return LogRecord(offset, START_MS + day * DAY_MS + offset, None, value)


def rows(place: Place, offsets: Iterable[int], *, day: int = 0) -> list[Row]:
    """Records of a place."""
    return [(place, record(offset, day=day)) for offset in offsets]


def test_records_come_back_as_they_were(archive: Archive) -> None:
    """Values, null and empty ones told apart, times to the millisecond, places; keys are not archived."""
    archive.commit([*rows(TRADES, range(10)), *rows(LONG, range(5, 9))])
    log = archive.log()
    assert list(log.read(TRADES, ALL)) == [record(offset) for offset in range(10)]
    assert list(log.read(LONG, (6, 8))) == [record(6), record(7)]
    assert log.topics() == {"trades": 1, LONG[0]: 4}
    assert (log.bounds(TRADES), log.bounds(LONG)) == ((0, 10), (5, 9))


def test_unknown_places_are_empty(archive: Archive) -> None:
    """A place without records has none; it is no error."""
    archive.commit(rows(TRADES, range(3)))
    log = archive.log()
    assert log.bounds(OTHER) == log.bounds(("nowhere", 0)) == (0, 0)
    assert list(log.read(OTHER, ALL)) == list(log.read(("nowhere", 0), ALL)) == []


def test_repeats_are_dropped(archive: Archive) -> None:
    """What the connector wrote again after its offsets were reset comes once."""
    for begin, end in ((0, 40), (40, 60), (0, 35), (30, 80)):
        archive.commit(rows(TRADES, range(begin, end)))
    assert [it.offset for it in archive.log().read(TRADES, ALL)] == list(range(80))


@pytest.mark.parametrize("other", [b"another", b"", None])
def test_two_records_of_one_place_are_an_error(archive: Archive, other: bytes | None) -> None:
    """It names the place; null and empty differ too."""
    archive.commit(rows(TRADES, range(20)))
    archive.commit([(TRADES, record(4)), (TRADES, record(9)._replace(value=other))])
    with pytest.raises(ArchiveConflict, match="trades 0 offset 9"):
        list(archive.log().read(TRADES, ALL))


def test_a_different_time_is_a_different_record(archive: Archive) -> None:
    """Time is sealed, so it counts."""
    archive.commit(rows(TRADES, range(20)))
    archive.commit([(TRADES, record(9)._replace(timestamp_ms=START_MS))])
    with pytest.raises(ArchiveConflict, match="trades 0 offset 9"):
        list(archive.log().read(TRADES, ALL))


def test_a_log_stays_at_its_snapshot(archive: Archive) -> None:
    """What is committed while it is read is for the next one."""
    archive.commit(rows(TRADES, range(10)))
    log = archive.log()
    begun = log.read(TRADES, ALL)
    next(begun)
    archive.commit(rows(TRADES, range(10, 20)))
    assert len([*begun]) == 9
    assert log.bounds(TRADES) == (0, 10)
    assert archive.log().bounds(TRADES) == (0, 20)


def test_days_can_be_chosen(archive: Archive) -> None:
    """A log of one day has that day's records alone."""
    archive.commit(
        rows(TRADES, range(10)) + rows(TRADES, range(10, 30), day=1) + rows(TRADES, range(30, 40), day=2)
    )
    day = ArchiveLog(archive.bucket, days=range(19_676, 19_677))
    assert day.bounds(TRADES) == (10, 30)
    assert archive.log().bounds(TRADES) == (0, 40)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_commits_read_alike(tmp_path: Path, seed: int) -> None:
    """However places were cut into commits, days and repeats, each span is what was written."""
    random = Random(seed)
    archive = Archive(tmp_path / f"{seed}-{random.random()}")
    written: dict[Place, set[int]] = {TRADES: set(), OTHER: set()}
    base = {TRADES: 0, OTHER: 1000}
    for _ in range(random.randint(1, 6)):
        batch: list[Row] = []
        for place, offsets in written.items():
            begin = base[place] + random.randint(0, 60)
            chosen = [it for it in range(begin, begin + random.randint(0, 40)) if it % 11]
            offsets.update(chosen)
            batch += [(place, record(it, day=it // 25)) for it in chosen]
        batch.sort(key=lambda row: random.random() if random.randrange(4) else row[1].offset)
        if batch:
            archive.commit(batch)
    if not any(written.values()):
        return
    log = archive.log()
    for place, offsets in written.items():
        begin = random.randint(0, 1100)
        end = begin + random.randint(0, 100)
        for span in (ALL, (begin, end)):
            expected = [record(it, day=it // 25) for it in sorted(offsets) if span[0] <= it < span[1]]
            assert list(log.read(place, span)) == expected
        assert log.bounds(place) == ((min(offsets), max(offsets) + 1) if offsets else (0, 0))


def test_few_files_are_open_at_a_time(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that follow one another are read one after the other, though both partitions' offsets lie in each."""
    for number in range(12):
        base = number * 10
        archive.commit(rows(TRADES, range(base, base + 10)) + rows(OTHER, range(5_000 + base, 5_010 + base)))
    reading = most = 0

    def counted(self: pieces.Pieces, piece: Piece, span: tuple[int, int]) -> Iterable[LogRecord]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        yield from read(self, piece, span)
        reading -= 1

    read = pieces.Pieces.read
    monkeypatch.setattr(pieces.Pieces, "read", counted)
    assert [it.offset for it in archive.log().read(OTHER, ALL)] == list(range(5_000, 5_120))
    assert most == 1


def test_rows_out_of_order_are_put_in_order(archive: Archive) -> None:
    """A row group of many batches whose last rows belong first, one of them twice, is sorted."""
    count = 3 * pieces.BATCH_RECORDS
    archive.commit(rows(TRADES, [*range(100, count), *range(100), 7]))
    assert [it.offset for it in archive.log().read(TRADES, ALL)] == list(range(count))


def test_only_the_files_of_a_span_are_read(archive: Archive) -> None:
    """A span prunes by the manifests' bounds: a file that cannot hold it is not even opened."""
    (first,) = archive.commit(rows(TRADES, range(10)))
    archive.commit(rows(TRADES, range(10, 20)))
    first.write_bytes(b"no parquet")
    assert [it.offset for it in archive.log().read(TRADES, (10, 15))] == list(range(10, 15))
    with pytest.raises(FileFault, match="damaged"):
        list(archive.log().read(TRADES, (9, 15)))


def test_a_lost_file_is_named_or_left_out(archive: Archive) -> None:
    """It is an error, unless somebody wants to hear of it and go on."""
    archive.commit(rows(TRADES, range(10)))
    (lost,) = archive.commit(rows(TRADES, range(10, 20)))
    archive.commit(rows(TRADES, range(20, 30)))
    lost.unlink()
    with pytest.raises(FileFault, match=lost.name):
        list(archive.log().read(TRADES, ALL))
    heard: list[Exception] = []
    log = ArchiveLog(archive.bucket, on_fault=heard.append)
    assert [it.offset for it in log.read(TRADES, ALL)] == [*range(10), *range(20, 30)]
    assert len(list(log.read(TRADES, ALL))) == 20
    assert [type(it) for it in heard] == [FileFault]


@pytest.mark.parametrize("at", [0.02, 0.5, 0.97])
def test_a_damaged_file_is_told_from_a_server_that_fails(archive: Archive, at: float) -> None:
    """Bytes that were lost anywhere in a file, its pages or its footer."""
    (file,) = archive.commit(rows(TRADES, range(2_000)))
    data = bytearray(file.read_bytes())
    begin = int(len(data) * at)
    data[begin : begin + 300] = bytes(len(data[begin : begin + 300]))
    file.write_bytes(data)
    heard: list[Exception] = []
    read = list(ArchiveLog(archive.bucket, on_fault=heard.append).read(TRADES, ALL))
    assert ["is damaged" in str(it) for it in heard] == [True]
    assert read == [record(it.offset) for it in read]


def test_a_row_that_was_moved_to_another_topic_is_not_read(archive: Archive) -> None:
    """A file's place in the table does not speak for its rows."""
    (file,) = archive.commit(rows(TRADES, range(10)))
    table = pq.read_table(file)
    topics = pa.array(["trades"] * 9 + ["orders"], table.schema.field("topic").type)
    rewrite(file, table.set_column(1, table.schema.field("topic"), topics))
    assert [it.offset for it in archive.log().read(TRADES, ALL)] == list(range(9))


def test_a_copy_elsewhere_reads_alike(archive: Archive, tmp_path: Path) -> None:
    """A bucket that was copied is whole, though its metadata name the place where it was made."""
    archive.commit(rows(TRADES, range(10)))
    copy = tmp_path / "elsewhere"
    shutil.copytree(archive.folder / "archive", copy / "archive")
    shutil.rmtree(archive.folder / "archive")
    assert len(list(ArchiveLog(Bucket.at(f"file://{copy}")).read(TRADES, ALL))) == 10


def test_no_archive_is_an_error(tmp_path: Path) -> None:
    """It names the place, and what to do."""
    with pytest.raises(ArchiveError, match=r"no archive is at file://.*--archive"):
        ArchiveLog(Bucket.at(f"file://{tmp_path}"))


def newest_metadata(archive: Archive) -> Path:
    """The metadata file of the last commit."""
    return Path(archive.table.metadata_location.removeprefix("file://"))


def test_an_orphan_of_the_newest_version_is_read_too(archive: Archive) -> None:
    """Whether a commit took effect cannot be seen in the bucket: what its metadata name is there all the same."""
    archive.commit(rows(TRADES, range(10)))
    base = newest_metadata(archive)
    archive.commit(rows(TRADES, range(10, 20)))
    orphan = newest_metadata(archive)
    archive.catalog.drop_table(NAME)
    archive.catalog.register_table(NAME, f"file://{base}")
    archive.commit(rows(TRADES, range(10, 15)))
    assert orphan.name[:5] == newest_metadata(archive).name[:5]
    assert [it.offset for it in archive.log().read(TRADES, ALL)] == list(range(20))
    for manifests in {*orphan.parent.glob("snap-*")} - {*named_by(newest_metadata(archive))}:
        manifests.unlink()
    assert archive.log().bounds(TRADES) == (0, 15)


def named_by(metadata: Path) -> list[Path]:
    """The lists of manifests that a metadata file names."""
    return [it for it in metadata.parent.glob("snap-*") if it.name in metadata.read_text()]


@pytest.mark.parametrize("left", [0, 100])
def test_metadata_that_are_being_written_do_not_count(archive: Archive, left: int) -> None:
    """A folder shows a file before it is whole: the version before it holds until then."""
    archive.commit(rows(TRADES, range(10)))
    archive.commit(rows(TRADES, range(10, 20)))
    file = newest_metadata(archive)
    file.write_bytes(file.read_bytes()[:left])
    assert archive.log().bounds(TRADES) == (0, 10)


def test_metadata_that_are_gone_are_an_error(archive: Archive) -> None:
    """One version back is a commit under way, more is damage."""
    for number in range(4):
        archive.commit(rows(TRADES, range(number * 10, number * 10 + 10)))
    for file in sorted(newest_metadata(archive).parent.glob("*.metadata.json"))[-2:]:
        file.write_bytes(b"{")
    with pytest.raises(ArchiveError, match="damaged"):
        archive.log()


def test_a_table_in_s3_reads_alike(archive: Archive) -> None:
    """Through a server that fails now and then: what is asked again is answered."""
    archive.commit(rows(TRADES, range(500)) + rows(OTHER, range(300)))
    archive.commit(rows(TRADES, range(400, 700)))
    with s3_server() as server:
        s3 = client(server.url)
        for file in sorted(it for it in archive.folder.rglob("*") if it.is_file()):
            s3.upload_file(str(file), BUCKET, f"engine/{file.relative_to(archive.folder)}")
        bucket = Bucket.at(
            f"s3://{BUCKET}/engine", endpoint=server.url, access_key=KEY, secret_key=SECRET, region=REGION
        )
        server.failures = 2
        log = ArchiveLog(bucket)
        server.failures = 2
        assert list(log.read(TRADES, ALL)) == [record(offset) for offset in range(700)]
        assert log.bounds(OTHER) == (0, 300)
        with server.refusing_keys(), pytest.raises(ArchiveError, match="refuses the key"):
            ArchiveLog(bucket)
