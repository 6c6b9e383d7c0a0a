"""An archive as the connector makes it: its schema, partitioning and layout, committed by pyiceberg."""

import uuid
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io.pyarrow import parquet_file_to_data_file, schema_to_pyarrow
from pyiceberg.table import Table

from infra.archive.bucket import Bucket
from infra.archive.log import ArchiveLog
from infra.archive.made import PROPERTIES, SCHEMA, SPEC
from infra.auditor.log import LogRecord, Place

NAME: Final = "archive.raw"
DAY_MS: Final = 24 * 3600 * 1000
Row = tuple[Place, LogRecord]


class Archive:
    """A folder with a table in it, and the catalogue that the connector would have."""

    def __init__(self, folder: Path, catalog: SqlCatalog | None = None) -> None:
        self.folder = folder
        self.bucket = Bucket.at(f"file://{folder}")
        self.catalog = catalog or SqlCatalog(
            "iceberg", uri="sqlite:///:memory:", warehouse=f"file://{folder}"
        )
        self.catalog.create_namespace("archive")
        self.catalog.create_table(
            NAME,
            SCHEMA,
            location=f"file://{folder}/archive/raw",
            partition_spec=SPEC,
            properties=PROPERTIES,
        )

    @property
    def table(self) -> Table:
        """As it is now."""
        return self.catalog.load_table(NAME)

    def log(self) -> ArchiveLog:
        """What is committed now."""
        return ArchiveLog(self.bucket)

    def commit(self, rows: Iterable[Row]) -> list[Path]:
        """Commits records as one snapshot: a file for each topic and day, in it partitions as they come."""
        table = self.table
        by_folder = sorted(rows, key=_folder)
        files = [self._write(name, list(of)) for name, of in groupby(by_folder, key=_folder)]
        with table.transaction() as transaction, transaction.update_snapshot().fast_append() as append:
            for file in files:
                append.append_data_file(parquet_file_to_data_file(table.io, table.metadata, f"file://{file}"))
        return files

    def data_files(self) -> list[Path]:
        """All data files, those included that no snapshot names."""
        return sorted((self.folder / "archive" / "raw" / "data").rglob("*.parquet"))

    def _write(self, name: str, rows: Sequence[Row]) -> Path:
        path = self.folder / "archive" / "raw" / "data" / name / f"00001-{uuid.uuid4()}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(as_table(rows), path, compression="zstd", write_page_checksum=True)
        return path


def as_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as the connector writes them."""
    columns: dict[str, list[Any]] = {
        "value": [record.value for _, record in rows],
        "topic": [topic for (topic, _), _ in rows],
        "partition": [partition for (_, partition), _ in rows],
        "offset": [record.offset for _, record in rows],
        "ts": [record.timestamp_ms * 1000 for _, record in rows],
    }
    return pa.table(columns, schema=schema_to_pyarrow(SCHEMA))


def rows_of(file: Path) -> list[Row]:
    """What stands in a data file."""
    table = pq.read_table(file)
    times = table.column("ts").cast(pa.int64()).to_pylist()
    return [
        ((row["topic"], row["partition"]), LogRecord(row["offset"], time // 1000, None, row["value"]))
        for row, time in zip(table.to_pylist(), times, strict=True)
    ]


def rewrite(file: Path, table: pa.Table) -> None:
    """Puts another file in the place of one, as only somebody could who goes past the engine."""
    pq.write_table(table, file, compression="zstd", write_page_checksum=True)


def _folder(row: Row) -> str:
    (topic, _), record = row
    return f"topic={topic}/ts_day={record.timestamp_ms // DAY_MS}"
