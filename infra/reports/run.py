"""One report of one day: its rows from a source, its file, and the manifest that says what it is and what it lacks."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra.auditor.log import KafkaLog, Log, Place
from infra.auditor.report import Report
from infra.auditor.sinks import await_projection
from infra.cluster import counts_of
from infra.reports.coverage import check_end, check_seals, check_start
from infra.reports.day import Day
from infra.reports.definitions import Definitions
from infra.reports.executions import RECORDS
from infra.reports.files import MISSING, NOT_APPLICABLE, Schema, schema, write
from infra.reports.log_rows import TOPICS_OF, LogRows
from infra.reports.notes import Notes
from infra.reports.obligations import obligations
from infra.reports.orders import orders
from infra.reports.positions import positions
from infra.reports.postgres_rows import PostgresRows
from infra.reports.rows import Rows
from infra.reports.trades import trades
from infra.settings import Settings
from schemas import codec
from schemas.flat import FlatMarketData, FlatOrderEvent, FlatPosition, FlatReference, FlatRiskEvent
from schemas.record import Record
from schemas.sinks import BY_RECORD
from schemas.topics import BY_NAME, is_sealed

Builder = Callable[[Rows, Day, Definitions, Notes], Iterator[dict[str, Any]]]


class Kind(NamedTuple):
    """A report: what builds it, and of which records."""

    build: Builder
    records: tuple[type[Record], ...]


REPORTS: Final[Mapping[str, Kind]] = {
    "orders": Kind(orders, (FlatOrderEvent, FlatRiskEvent, FlatReference)),
    "trades": Kind(trades, (*RECORDS, FlatReference)),
    "positions": Kind(positions, (*RECORDS, FlatPosition, FlatMarketData, FlatReference)),
    "obligations": Kind(obligations, (*RECORDS, FlatReference)),
}
BEHIND: Final = "the projection is behind"
UNCHECKED: Final = "Kafka does not answer, so nobody knows whether the tables have all of the day"
NOT_STORED: Final = "the tables are behind their topics"


class Order(NamedTuple):
    """What was asked for: a report, its day, and where its file goes."""

    name: str
    day: Day
    folder: Path
    suffix: str  # ".csv" or ".json"


def from_log(asked: Order, settings: Settings, log: Log, source: str) -> dict[str, Any]:
    """The report of a log, and its manifest."""
    notes, kind = Notes(), REPORTS[asked.name]
    with closing(LogRows(log, settings.epoch, kind.records, notes)) as rows:
        _check(asked, settings, log, notes)
        return _make(asked, settings, rows, source, notes)


def from_postgres(asked: Order, settings: Settings, log: Log | None) -> dict[str, Any]:
    """The report of the tables; the log tells whether they are up to date. Without one (None) nobody knows."""
    notes, kind = Notes(), REPORTS[asked.name]
    if log is None:
        notes.incomplete(UNCHECKED)
    elif isinstance(log, KafkaLog):
        _check_projection(settings, log, notes)
    with closing(PostgresRows(settings)) as rows:
        if log is not None:
            _check_stored(log, rows, kind.records, settings.epoch, notes)
            _check(asked, settings, log, notes)
        return _make(asked, settings, rows, "postgres", notes)


def _make(asked: Order, settings: Settings, rows: Rows, source: str, notes: Notes) -> dict[str, Any]:
    check_start(rows.since_ns, asked.day, notes)
    of = schema(asked.name)
    asked.folder.mkdir(parents=True, exist_ok=True)
    path = asked.folder / f"{asked.name}-{asked.day}{asked.suffix}"
    definitions = Definitions(rows, notes)
    written = write(path, of, REPORTS[asked.name].build(rows, asked.day, definitions, notes))
    manifest = {
        "report": asked.name,
        "version": of.document["x-version"],
        "source_in_law": of.document["description"],
        "day": str(asked.day),
        "epoch": settings.epoch,
        "source": source,
        "file": path.name,
        "format": asked.suffix.removeprefix("."),
        **msgspec.structs.asdict(written),
        "complete": not notes.reasons,
        "reasons": list(notes.reasons),
        "missing": of.why(MISSING),
        "not_applicable": of.why(NOT_APPLICABLE),
        "partly_missing": notes.partly(),
    }
    _save(path.with_name(f"{path.name}.manifest.json"), manifest, schema("manifest"))
    return manifest


def _save(path: Path, manifest: dict[str, Any], of: Schema) -> None:
    of.check(manifest, path.name)
    path.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _check(asked: Order, settings: Settings, log: Log, notes: Notes) -> None:
    check_end(log, settings.env, asked.day, notes)
    check_seals(log, _sealed_places(log, REPORTS[asked.name].records), asked.day, notes)


def _sealed_places(log: Log, records: Sequence[type[Record]]) -> list[Place]:
    there = log.topics()
    names = {
        topic for it in records for topic in TOPICS_OF[it] if topic in there and is_sealed(BY_NAME[topic])
    }
    return [(name, partition) for name in sorted(names) for partition in range(there[name])]


def _check_projection(settings: Settings, log: KafkaLog, notes: Notes) -> None:
    report = Report()
    await_projection(settings, log, counts_of(settings), report.tally(BEHIND), time.monotonic())
    for tally in report:
        for example in tally.examples:
            notes.incomplete(BEHIND, example)


def _check_stored(
    log: Log, rows: PostgresRows, records: Sequence[type[Record]], epoch: int, notes: Notes
) -> None:
    """A connector stores a partition in its order: where the last record of it is a row, all are."""
    there = log.topics()
    for sink in (BY_RECORD[it] for it in records):
        for partition in range(there.get(sink.topic, 0)):
            start, end = log.bounds((sink.topic, partition))
            for record in log.read((sink.topic, partition), (max(start, end - 1), end)):
                row: Any = codec.decode(record.value or b"") if record.value else None
                if row is not None and row.epoch == epoch and not rows.has_row(row):
                    notes.incomplete(
                        NOT_STORED, f"{sink.table} has not {sink.topic} {partition} at {record.offset}"
                    )
