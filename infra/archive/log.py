"""The archive as a `Log`: the engine's topics from a bucket alone, in the order of their offsets, each record once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Final, NamedTuple

from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.pieces import FileFault, Piece, Pieces
from infra.archive.table import ArchivedFile, ArchiveTable, Bounds, newest
from infra.auditor.log import LogRecord, Place, Span
from infra.settings import Settings

_EMPTY: Final = (0, 0)


class ArchiveConflict(ArchiveError):
    """Two different records stand at one place."""

    def __init__(self, place: Place, offset: int) -> None:
        super().__init__(
            f"{place[0]} {place[1]} offset {offset}: the archive holds two records of this place that differ, so one"
            " of them is not what Kafka had; its seal tells which: `trading archive verify`"
        )
        self.place, self.offset = place, offset


class Extent(NamedTuple):
    """What a file has of a partition; ``records`` counts repeats."""

    partition: int
    offsets: Bounds
    records: int


Fault = FileFault | ArchiveConflict


def _refuse(fault: Fault) -> None:
    raise fault


class ArchiveLog:
    """What the archive held when this was made: commits that come later are not seen.

    Memory is a megabyte or two for each topic-partition that is being read, however many records there are, and
    for each file more where files overlap, as they do where the connector has read a topic again.
    """

    def __init__(
        self,
        bucket: Bucket,
        table: ArchiveTable | None = None,
        *,
        days: range | None = None,
        on_fault: Callable[[Fault], object] = _refuse,
    ) -> None:
        """Opens a state, the newest unless told; only the files of some days (since 1970, UTC), if told.

        ``on_fault`` is told of each file that cannot be read, which is then left out, and of each two records of one
        place, of which the one of the later file is left out; unless told, it raises.

        Raises:
            ArchiveError: there is no archive, or it cannot be read.

        """
        self.bucket = bucket
        self.table = newest(bucket) if table is None else table
        self._on_fault = on_fault
        self._pieces = Pieces(bucket)
        self._lost: set[str] = set()
        self._files: dict[str, list[ArchivedFile]] = {}
        for file in self.table.files:
            if days is None or file.day in days:
                self._files.setdefault(file.topic, []).append(file)

    def topics(self) -> Mapping[str, int]:
        """How many partitions each topic has, as far as its records tell."""
        return {topic: max(map(self._last_partition, files)) + 1 for topic, files in self._files.items()}

    def files(self, topic: str) -> list[ArchivedFile]:
        """The data files of a topic."""
        return self._files.get(topic, [])

    def bounds(self, place: Place) -> Span:
        """The first offset that is archived, and the one behind the last; (0, 0) where nothing is."""
        files = self._files_of(place)
        extents = [it for _, it in self.extents(files) if it.partition == place[1]]
        if not extents:
            return _EMPTY
        return min(it.offsets.least for it in extents), max(it.offsets.greatest for it in extents) + 1

    def extents(self, files: Iterable[ArchivedFile]) -> Iterator[tuple[ArchivedFile, Extent]]:
        """What files hold, partition by partition: by their manifests, or their footers where those do not tell."""
        files = list(files)
        self._pieces.learn(file for file in files if _only_extent(file) is None)
        for file in files:
            only = _only_extent(file)
            if only is not None:
                yield file, only
                continue
            pieces = self._look_into(file)
            for partition in sorted({it.partition for it in pieces}):
                of = [it for it in pieces if it.partition == partition]
                offsets = Bounds(min(it.first for it in of), max(it.last for it in of))
                yield file, Extent(partition, offsets, sum(it.records for it in of))

    def read(self, place: Place, span: Span) -> Iterator[LogRecord]:
        """The records of a span, in their order, repeats dropped; ArchiveConflict where two of one offset differ."""
        last: LogRecord | None = None
        for record in _in_order(self._pieces_of(place, span), lambda it: self._records(it, span)):
            if last is None or record.offset > last.offset:
                yield record
                last = record
            elif record != last:
                self._on_fault(ArchiveConflict(place, record.offset))

    def _records(self, piece: Piece, span: Span) -> Iterator[LogRecord]:
        try:
            yield from self._pieces.read(piece, span)
        except FileFault as fault:
            self._lose(fault)

    def _look_into(self, file: ArchivedFile) -> tuple[Piece, ...]:
        try:
            return self._pieces.of(file)
        except FileFault as fault:
            self._lose(fault)
            return ()

    def _lose(self, fault: FileFault) -> None:
        if fault.file.path not in self._lost:
            self._on_fault(fault)
            self._lost.add(fault.file.path)

    def _last_partition(self, file: ArchivedFile) -> int:
        if file.partitions is not None:
            return file.partitions.greatest
        return max((it.partition for it in self._look_into(file)), default=-1)

    def _files_of(self, place: Place) -> list[ArchivedFile]:
        topic, partition = place
        return [it for it in self.files(topic) if _may_hold(it.partitions, (partition, partition + 1))]

    def _pieces_of(self, place: Place, span: Span) -> Iterator[Piece]:
        """The pieces of a place that may hold some of a span, by their first offset; few more files are opened."""
        files = deque(
            sorted((it for it in self._files_of(place) if _may_hold(it.offsets, span)), key=_first_offset)
        )
        found: list[Piece] = []
        while files or found:
            while files and (not found or _first_offset(files[0]) <= found[0].first):
                for piece in self._look_into(files.popleft()):
                    if piece.partition == place[1] and _may_hold(Bounds(piece.first, piece.last), span):
                        heappush(found, piece)
            if found:
                yield heappop(found)


def _only_extent(file: ArchivedFile) -> Extent | None:
    """A file's extent by its manifest: known where it holds one partition."""
    if file.partitions is None or file.offsets is None or file.partitions.least != file.partitions.greatest:
        return None
    return Extent(file.partitions.least, file.offsets, file.records)


def _may_hold(bounds: Bounds | None, span: Span) -> bool:
    return bounds is None or (bounds.least < span[1] and bounds.greatest >= span[0])


def _first_offset(file: ArchivedFile) -> int:
    return 0 if file.offsets is None else file.offsets.least


def _in_order(pieces: Iterator[Piece], read: Callable[[Piece], Iterator[LogRecord]]) -> Iterator[LogRecord]:
    """The records of pieces by their offsets; a piece is opened when its first record may be the next.

    ``pieces`` come by their first offsets. One that overlaps no other is read straight through.
    """
    tell_apart = count()
    opened: list[tuple[int, int, LogRecord, Iterator[LogRecord], Piece]] = []
    waiting = next(pieces, None)
    while waiting is not None or opened:
        while waiting is not None and (not opened or waiting.first <= opened[0][0]):
            records = read(waiting)
            if (first := next(records, None)) is not None:
                heappush(opened, (first.offset, next(tell_apart), first, records, waiting))
            waiting = next(pieces, None)
        if not opened:
            continue
        _, number, record, records, piece = opened[0]
        yield record
        if len(opened) == 1 and (waiting is None or waiting.first > piece.last):
            yield from records
            opened.clear()
        elif (following := next(records, None)) is not None:
            heapreplace(opened, (following.offset, number, following, records, piece))
        else:
            heappop(opened)


@contextmanager
def archive_log(settings: Settings, on_fault: Callable[[Fault], object] = _refuse) -> Iterator[ArchiveLog]:
    """The archive of the settings, as `engine_log` opens Kafka."""
    yield ArchiveLog(Bucket.of(settings), on_fault=on_fault)
