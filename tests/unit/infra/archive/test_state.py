import json
from pathlib import Path

import msgspec
import pytest

from infra.archive import state as states
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.state import Day, find_state, read_state, take_state
from infra.auditor.agreement import entries_of
from infra.auditor.cut import last_checkpoint
from infra.auditor.log import Place
from infra.sealing import keys
from infra.settings import Settings
from tables.meta import META_KEY, decode_meta
from tests.unit.infra.auditor.engine import COUNTS, ENV, Engine, open_market, trade_at_random
from tests.unit.infra.auditor.engine import MemoryLog as PlainLog

DAY = "2026-11-25"


class MemoryLog(PlainLog):
    """A log in memory that knows its times."""

    def first_since(self, place: Place, timestamp_ms: int) -> int:
        """See DatedLog."""
        later = (it.offset for it in self.records[place] if it.timestamp_ms >= timestamp_ms)
        return next(later, len(self.records[place]))


@pytest.fixture(scope="module")
def engine() -> Engine:
    """A session with two checkpoints; order-states never ran."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, 1, 200)
    engine.checkpoint()
    trade_at_random(engine, 2, 200, "again")
    engine.checkpoint()
    return engine


class Town:
    """An engine's log, settings with a key, and an empty bucket."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.log = MemoryLog(engine.log.records)
        self.settings = Settings(
            data_folder=folder / "data",
            env=ENV,
            account_partitions=COUNTS.accounts,
            book_partitions=COUNTS.books,
        )
        keys.ensure(self.settings)
        self.keys = keys.trusted(self.settings)
        self.bucket = Bucket.at(f"file://{folder / 'archive'}")
        self.now_ms = engine.now_ns // 10**6

    def take(self) -> str:
        """Takes the state, of a day that began a little before the end."""
        day = Day.of(DAY)._replace(start_ms=self.now_ms - 5_000)
        return take_state(self.settings, self.log, self.bucket, keys.private(self.settings), day, self.now_ms)


@pytest.fixture
def town(engine: Engine, tmp_path: Path) -> Town:
    """A fresh bucket."""
    return Town(engine, tmp_path)


def test_a_day_is_utc() -> None:
    """A day has 24 hours from midnight UTC, and only a date names one."""
    assert Day.of(DAY) == (DAY, 1_795_564_800_000, 1_795_651_200_000)
    with pytest.raises(ArchiveError, match="is no day"):
        Day.of("yesterday")


def test_a_state_is_the_changelogs_at_their_last_checkpoint(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each partition's rows and META come back as the changelog holds them, META last, from several files too."""
    monkeypatch.setattr(states, "FILE_BYTES", 2_000)
    town.take()
    state = read_state(town.bucket, DAY, town.keys)
    assert {it.stage for it in state.manifest.states} == {"control", "risk", "matching", "settlement"}
    for it in state.manifest.states:
        checkpoint = last_checkpoint(town.log, it.changelog, it.partition)
        assert checkpoint is not None
        entries = list(state.entries(it))
        assert dict(entries) == entries_of(town.log, checkpoint, it.partition)
        assert entries[-1][0] == META_KEY
        meta = decode_meta(entries[-1][1] or b"")
        assert (it.next_offset, it.end_offset) == (meta.next_offset, checkpoint.end)
    assert max(len(it.files) for it in state.manifest.states) > 1
    assert state.manifest.counts == COUNTS


def test_a_day_begins_at_its_first_record(town: Town) -> None:
    """In each topic the manifest names the first record of the day, or the end where none has come yet."""
    town.take()
    begins = read_state(town.bucket, DAY, town.keys).manifest.begins
    started_ms = town.now_ms - 5_000
    assert {(it.topic, it.partition) for it in begins} == {
        place for place in town.log.records if not place[0].endswith("-changelog")
    }
    for it in begins:
        records = town.log.records[it.topic, it.partition]
        assert all(record.timestamp_ms < started_ms for record in records[: it.offset])
        assert it.offset == len(records) or records[it.offset].timestamp_ms >= started_ms
    assert any(0 < it.offset < len(town.log.records[it.topic, it.partition]) for it in begins)


def test_a_half_written_state_is_none(town: Town) -> None:
    """Without its manifest there is no state; the next attempt has a name of its own, and leaves the first alone."""
    first = town.take()
    half = Path(town.bucket.path(first))
    (half / states.MANIFEST).unlink()
    assert find_state(town.bucket, DAY) is None
    with pytest.raises(ArchiveError, match=f"no state of {DAY}: no day has one"):
        read_state(town.bucket, DAY, town.keys)
    left = sorted(half.iterdir())
    second = town.take()
    assert find_state(town.bucket, DAY) == second != first
    assert sorted(half.iterdir()) == left
    with pytest.raises(ArchiveError, match=f"no state of 2026-11-26: those with one are {DAY}"):
        read_state(town.bucket, "2026-11-26", town.keys)


def test_a_manifest_that_was_changed_is_refused(town: Town) -> None:
    """One figure changed, a key that nobody trusts, a state moved to another day: nothing is read from it."""
    folder = town.take()
    path = Path(town.bucket.path(f"{folder}/{states.MANIFEST}"))
    genuine = path.read_bytes()
    manifest = json.loads(genuine)
    manifest["states"][0]["next_offset"] += 1
    path.write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(ArchiveError, match=r"is not what key .* signed"):
        read_state(town.bucket, DAY, town.keys)
    path.write_bytes(genuine)
    with pytest.raises(ArchiveError, match="give its public key by --public-key"):
        read_state(town.bucket, DAY, {})
    path.write_bytes(genuine[:-1])
    with pytest.raises(ArchiveError, match="cannot be read"):
        read_state(town.bucket, DAY, town.keys)
    path.write_bytes(genuine)
    path.parent.parent.rename(path.parent.parent.with_name("2026-11-24"))
    with pytest.raises(ArchiveError, match=f"is the state of {DAY}, not of 2026-11-24"):
        read_state(town.bucket, "2026-11-24", town.keys)


def test_a_file_that_was_changed_is_refused(town: Town) -> None:
    """A state's rows are those that were signed, or an error that names the file."""
    folder = town.take()
    state = read_state(town.bucket, DAY, town.keys)
    changelog = next(it for it in state.manifest.states if it.files)
    path = Path(town.bucket.path(f"{folder}/{changelog.files[0].path}"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match=f"{changelog.files[0].path} is not the file that was signed"):
        list(state.entries(changelog))
