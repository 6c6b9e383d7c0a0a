"""Records of the archive for others to read: decoded or raw, a JSON object a line, or as the Parquet they came from."""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from connectors.views.reference import moment
from infra.archive.log import ArchiveLog
from infra.auditor.log import LogRecord, Place
from infra.shown import shown
from schemas import codec
from schemas.record import Record

CHUNK: Final = 10_000
NS_PER_MS: Final = 10**6
SCHEMA: Final = pa.schema(
    [
        pa.field("topic", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("ts", pa.timestamp("ms", "UTC"), nullable=False),
        pa.field("value", pa.binary()),
    ]
)
"""The columns of archive.raw."""


class Selection(NamedTuple):
    """Which records: of these places, from one time (ms, UTC) to before another."""

    places: tuple[Place, ...]
    begin_ms: int
    end_ms: int


def selected(log: ArchiveLog, selection: Selection) -> Iterator[tuple[Place, LogRecord]]:
    """The records, place by place, each place in its order."""
    for place in selection.places:
        for record in log.read(place, log.bounds(place)):
            if selection.begin_ms <= record.timestamp_ms < selection.end_ms:
                yield place, record


def decoded(place: Place, record: LogRecord) -> str:
    """A record as a line: its place, its time, and what it says; bytes where nobody here can say it."""
    line = _placed(place, record.offset) | {"time": moment(record.timestamp_ms * NS_PER_MS)}
    if record.value is None:
        return json.dumps(line | {"record": None})
    try:
        return json.dumps(line | {"record": _said(codec.decode(record.value))})
    except codec.DecodeError as error:
        return json.dumps(line | {"value": b64encode(record.value).decode(), "undecoded": str(error)})


def raw(place: Place, record: LogRecord) -> str:
    """A record as a line: its place, its time in ms, and its bytes in base64, null for a tombstone."""
    value = None if record.value is None else b64encode(record.value).decode()
    line = _placed(place, record.offset) | {"timestamp_ms": record.timestamp_ms, "value": value}
    return json.dumps(line)


def write_parquet(records: Iterable[tuple[Place, LogRecord]], file: Path) -> int:
    """Writes records to a file in the columns of the archive, and gives their count."""
    count, rest = 0, iter(records)
    with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        while chunk := list(islice(rest, CHUNK)):
            writer.write_table(_table(chunk))
            count += len(chunk)
    return count


def _said(record: Record) -> dict[str, Any]:
    """A record with its type, and so each item of an envelope."""
    items = getattr(record, "items", None)
    return shown(record) | ({} if items is None else {"items": [shown(item) for item in items]})


def _placed(place: Place, offset: int) -> dict[str, Any]:
    return {"topic": place[0], "partition": place[1], "offset": offset}


def _table(chunk: list[tuple[Place, LogRecord]]) -> pa.Table:
    columns: list[list[Any]] = [
        [topic for (topic, _), _ in chunk],
        [partition for (_, partition), _ in chunk],
        [record.offset for _, record in chunk],
        [record.timestamp_ms for _, record in chunk],
        [record.value for _, record in chunk],
    ]
    return pa.table(columns, schema=SCHEMA)
