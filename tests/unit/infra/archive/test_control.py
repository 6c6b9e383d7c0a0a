"""The connector's events: what the table holds of what they name, and what it does not hold yet."""

import io
from typing import Any, Final

import fastavro
import msgspec
import pytest

from infra.archive.bucket import ArchiveError
from infra.archive.control import _Metadata, decode, held_by, held_ends, pending
from infra.auditor.log import LogRecord, Place
from infra.sinks.connectors import CONTROL_TOPIC
from tests.unit.infra.auditor.engine import MemoryLog

A: Final[Place] = ("orders", 0)
B: Final[Place] = ("orders", 1)
START, COMPLETE = 0, 2
PLACE: Final = {
    "type": "record",
    "name": "Place",
    "fields": [
        {"name": "topic", "type": "string"},
        {"name": "partition", "type": "int"},
        {"name": "offset", "type": ["null", "long"]},
    ],
}
SCHEMA: Final = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "type", "type": "int"},
        {
            "name": "payload",
            "type": {
                "type": "record",
                "name": "Payload",
                "fields": [{"name": "assignments", "type": {"type": "array", "items": PLACE}}],
            },
        },
    ],
}


def event(kind: int, **ends: int | None) -> bytes:
    """An event as the connector writes it: `a` and `b` are the ends of the two places."""
    places = {"a": A, "b": B}
    assignments: list[dict[str, Any]] = [
        {"topic": places[it][0], "partition": places[it][1], "offset": end} for it, end in ends.items()
    ]
    body = io.BytesIO()
    fastavro.schemaless_writer(body, SCHEMA, {"type": kind, "payload": {"assignments": assignments}})
    schema = msgspec.json.encode(SCHEMA)
    return b"\xc2\x01" + len(schema).to_bytes(2, "big") + schema + body.getvalue()


def control(*events: bytes) -> MemoryLog:
    """A log whose control topic has these events, from offset 0 on."""
    records = [LogRecord(offset, 0, None, value) for offset, value in enumerate(events)]
    return MemoryLog({(CONTROL_TOPIC.name, 0): records})


def test_what_the_table_does_not_hold_yet_is_pending() -> None:
    """A place is pending while an event behind what the table holds names an end of it; no end is no news."""
    log = control(event(COMPLETE, a=5, b=7), event(START), event(COMPLETE, a=9, b=None), event(COMPLETE))
    assert pending(log, 0) == {A, B}
    assert pending(log, 1) == {A}
    assert pending(log, 3) == set()


def test_the_end_that_is_held_is_the_last_that_was_told_before() -> None:
    """Events behind what the table holds do not count, nor older ones of the same place."""
    log = control(event(COMPLETE, a=3), event(COMPLETE, a=5, b=7), event(COMPLETE, b=8), event(COMPLETE, a=9))
    assert held_ends(log, 3, {A, B}) == {A: 5, B: 8}
    assert held_ends(log, 1, {A, B}) == {A: 3}
    assert held_ends(log, 0, {A}) == {}


def test_many_events_are_read_from_the_end_backwards() -> None:
    """A place that said nothing for long is found however far back its last event is."""
    log = control(event(COMPLETE, a=1), *(event(COMPLETE, b=end) for end in range(1_200)))
    assert held_ends(log, 1_201, {A, B}) == {A: 1, B: 1_199}


def test_the_snapshot_of_another_writer_stands_on_the_connectors() -> None:
    """A compaction's snapshot says nothing of events: the one before it does; without any, none is held."""
    said = '{"0":17}'
    text = """{"current-snapshot-id": 3, "snapshots": [
        {"snapshot-id": 1, "summary": {"kafka.connect.offsets.control-iceberg.connect-archive-raw": "{\\"0\\":4}"}},
        {"snapshot-id": 2, "parent-snapshot-id": 1, "summary":
            {"kafka.connect.offsets.control-iceberg.connect-archive-raw": %s}},
        {"snapshot-id": 3, "parent-snapshot-id": 2, "summary": {"operation": "replace"}}]}"""
    metadata = msgspec.json.decode(text % msgspec.json.encode(said).decode(), type=_Metadata)
    assert held_by(metadata) == 17
    assert held_by(_Metadata(None, [])) is None


def test_what_is_no_event_is_said() -> None:
    """Another program's record in the control topic is an error with its first bytes, not a guess."""
    with pytest.raises(ArchiveError, match="no event"):
        decode(b"hello")
