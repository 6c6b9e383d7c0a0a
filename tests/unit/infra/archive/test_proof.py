"""Whatever is done to the archive is found and named, with nothing at hand but its bucket and a public key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from infra.auditor.log import LogRecord, Place
from infra.cli import main
from infra.sealing.keys import generate, key_file, private
from infra.settings import Settings
from tests.unit.infra.archive.archived import Archive, Row, as_table, rewrite, rows_of
from tests.unit.infra.sealing.sealed_log import (
    JOURNAL,
    ORDERS,
    PER_SEGMENT,
    SEGMENTS,
    TRADES,
    SealedLog,
    signed,
)

Rows = list[Row]


class Town:
    """A sealed log in an archive, a commit for each third of it, and the archive's owner far from the engine."""

    def __init__(self, folder: Path) -> None:
        self.sealed = SealedLog(folder / "engine")
        self.archive = Archive(folder / "bucket")
        self.key = folder / "engine" / "audit" / "seal.pub"
        rows = [(place, it) for place, records in self.sealed.log.records.items() for it in records]
        for part in range(3):
            self.archive.commit([row for row in rows if _third(row, self.sealed) == part])

    def file(self, place: Place, offset: int) -> Path:
        """The data file that holds a record."""
        return next(file for file in self.archive.data_files() if (place, offset) in _places(rows_of(file)))

    def edit(self, place: Place, offset: int, change: Callable[[Rows, int], None]) -> None:
        """Rewrites the file that holds a record; ``change`` gets its rows, and the record's number."""
        file = self.file(place, offset)
        rows = rows_of(file)
        change(rows, _places(rows).index((place, offset)))
        rewrite(file, as_table(rows))

    def verify(self, *options: str) -> tuple[int, Any]:
        """The exit code and what `trading audit verify` says."""
        words = ["audit", "verify", "--from", "archive", "--archive", f"file://{self.archive.folder}"]
        result = CliRunner().invoke(main, [*words, "--public-key", str(self.key), "--json", *options])
        assert result.exit_code in {0, 1}, result.output
        return result.exit_code, json.loads(result.stdout)

    def found(self, *options: str) -> set[tuple[str, str, int | None, int | None]]:
        """Kind, topic, offset and seal of all findings."""
        code, said = self.verify(*options)
        assert code == bool(said["findings"])
        return {(it["kind"], it["topic"], it["offset"], it["seal"]) for it in said["findings"]}


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Town:
    """An archive that nobody has touched; no Kafka, no Postgres, an empty data folder."""
    monkeypatch.setenv("TRADING_KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setenv("TRADING_DATA_FOLDER", str(tmp_path / "elsewhere"))
    return Town(tmp_path)


def put(row: Row, value: bytes | None) -> Row:
    """The row with another value."""
    return row[0], row[1]._replace(value=value)


def test_an_untouched_archive_holds(town: Town) -> None:
    """Every record but the open minute's is checked."""
    code, said = town.verify()
    assert (code, said["findings"]) == (0, [])
    places = {(it["topic"], it["partition"]): it for it in said["places"]}
    assert places[TRADES]["records_checked"] == places[ORDERS]["records_checked"] == SEGMENTS * PER_SEGMENT
    assert places[TRADES]["unsealed_records"] == 2


def test_one_changed_byte_names_the_record(town: Town) -> None:
    """A Parquet file that was written again with one other byte in it."""

    def flip(rows: Rows, at: int) -> None:
        value = bytearray(rows[at][1].value or b"")
        value[2] ^= 1
        rows[at] = put(rows[at], bytes(value))

    town.edit(TRADES, 8, flip)
    assert town.found() == {("changed", "trades", 8, 1)}


@pytest.mark.parametrize("offset", [0, 7, 29])
def test_one_dropped_record_is_named(town: Town, offset: int) -> None:
    """Wherever it stood; at the very start too, though Kafka may forget its own."""
    town.edit(TRADES, offset, lambda rows, at: rows.__delitem__(at))
    assert town.found() == {("missing", "trades", offset, offset // PER_SEGMENT)}


def test_two_swapped_records_are_named(town: Town) -> None:
    """Each is told by its fingerprint where it stands now."""

    def swap(rows: Rows, at: int) -> None:
        rows[at], rows[at + 1] = put(rows[at], rows[at + 1][1].value), put(rows[at + 1], rows[at][1].value)

    town.edit(ORDERS, 13, swap)
    assert town.found() == {("moved", "orders", 13, 2), ("moved", "orders", 14, 2)}


def test_a_forged_seal_is_named(town: Town, tmp_path: Path) -> None:
    """A seal that was edited where it lies, and one that another key signed."""
    index, seal = town.sealed.seal(TRADES, 2)
    town.sealed.replace_seal(TRADES, 2, record_count=5)
    edited = town.sealed.log.records[JOURNAL][index].value
    town.edit(JOURNAL, index, lambda rows, at: rows.__setitem__(at, put(rows[at], edited)))
    assert town.found() >= {("forged_seal", "trades", None, 2)}
    stranger = Settings(data_folder=tmp_path / "stranger")
    generate(key_file(stranger))
    town.sealed._put(index, signed(seal, private(stranger)))
    forged = town.sealed.log.records[JOURNAL][index].value
    town.edit(JOURNAL, index, lambda rows, at: rows.__setitem__(at, put(rows[at], forged)))
    assert town.found() >= {("forged_seal", "trades", None, 2)}


def test_an_added_record_is_named(town: Town) -> None:
    """One that stands at a place of its own, in a file of its own."""
    town.edit(TRADES, 8, lambda rows, at: rows.__delitem__(at))
    town.archive.commit([(TRADES, LogRecord(8, town.sealed.now_ms, None, b"put there"))])
    assert town.found() == {("changed", "trades", 8, 1)}


def test_a_second_record_of_a_place_is_named(town: Town) -> None:
    """The archive holds the true one too, and still it does not hold what was sealed."""
    true = town.sealed.log.records[TRADES][8]
    town.archive.commit([(TRADES, true._replace(value=b"put there"))])
    assert ("conflicting", "trades", 8, None) in town.found()


def test_a_file_that_is_gone_is_named_with_its_records(town: Town) -> None:
    """The file, and each record that is missing for it."""
    file = town.file(TRADES, 15)
    offsets = [it.offset for _, it in rows_of(file)]
    file.unlink()
    sealed = {it for it in offsets if it < SEGMENTS * PER_SEGMENT}
    found = town.found()
    assert ("unreadable", "trades", None, None) in found
    assert {offset for kind, _, offset, _ in found if kind == "missing"} == sealed


def test_a_topic_that_is_gone_is_named(town: Town) -> None:
    """Seals speak of it, so it is missed, though nothing in the table does."""
    rows = [(place, it) for place, of in town.sealed.log.records.items() for it in of if place != TRADES]
    other = Archive(town.archive.folder / "other")
    other.commit(rows)
    town.archive = other
    assert town.found("--behind-max", "60") == {("unarchived", "trades", 0, 0)}


def test_what_is_not_archived_yet_is_no_finding(town: Town) -> None:
    """The newest commits have seals whose records come with the next."""
    rows = [(place, it) for place, of in town.sealed.log.records.items() for it in of]
    last = SEGMENTS * PER_SEGMENT - 3
    other = Archive(town.archive.folder / "other")
    other.commit([row for row in rows if row[0] != TRADES or row[1].offset < last])
    town.archive = other
    code, said = town.verify()
    assert (code, said["findings"]) == (0, [])
    assert {it["ahead_seals"] for it in said["places"] if it["topic"] == "trades"} == {1}


def test_unknown_topic_is_an_error(town: Town) -> None:
    """A typing error must not pass for a proof."""
    words = ["audit", "verify", "--from", "archive", "--archive", f"file://{town.archive.folder}"]
    result = CliRunner().invoke(main, [*words, "--public-key", str(town.key), "--topic", "tradse"])
    assert (result.exit_code, result.output) == (1, "Error: tradse: no such topic is sealed\n")


def _third(row: Row, sealed: SealedLog) -> int:
    place, record = row
    return 3 * record.offset // (sealed.log.bounds(place)[1])


def _places(rows: Rows) -> list[tuple[Place, int]]:
    return [(place, record.offset) for place, record in rows]
