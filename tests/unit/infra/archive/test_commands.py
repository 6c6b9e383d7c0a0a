"""`trading archive list`, `export` and `verify` as an operator calls them: on a bucket, from anywhere."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from infra.auditor.log import LogRecord, Place
from infra.cli import main
from schemas import codec
from schemas.commands import Tick
from schemas.envelopes import ControlCommands
from schemas.topics import ORDER_STATES
from tests.unit.infra.archive.archived import DAY_MS, Archive, Row
from tests.unit.infra.archive.test_proof import Town

TRADES: Place = ("trades", 1)
FLAT: Place = ("order-events", 0)
COMPACTED: Place = (ORDER_STATES, 0)
START_MS = 19_675 * DAY_MS  # 2023-11-14
RECORD = codec.encode(ControlCommands(items=(Tick(tick_ns=1, at_ns=2),)))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Two days of a topic, in one commit each and some of it twice."""
    archive = Archive(tmp_path / "bucket")
    archive.commit(rows(TRADES, 0, 10))
    archive.commit([*rows(TRADES, 5, 20), *rows(TRADES, 20, 25, day=1)])
    return archive


def rows(place: Place, begin: int, end: int, *, day: int = 0) -> list[Row]:
    """Records: ticks, but for a tombstone and a stranger's."""
    values = {3: None, 4: b"no record of ours"}
    return [
        (place, LogRecord(it, START_MS + day * DAY_MS + it * 1000, None, values.get(it, RECORD)))
        for it in range(begin, end)
    ]


def called(archive: Archive, *words: str) -> Result:
    """What `trading archive` says of that bucket."""
    command, *options = words
    return CliRunner().invoke(main, ["archive", command, "--archive", f"file://{archive.folder}", *options])


def lines(archive: Archive, *words: str) -> list[Any]:
    """An export's lines."""
    result = called(archive, "export", *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_list_tells_days_and_offsets(archive: Archive) -> None:
    """A line for each day of a topic-partition; what was archived twice counts twice."""
    result = called(archive, "list", "--json")
    names = ("day", "topic", "partition", "first_offset", "last_offset", "records", "files")
    shown = [tuple(it[name] for name in names) for it in json.loads(result.stdout)]
    assert shown == [("2023-11-14", "trades", 1, 0, 19, 25, 2), ("2023-11-15", "trades", 1, 20, 24, 5, 1)]
    sizes = sum(it["size"] for it in json.loads(result.stdout))
    assert sizes == sum(file.stat().st_size for file in archive.data_files())


def test_list_of_one_day(archive: Archive) -> None:
    """For people, with the sum."""
    result = called(archive, "list", "--day", "2023-11-15")
    assert result.exit_code == 0
    assert "2023-11-15" in result.stdout
    assert "2023-11-14" not in result.stdout
    assert result.stdout.splitlines()[-1].startswith("5 records")


def test_list_counts_partitions_apart(archive: Archive) -> None:
    """Of a file that holds several."""
    archive.commit([*rows(("trades", 0), 100, 103), *rows(TRADES, 25, 27)])
    listed = json.loads(called(archive, "list", "--json").stdout)
    found = {
        (it["day"], it["partition"], it["first_offset"], it["last_offset"]): it["records"] for it in listed
    }
    assert found["2023-11-14", 0, 100, 102] == 3
    assert found["2023-11-14", 1, 0, 26] == 27


def test_export_tells_what_records_say(archive: Archive) -> None:
    """Each once, in order; a tombstone is null, a stranger's comes as its bytes."""
    said = lines(archive, "--topic", "trades")
    assert [it["offset"] for it in said] == list(range(25))
    place = {"topic": "trades", "partition": 1, "offset": 0, "time": "2023-11-14T00:00:00.000000000Z"}
    tick = {"type": "Tick", "tick_ns": 1, "at_ns": 2}
    assert said[0] | {"record": None} == place | {"record": None}
    assert said[0]["record"] == {"type": "ControlCommands", "items": [tick], "origin": None}
    assert said[3]["record"] is None
    assert b64decode(said[4]["value"]) == b"no record of ours"
    assert said[4]["undecoded"]


def test_export_of_a_span_of_time(archive: Archive) -> None:
    """From one time to before another."""
    span = ("--since", "2023-11-14T00:00:05", "--until", "2023-11-14T00:00:08")
    assert [it["offset"] for it in lines(archive, *span)] == [5, 6, 7]
    assert [it["offset"] for it in lines(archive, "--day", "2023-11-15")] == list(range(20, 25))
    assert lines(archive, "--partition", "0") == []


def test_raw_export_is_exact(archive: Archive) -> None:
    """Place, time and bytes."""
    said = lines(archive, "--form", "raw")
    values = [None if it["value"] is None else b64decode(it["value"]) for it in said]
    expected = rows(TRADES, 0, 20) + rows(TRADES, 20, 25, day=1)
    assert values == [record.value for _, record in expected]
    assert [it["timestamp_ms"] for it in said] == [record.timestamp_ms for _, record in expected]


def test_parquet_export(archive: Archive, tmp_path: Path) -> None:
    """The columns of the archive, each record once; a file that is there is not overwritten."""
    file = tmp_path / "out.parquet"
    assert called(archive, "export", "--form", "parquet", "--output", str(file)).exit_code == 0
    table = pq.read_table(file)
    assert table.column("offset").to_pylist() == list(range(25))
    assert table.column("value").to_pylist()[3:5] == [None, b"no record of ours"]
    again = called(archive, "export", "--output", str(file))
    assert (again.exit_code, "exists" in again.output) == (1, True)
    assert pq.read_table(file).num_rows == 25


def test_export_that_breaks_off_leaves_no_file(archive: Archive, tmp_path: Path) -> None:
    """Half an export must not pass for a whole one."""
    archive.data_files()[-1].write_bytes(b"no parquet")
    file = tmp_path / "out.ndjson"
    result = called(archive, "export", "--output", str(file))
    assert result.exit_code == 1
    assert "damaged" in result.output
    assert not file.exists()


def test_unknown_topic_tells_what_there_is(archive: Archive) -> None:
    """A typing error is one line."""
    result = called(archive, "export", "--topic", "tradse")
    assert (result.exit_code, len(result.output.splitlines())) == (1, 1)
    assert "there is trades" in result.output


def verified(town: Town, *options: str) -> tuple[int, Any]:
    """The exit code, and what `trading archive verify` says."""
    result = called(town.archive, "verify", "--public-key", str(town.key), "--json", *options)
    assert result.exit_code in {0, 1}, result.output
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """A sealed log in an archive, and no Kafka."""
    monkeypatch.setenv("TRADING_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setattr("infra.cluster.CONNECT_TIMEOUT_S", 0.3)
    return Town(tmp_path)


def test_verify_holds_without_kafka_and_says_so(town: Town) -> None:
    """What was not looked at is a note; who demands it gets an error."""
    code, said = verified(town)
    assert (code, said["findings"]) == (0, [])
    assert said["notes"][0].startswith("not compared with Kafka")
    result = called(town.archive, "verify", "--public-key", str(town.key), "--kafka")
    assert (result.exit_code, "does not answer" in result.output) == (1, True)


def test_verify_names_gaps_of_what_has_no_seals(town: Town) -> None:
    """In a topic that keeps all; a compacted one has gaps of its own."""
    town.archive.commit(
        [*rows(FLAT, 0, 5), *rows(FLAT, 8, 10), *rows(COMPACTED, 0, 2), *rows(COMPACTED, 7, 9)]
    )
    code, said = verified(town, "--no-kafka")
    assert code == 1
    assert [(it["kind"], it["topic"], it["offset"]) for it in said["findings"]] == [("gap", FLAT[0], 5)]


def test_verify_names_what_seals_do_not_explain(town: Town) -> None:
    """The engine of `trading audit verify` runs in it."""
    town.edit(("trades", 0), 7, lambda it, at: it.__delitem__(at))
    code, said = verified(town, "--no-kafka")
    assert code == 1
    assert [(it["kind"], it["offset"]) for it in said["findings"]] == [("missing", 7)]
