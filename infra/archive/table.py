"""The table `archive.raw` as it lies in a bucket, found from its metadata files alone: no catalogue is asked.

What is read here are Iceberg's own files, by pyiceberg: the newest metadata, its manifests, the list of data files
with the values and bounds by which they are pruned. Paths in them are absolute, of the place where the table was
made; they are taken relative to the table's location, so that a copy of a bucket reads like the bucket.
"""

import re
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

from pyiceberg.io import FileIO, InputFile, OutputFile
from pyiceberg.io.pyarrow import PyArrowFile
from pyiceberg.manifest import DataFile, ManifestContent
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table.metadata import TableMetadata

from infra.archive.bucket import ArchiveError, Bucket

FOLDER: Final = "archive/raw"
_METADATA: Final = re.compile(r"(?:^|/)(?P<version>\d+)-[^/]+\.metadata\.json$")
_SCHEME: Final = re.compile(r"^[a-z0-9]+:/*|^/+")  # Java writes file:/x where others write file:///x


class Bounds(NamedTuple):
    """The least and the greatest value of a column, both inclusive."""

    least: int
    greatest: int


class ArchivedFile(NamedTuple):
    """A data file, and what its manifest says of it; bounds are None where it does not say them."""

    path: str  # in the bucket
    topic: str
    day: int  # since 1970, UTC
    partitions: Bounds | None
    offsets: Bounds | None
    records: int  # repeats included
    size: int  # bytes


class ArchiveTable(NamedTuple):
    """One state of the table: it stays as it is while others commit, as nothing of it is ever deleted."""

    version: int
    born_ms: int  # when its first metadata were written: what Kafka had lost by then it cannot have
    files: tuple[ArchivedFile, ...]  # by path


def newest(bucket: Bucket) -> ArchiveTable:
    """The newest state of the table.

    A commit writes its metadata file before it takes effect, so one that failed leaves a file of the same version as
    the one that went through: all of the newest version are read and united, since readers drop repeats. One
    whose manifests are gone (a writer may tidy up behind a failed commit), or that is being written, does not count.

    Raises:
        ArchiveError: there is no table, or its newest state cannot be read.

    """
    versions = versions_of(bucket)
    if not versions:
        raise ArchiveError(
            f"no archive is at {bucket.uri(FOLDER)}: name the right place by --archive or TRADING_ARCHIVE_URL,"
            " or wait for the first commit of the archive's connector"
        )
    latest = max(versions)
    faults: list[str] = []
    for version in (latest, latest - 1):  # the one before it, while the newest is being written
        states = [
            state for path in versions.get(version, ()) if (state := _state(bucket, path, faults)) is not None
        ]
        if states:
            files = {file.path: file for state in states for file in state}
            in_order = tuple(sorted(files.values(), key=attrgetter("path")))
            return ArchiveTable(version, _born_ms(bucket, versions[min(versions)][0]), in_order)
    raise ArchiveError(f"{faults[0]}: bring this file back from a copy of the bucket")


def versions_of(bucket: Bucket) -> Mapping[int, list[str]]:
    """The table's metadata files by their version; more than one of a version where a commit failed."""
    versions: dict[int, list[str]] = {}
    for path in bucket.list(f"{FOLDER}/metadata"):
        if found := _METADATA.search(path):
            versions.setdefault(int(found["version"]), []).append(path)
    return versions


def _state(bucket: Bucket, path: str, faults: list[str]) -> list[ArchivedFile] | None:
    """The data files that a metadata file leads to; None, and why, where it leads nowhere."""
    try:
        with bucket.errors(path):
            return [file for file, _ in entries(bucket, _metadata(bucket, path))]
    except ArchiveError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise  # the server's fault, not the file's
        faults.append(str(error))
    except Exception as error:  # noqa: BLE001 - there is no end to what parsers raise on a damaged file
        faults.append(f"{bucket.uri(path)} or a manifest of it is damaged ({type(error).__name__}: {error})")
    return None


def _born_ms(bucket: Bucket, path: str) -> int:
    with bucket.errors(path):
        return _metadata(bucket, path).last_updated_ms


def _metadata(bucket: Bucket, path: str) -> TableMetadata:
    file = PyArrowFile(bucket.uri(path), bucket.path(path), bucket.filesystem)
    return FromInputFile.table_metadata(file)


def entries(bucket: Bucket, metadata: TableMetadata) -> Iterator[tuple[ArchivedFile, DataFile]]:
    """The data files of a table's current snapshot, in our words and in pyiceberg's."""
    snapshot = metadata.current_snapshot()
    if snapshot is None:
        return
    io, schema = BucketIO(bucket, metadata.location), metadata.schema()
    for manifest in snapshot.manifests(io):
        if manifest.content != ManifestContent.DATA:
            raise ArchiveError(
                f"{manifest.manifest_path} deletes records of the archive: whoever wrote it is not ours"
            )
        spec = metadata.specs()[manifest.partition_spec_id]
        columns = [schema.find_column_name(field.source_id) for field in spec.fields]
        for entry in manifest.fetch_manifest_entry(io):
            values = {name: entry.data_file.partition[at] for at, name in enumerate(columns)}
            yield _file(io, entry.data_file, values, schema), entry.data_file


def _file(io: "BucketIO", data: DataFile, values: Mapping[str | None, Any], schema: Schema) -> ArchivedFile:
    return ArchivedFile(
        path=io.path(data.file_path),
        topic=values["topic"],
        day=values["ts"],
        partitions=_bounds(data, schema, "partition"),
        offsets=_bounds(data, schema, "offset"),
        records=data.record_count,
        size=data.file_size_in_bytes,
    )


def _bounds(data: DataFile, schema: Schema, column: str) -> Bounds | None:
    field = schema.find_field(column).field_id
    least, greatest = (data.lower_bounds or {}).get(field), (data.upper_bounds or {}).get(field)
    return None if least is None or greatest is None else Bounds(_number(least), _number(greatest))


def _number(value: bytes) -> int:
    """Iceberg's form of an int or a long as a bound."""
    return int.from_bytes(value, "little", signed=True)


class BucketIO(FileIO):
    """How pyiceberg reads a table's files through a bucket, wherever the table was made."""

    def __init__(self, bucket: Bucket, location: str) -> None:
        """``location`` is the table's own, as its metadata has it."""
        super().__init__()
        self._bucket, self._location = bucket, f"{_bare(location)}/"

    def path(self, location: str) -> str:
        """Where a file of the table is in the bucket."""
        inner = _bare(location)
        if not inner.startswith(self._location):
            raise ArchiveError(
                f"{location} lies outside of the archive's table: whoever wrote it there is not ours"
            )
        return f"{FOLDER}/{inner.removeprefix(self._location)}"

    def new_input(self, location: str) -> InputFile:
        """A file to read."""
        return PyArrowFile(location, self._bucket.path(self.path(location)), self._bucket.filesystem)

    def new_output(self, location: str) -> OutputFile:
        """Nothing is written this way."""
        raise NotImplementedError(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        """Nothing is ever deleted."""
        raise NotImplementedError(location)


def _bare(location: str) -> str:
    return _SCHEME.sub("", location).rstrip("/")
