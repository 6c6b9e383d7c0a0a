"""Compaction: few files in the place of a closed day's many, with the same records.

A commit a minute makes 1,440 files a day of each topic. For each topic of a day that is over, the small ones are
written again: a file for each partition, in the order of offsets, each record once. What was written is read back, and
its count and hash must be those of what it stands for; only then one commit puts it in their place. Nothing is
deleted: earlier snapshots, and the files that only they name, stay. Killed at any line, it leaves at most files that
nobody names.
"""

import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ValidationException
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from agents.rules.audit import leaf, leaf_prefix
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.catalogue import load
from infra.archive.holdings import date_of, day_of
from infra.archive.log import ArchiveLog
from infra.archive.table import FOLDER, ArchivedFile, ArchiveTable, Bounds, entries
from infra.auditor.log import LogRecord, Place

SMALL_BYTES: Final = 32_000_000  # larger files are left alone
FILE_BYTES: Final = 64_000_000  # at which a new file is begun; one is held in memory
GROUP_BYTES: Final = 16_000_000  # of a row group: what a reader of a span unpacks at least
GROUP_RECORDS: Final = 65_536
TASK_BYTES: Final = 256_000_000  # of a commit: a minute or so of work, so that others get their turn
GAIN: Final = 2  # small files are worth compacting if they are so many times those that come of them
CLOSED_AFTER_S: Final = 3_600  # behind midnight; what comes later still makes small files for another time
COMMITS_MAX: Final = 20  # the connector commits once a minute: to lose so often in a row is no race
PAUSE_S: Final = 0.2
_US_PER_MS: Final = 1_000


class CompactionError(ArchiveError):
    """What was written is not what it was to stand for; nothing was committed."""


class Task(NamedTuple):
    """The small files of one topic and day, as the catalogue has them."""

    day: int
    topic: str
    files: tuple[ArchivedFile, ...]
    data_files: tuple[DataFile, ...]


Pair = tuple[ArchivedFile, DataFile]
"""A data file in our words and in pyiceberg's."""


class Digest(NamedTuple):
    """What a topic's records are, repeats dropped: their count, and a hash over their leaves by place."""

    records: int
    content_hash: str


class Compacted(NamedTuple):
    """What was done, and what was proved of it."""

    day: str
    topic: str
    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    records: int
    repeats: int  # dropped
    content_hash: str


def closed_days(now: datetime) -> range:
    """The days that are over at a time, in UTC, with a while for what comes late."""
    return range(day_of(datetime.fromtimestamp(now.timestamp() - CLOSED_AFTER_S, UTC).date()))


def tasks(bucket: Bucket, table: Table | None, days: range) -> list[Task]:
    """What there is to compact in some days, the oldest day first."""
    small: dict[tuple[int, str], list[Pair]] = {}
    for file, data_file in entries(bucket, table.metadata) if table else ():
        if file.day in days and file.size < SMALL_BYTES:
            small.setdefault((file.day, file.topic), []).append((file, data_file))
    found = (Task(*key, *_unzipped(pairs)) for key, of in sorted(small.items()) for pairs in _portions(of))
    return [task for task in found if len(task.files) >= GAIN * _files_after(task.files)]


def compact(catalog: SqlCatalog, bucket: Bucket, task: Task) -> Compacted | None:
    """Does one task; None where somebody else was quicker.

    Raises:
        CompactionError: what was written cannot be told to be the same.
        ArchiveConflict: the files hold two different records of one place.
        ArchiveError: the bucket does not answer, or others commit all the time.

    """
    table = load(catalog)
    assert table is not None, "there is a task"
    source = _log(bucket, task.files)
    before = _digest(
        source
    )  # first: what cannot be read must not leave half of a copy, which a lock would keep
    paths = [path for place in _places(source) for path in _write(bucket, table, task, source, place)]
    made = [
        parquet_file_to_data_file(table.io, table.metadata, f"{table.location()}/{path}") for path in paths
    ]
    written = [
        ArchivedFile(
            f"{FOLDER}/{path}", task.topic, task.day, None, None, it.record_count, it.file_size_in_bytes
        )
        for path, it in zip(paths, made, strict=True)
    ]
    after = _digest(_log(bucket, written))
    if before != after or after.records != sum(it.records for it in written):
        raise CompactionError(
            f"{task.topic} of {date_of(task.day)}: {before.records} records ({before.content_hash[:16]}) were to be"
            f" written, {after.records} ({after.content_hash[:16]}) were read back: nothing was committed; look at"
            f" the memory and the disks of this machine, and at {bucket.uri(written[0].path)}"
        )
    if not _commit(catalog, bucket, task, made, after):
        return None
    return Compacted(
        day=str(date_of(task.day)),
        topic=task.topic,
        files_before=len(task.files),
        files_after=len(made),
        bytes_before=sum(it.size for it in task.files),
        bytes_after=sum(it.size for it in written),
        records=after.records,
        repeats=sum(it.records for it in task.files) - after.records,
        content_hash=after.content_hash,
    )


def _portions(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    """Files of a topic in the order of their offsets, as many at a time as one commit is to replace."""
    portion, size = list[Pair](), 0
    for pair in sorted(pairs, key=lambda it: (it[0].offsets or Bounds(0, 0), it[0].path)):
        if size + pair[0].size > TASK_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(pair)
        size += pair[0].size
    yield portion


def _unzipped(pairs: Iterable[Pair]) -> tuple[tuple[ArchivedFile, ...], tuple[DataFile, ...]]:
    files, data_files = zip(*pairs, strict=True)
    return files, data_files


def _files_after(files: Sequence[ArchivedFile]) -> int:
    """About how many files would come of these: one a partition, more where they are full."""
    known = [it.partitions for it in files if it.partitions is not None]
    partitions = {number for it in known for number in range(it.least, it.greatest + 1)}
    return max(1, len(partitions)) + sum(it.size for it in files) // FILE_BYTES


def _log(bucket: Bucket, files: Iterable[ArchivedFile]) -> ArchiveLog:
    return ArchiveLog(bucket, ArchiveTable(0, 0, tuple(files)))


def _places(log: ArchiveLog) -> list[Place]:
    return [(topic, it) for topic, count in sorted(log.topics().items()) for it in range(count)]


def _digest(log: ArchiveLog) -> Digest:
    count, whole = 0, sha256()
    for place in _places(log):
        prefix = leaf_prefix(*place)
        for record in log.read(place, log.bounds(place)):
            whole.update(leaf(prefix, record.offset, record.timestamp_ms, record.value))
            count += 1
    return Digest(count, whole.hexdigest())


def _write(bucket: Bucket, table: Table, task: Task, source: ArchiveLog, place: Place) -> Iterator[str]:
    """Writes the records of a place, and gives the paths of the files in the table's folder."""
    groups = _row_groups(source.read(place, source.bounds(place)))
    for first in groups:
        path = f"data/topic={task.topic}/ts_day={date_of(task.day)}/compacted-{uuid.uuid4()}.parquet"
        buffer = pa.BufferOutputStream()
        columns = schema_to_pyarrow(table.schema())
        with pq.ParquetWriter(buffer, columns, compression="zstd", write_page_checksum=True) as writer:
            for group in chain([first], groups):
                writer.write_table(_table(group, place, columns))
                if buffer.tell() >= FILE_BYTES:
                    break
        bucket.write_new(f"{FOLDER}/{path}", buffer.getvalue().to_pybytes())
        yield path


def _row_groups(records: Iterable[LogRecord]) -> Iterator[list[LogRecord]]:
    group, size = list[LogRecord](), 0
    for record in records:
        group.append(record)
        size += len(record.value or b"")
        if size >= GROUP_BYTES or len(group) >= GROUP_RECORDS:
            yield group
            group, size = [], 0
    if group:
        yield group


def _table(group: Sequence[LogRecord], place: Place, schema: pa.Schema) -> pa.Table:
    columns: Mapping[str, list[Any]] = {
        "topic": [place[0]] * len(group),
        "partition": [place[1]] * len(group),
        "offset": [it.offset for it in group],
        "ts": [it.timestamp_ms * _US_PER_MS for it in group],
        "value": [it.value for it in group],
    }
    return pa.table({name: columns[name] for name in schema.names}, schema=schema)


def _commit(
    catalog: SqlCatalog, bucket: Bucket, task: Task, made: Sequence[DataFile], proved: Digest
) -> bool:
    """Puts files in the place of others, however often the connector commits meanwhile; False: they are gone."""
    replaced = {it.path for it in task.files}
    summary = {"compacted-records": str(proved.records), "compacted-content-hash": proved.content_hash}
    for _ in range(COMMITS_MAX):
        table = load(catalog)
        assert table is not None, "tables are not dropped"
        if not replaced <= {file.path for file, _ in entries(bucket, table.metadata)}:
            return False
        try:
            with (
                table.transaction() as transaction,
                transaction.update_snapshot(summary).overwrite() as overwrite,
            ):
                for new in made:
                    overwrite.append_data_file(new)
                for old in task.data_files:
                    overwrite.delete_data_file(old)
        except (CommitFailedException, ValidationException):  # another commit came first: on top of it, then
            time.sleep(PAUSE_S)
        else:
            return True
    raise ArchiveError(
        f"{task.topic} of {date_of(task.day)} was not compacted: others committed before each of {COMMITS_MAX} tries;"
        " see what else writes to the archive's table, then ask again"
    )
