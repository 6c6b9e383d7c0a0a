"""Pieces of the archive: the records of one topic-partition in one row group of a data file, and how they are read."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache, reduce
from itertools import repeat
from operator import itemgetter
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.table import ArchivedFile, Bounds
from infra.auditor.log import LogRecord, Span

COLUMNS: Final = ["topic", "partition", "offset", "ts", "value"]
BATCH_BYTES: Final = 1_000_000  # held at a time of each piece that is open
BATCH_RECORDS: Final = 8_192
READ_BYTES: Final = 1_000_000  # fetched at a time of a column, instead of all of its row group
OPEN_FILES: Final = 64
SIDE_BY_SIDE: Final = 16
US_PER_MS: Final = 1_000


class FileFault(ArchiveError):
    """A data file is gone, or is not what it was: its records are lost until it is brought back."""

    def __init__(self, file: ArchivedFile, detail: str) -> None:
        super().__init__(detail)
        self.file = file


class Piece(NamedTuple):
    """Which offsets of a topic-partition a row group holds, both inclusive; others may lie between them."""

    first: int
    last: int
    records: int
    file: ArchivedFile
    row_group: int
    partition: int


class Pieces:
    """Finds and reads the pieces of data files."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._open = lru_cache(OPEN_FILES)(self._opened)
        self._known: dict[str, tuple[Piece, ...]] = {}

    def of(self, file: ArchivedFile) -> tuple[Piece, ...]:
        """All pieces of a file: told by its footer, or by two of its columns where a row group has several partitions.

        Raises:
            FileFault: the file is not there, or is damaged.

        """
        known = self._known.get(file.path)
        if known is None:
            with self._errors(file):
                known = self._known[file.path] = tuple(self._index(file))
        return known

    def learn(self, files: Iterable[ArchivedFile]) -> None:
        """Looks into many files side by side: what takes long is to wait for a server."""
        with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
            deque(threads.map(self._try, files), maxlen=0)

    def read(self, piece: Piece, span: Span) -> Iterator[LogRecord]:
        """The records of a piece that lie in a span, in the order of their offsets; raises as `of`."""
        batches = self._batches(piece, span)
        if self._is_ordered(piece):
            for batch in batches:
                yield from _records(batch)
        else:  # neither the connector nor compaction writes such a row group, but its rows are as good as others
            yield from sorted((it for batch in batches for it in _records(batch)), key=itemgetter(0))

    def _try(self, file: ArchivedFile) -> None:
        with suppress(FileFault):  # whoever asks for the file is told
            self.of(file)

    def _index(self, file: ArchivedFile) -> Iterator[Piece]:
        parquet = self._open(file.path)
        columns = {name: at for at, name in enumerate(parquet.schema_arrow.names)}
        for number in range(parquet.metadata.num_row_groups):
            group = parquet.metadata.row_group(number)
            partitions = _bounds(group.column(columns["partition"]).statistics)
            offsets = _bounds(group.column(columns["offset"]).statistics)
            if partitions and offsets and partitions.least == partitions.greatest:
                yield Piece(*offsets, group.num_rows, file, number, partitions.least)
            elif group.num_rows:
                table = parquet.read_row_group(number, columns=["partition", "offset"], use_threads=False)
                found = table.group_by("partition").aggregate(
                    [("offset", how) for how in ("min", "max", "count")]
                )
                for row in found.to_pylist():
                    if row["partition"] is not None and row["offset_count"]:
                        ends = row["offset_min"], row["offset_max"], row["offset_count"]
                        yield Piece(*ends, file, number, row["partition"])

    def _is_ordered(self, piece: Piece) -> bool:
        """Whether the row group has the offsets of the piece's partition in their order."""
        with self._errors(piece.file):
            parquet = self._open(piece.file.path)
            table = parquet.read_row_group(piece.row_group, ["partition", "offset"], use_threads=False)
            offsets = table.filter(pc.equal(table.column("partition"), piece.partition)).column("offset")
            rising = pc.less(offsets[:-1], offsets[1:])
        return bool(pc.all(rising, min_count=0).as_py())

    def _batches(self, piece: Piece, span: Span) -> Iterator[pa.RecordBatch]:
        """Rows of the piece's topic, partition and span, by what they say themselves."""
        with self._errors(piece.file):
            parquet = self._open(piece.file.path)
            group = parquet.metadata.row_group(piece.row_group)
            fit = BATCH_BYTES * group.num_rows // max(1, group.total_byte_size)
            for batch in parquet.iter_batches(
                max(1, min(BATCH_RECORDS, fit)), [piece.row_group], COLUMNS, use_threads=False
            ):
                chosen = _chosen(batch, piece, span)
                if chosen.num_rows:
                    yield chosen

    def _opened(self, path: str) -> pq.ParquetFile:
        file = self._bucket.filesystem.open_input_file(self._bucket.path(path))
        return pq.ParquetFile(
            file, buffer_size=READ_BYTES, read_dictionary=["topic"], page_checksum_verification=True
        )

    @contextmanager
    def _errors(self, file: ArchivedFile) -> Iterator[None]:
        uri, act = self._bucket.uri(file.path), "bring it back from a copy of the bucket"
        try:
            with self._bucket.errors(file.path), _damage():
                yield
        except _Damaged as error:
            raise FileFault(file, f"{uri} is damaged ({error}): {act}") from error
        except ArchiveError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise  # the server's fault
            raise FileFault(file, f"{uri} is gone: {act}") from error


class _Damaged(Exception):
    """What was read is no Parquet, or not the columns of the archive."""


@contextmanager
def _damage() -> Iterator[None]:
    """Tells damage from what the system or the server could not do, since Arrow makes an OSError of much of it."""
    try:
        yield
    except (pa.ArrowException, KeyError, OSError) as error:
        is_systems = isinstance(error, OSError) and (error.errno is not None or "AWS Error" in str(error))
        if is_systems or isinstance(error, FileNotFoundError):
            raise
        raise _Damaged(str(error).split("\n", 1)[0]) from error


def _bounds(statistics: pq.Statistics | None) -> Bounds | None:
    if statistics is None or not statistics.has_min_max:
        return None
    return Bounds(statistics.min, statistics.max)


def _chosen(batch: pa.RecordBatch, piece: Piece, span: Span) -> pa.RecordBatch:
    offset = batch.column("offset")
    wanted = reduce(
        pc.and_,
        (
            pc.equal(batch.column("topic"), piece.file.topic),
            pc.equal(batch.column("partition"), piece.partition),
            pc.greater_equal(offset, max(span[0], piece.first)),
            pc.less(offset, min(span[1], piece.last + 1)),
        ),
    )
    return batch if pc.all(wanted, skip_nulls=False).as_py() else batch.filter(wanted)


def _records(batch: pa.RecordBatch) -> Iterator[LogRecord]:
    times = batch.column("ts").cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return map(
        LogRecord,
        batch.column("offset").to_pylist(),
        pc.divide(times, US_PER_MS).to_pylist(),
        repeat(None),  # the archive has no keys
        batch.column("value").to_pylist(),
    )
