"""Whatever is done to a sealed log is found, and named."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.rules.audit import Chain
from infra.auditor.log import LogRecord
from infra.sealing.keys import generate, key_file, private, trusted
from infra.sealing.verify import verify
from schemas import codec
from tests.unit.infra.sealing.sealed_log import (
    JOURNAL,
    ORDERS,
    PER_SEGMENT,
    PRINTS,
    SEGMENTS,
    START_MS,
    TRADES,
    SealedLog,
    long_after,
    signed,
)

Records = list[LogRecord]


@pytest.fixture
def sealed(tmp_path: Path) -> SealedLog:
    """A sealed log that nobody has touched."""
    return SealedLog(tmp_path)


def test_untouched_log_holds(sealed: SealedLog) -> None:
    """Nothing is found; every record but the open minute's was checked."""
    found = sealed.verify()
    assert found.findings == []
    report = found.places[TRADES]
    assert (report.seals, report.records_checked, report.unsealed_records) == (SEGMENTS, 30, 2)
    assert report.sealed_to == SEGMENTS * PER_SEGMENT - 1


def test_one_changed_byte_names_the_record(sealed: SealedLog) -> None:
    """A flipped bit of a value is found at its offset, and nowhere else."""

    def flip(records: Records) -> None:
        value = bytearray(records[8].value or b"")
        value[3] ^= 1
        records[8] = records[8]._replace(value=bytes(value))

    sealed.edit(TRADES, flip)
    assert sealed.found() == {("changed", "trades", 8, 1)}


@pytest.mark.parametrize(
    "change", [{"timestamp_ms": START_MS + 1}, {"value": None}, {"value": b""}, {"value": b"other"}]
)
def test_time_and_value_are_both_sealed(sealed: SealedLog, change: dict[str, Any]) -> None:
    """A record with another time, or with no value, is a changed record."""
    sealed.edit(ORDERS, lambda records: records.__setitem__(2, records[2]._replace(**change)))
    assert sealed.found() == {("changed", "orders", 2, 0)}


def test_null_is_not_empty(sealed: SealedLog) -> None:
    """A tombstone that becomes an empty value is a changed record."""
    assert sealed.log.records[TRADES][PER_SEGMENT].value is None
    sealed.edit(TRADES, lambda it: it.__setitem__(PER_SEGMENT, it[PER_SEGMENT]._replace(value=b"")))
    assert sealed.found() == {("changed", "trades", PER_SEGMENT, 1)}


def test_the_archive_s_place_is_sealed_too(sealed: SealedLog, tmp_path: Path) -> None:
    """Seals of before there was an archive hold, and later ones that name one follow; another name is a forgery."""
    place = f"file://{tmp_path}/archive/raw/metadata"
    _, last = sealed.seal(TRADES, SEGMENTS - 1)
    records = sealed.log.records[TRADES]
    chain = Chain(*TRADES, 0, last, sealed.key, place)
    sealed.add([*chain.take(records), chain.close()])
    assert sealed.found() == set()
    assert [sealed.seal(TRADES, it)[1].archive for it in (SEGMENTS - 1, SEGMENTS)] == [None, place]
    for forged in (None, "file:///elsewhere"):
        sealed.replace_seal(TRADES, SEGMENTS, archive=forged)
        assert {(kind, number) for kind, _, _, number in sealed.found()} == {("forged_seal", SEGMENTS)}


@pytest.mark.parametrize("offset", [0, 5, 6, 17, 29])
def test_one_dropped_record_is_named(sealed: SealedLog, offset: int) -> None:
    """A record that is gone from the middle is missing, wherever in a segment it was."""
    sealed.edit(TRADES, lambda records: records.__delitem__(offset))
    assert sealed.found() == {("missing", "trades", offset, offset // PER_SEGMENT)}


def test_log_that_lost_its_end_is_found(sealed: SealedLog) -> None:
    """Sealed records behind the log's end are missing."""
    sealed.edit(TRADES, lambda records: records.__delitem__(slice(27, None)))
    assert sealed.found() == {("missing", "trades", offset, 4) for offset in (27, 28, 29)}


@pytest.mark.parametrize("keeps_times", [True, False])
def test_two_swapped_records_are_named(sealed: SealedLog, keeps_times: bool) -> None:
    """Two records of a segment that changed places are told as such, with where each stands now."""

    def swap(records: Records) -> None:
        one, two = records[7], records[10]
        records[7] = two._replace(offset=7, timestamp_ms=(one if keeps_times else two).timestamp_ms)
        records[10] = one._replace(offset=10, timestamp_ms=(two if keeps_times else one).timestamp_ms)

    sealed.edit(TRADES, swap)
    assert sealed.found() == {("moved", "trades", 7, 1), ("moved", "trades", 10, 1)}
    assert {it.detail for it in sealed.verify().findings} == {
        "it stands at offset 10",
        "it stands at offset 7",
    }


def test_record_added_where_a_transaction_left_a_gap_is_named(tmp_path: Path) -> None:
    """An offset at which nothing was sealed must stay empty."""
    sealed = SealedLog(tmp_path)
    sealed.log.records[JOURNAL].clear()
    sealed.log.records[PRINTS].clear()
    removed = sealed.log.records[TRADES].pop(9)
    for place in (TRADES, ORDERS):
        sealed.add(Chain(*place, 0, None, sealed.key).take(sealed.log.records[place]))
    assert sealed.found() == set()
    sealed.edit(TRADES, lambda records: records.insert(9, removed))
    assert sealed.found() == {("added", "trades", 9, 1)}


def test_record_squeezed_in_is_told_from_those_it_pushed(sealed: SealedLog) -> None:
    """In a log that was written anew with one more record, that one is added and the others moved."""

    def squeeze(records: Records) -> None:
        records[26:] = [
            LogRecord(26, records[25].timestamp_ms, None, b"never said"),
            *(it._replace(offset=it.offset + 1) for it in records[26:]),
        ]

    sealed.edit(TRADES, squeeze)
    moved = {("moved", "trades", offset, 4) for offset in (26, 27, 28)}
    assert sealed.found() == {("added", "trades", 26, 4), *moved, ("missing", "trades", 29, 4)}


def test_forged_fields_are_found(sealed: SealedLog) -> None:
    """A seal whose fields were edited no longer fits its hash."""
    sealed.replace_seal(TRADES, 2, record_count=5)
    assert sealed.found() == {("forged_seal", "trades", None, 2)}


def test_seal_of_another_key_is_found(sealed: SealedLog) -> None:
    """Whoever changes a record and seals it anew by a key of his own is found out."""
    generate(sealed.settings.data_folder / "elsewhere" / "thief.key")
    thief = private(
        sealed.settings.model_copy(
            update={"audit_key_file": sealed.settings.data_folder / "elsewhere" / "thief.key"}
        )
    )
    sealed.sign_again(TRADES, 2, thief)
    assert sealed.found() == {("forged_seal", "trades", None, 2)}
    assert "is not trusted" in sealed.verify().findings[0].detail
    sealed.replace_seal(TRADES, 2, key_id=sealed.key.key_id, signature=thief.sign(b"x").hex())
    assert "did not sign it" in sealed.verify().findings[0].detail
    sealed.replace_seal(TRADES, 2, key_id=sealed.key.key_id, signature="no hex")
    assert sealed.found() == {("forged_seal", "trades", None, 2)}


def test_seal_written_anew_by_the_right_key_breaks_the_chain(sealed: SealedLog) -> None:
    """Even with the key stolen, an old seal cannot be replaced: the next one names what it was."""
    sealed.sign_again(TRADES, 2, sealed.key, records_hash="0" * 64)
    kinds = {(kind, number) for kind, _, _, number in sealed.found()}
    assert ("broken_chain", 3) in kinds
    assert ("broken_segment", 2) in kinds


def test_missing_seal_is_found(sealed: SealedLog) -> None:
    """A seal that was taken out of `seals` leaves a gap in the numbers."""
    index, _ = sealed.seal(TRADES, 2)
    sealed.edit(JOURNAL, lambda records: records.__delitem__(index))
    assert sealed.found() == {("missing_seal", "trades", None, 2)}


def test_seals_cut_off_at_the_end_leave_records_without_one(sealed: SealedLog) -> None:
    """With the last seals gone, records are too old to have none."""
    for number in range(1, SEGMENTS):
        index, _ = sealed.seal(TRADES, number)
        sealed.edit(JOURNAL, lambda records, at=index: records.__delitem__(at))  # type: ignore[misc]
    assert sealed.found() == set(), "four minutes may be a sealer that starts anew"
    sealed.edit(ORDERS, lambda it: it.append(LogRecord(99, it[-1].timestamp_ms + 60_000, None, b"")))
    assert sealed.found() == {("unsealed", "trades", PER_SEGMENT, None)}


def test_two_seals_of_one_number_are_a_fork(sealed: SealedLog) -> None:
    """The same seal twice is a repeat; another of its number is a fork, though the right key signed it."""
    _, seal = sealed.seal(TRADES, 4)
    sealed.append(JOURNAL, codec.encode(seal))
    assert sealed.found() == set()
    _, other = sealed.seal(TRADES, 3)
    fork = msgspec.structs.replace(other, number=4, previous=other.previous)
    sealed.append(JOURNAL, codec.encode(signed(fork, sealed.key)))
    assert sealed.found() == {("forked_chain", "trades", None, 4)}


def test_garbage_in_seals_is_found(sealed: SealedLog) -> None:
    """What is no seal, is named by its offset."""
    at = sealed.log.bounds(JOURNAL)[1]
    sealed.append(JOURNAL, b"no seal")
    assert sealed.found() == {("forged_seal", "seals", at, None)}


def test_a_restored_log_has_lost_nothing_before_its_start(sealed: SealedLog) -> None:
    """Seals of before a restored day are expired, its own hold, in the middle of one too; later losses are found."""
    begin = 2 * PER_SEGMENT + 1

    def found() -> list[tuple[str, int | None]]:
        verified = verify(
            sealed.log,
            trusted(sealed.settings),
            [TRADES],
            now_ms=sealed.now_ms,
            restored_from={TRADES: begin},
        )
        assert verified.places[TRADES].records_checked
        return [(it.kind, it.offset) for it in verified.findings]

    sealed.log.delete(TRADES, begin)
    assert found() == []
    sealed.log.delete(TRADES, 3 * PER_SEGMENT)
    assert found()[-1] == ("removed_early", 2 * PER_SEGMENT)


def test_retention_is_told_from_loss(sealed: SealedLog) -> None:
    """Old records behind the log's start are expired; young ones were removed, and a hole behind it is a loss."""
    sealed.log.delete(TRADES, 2 * PER_SEGMENT)
    found = sealed.verify(now_ms=long_after())
    assert (found.findings, found.places[TRADES].expired_seals) == ([], 2)
    young = sealed.found()
    assert young == {("removed_early", "trades", 0, 0), ("removed_early", "trades", PER_SEGMENT, 1)}
    sealed.edit(TRADES, lambda records: records.__delitem__(3))
    assert sealed.found(now_ms=long_after()) == {("missing", "trades", 2 * PER_SEGMENT + 3, 2)}


def test_half_expired_segment_is_checked_by_its_fingerprints(sealed: SealedLog) -> None:
    """Retention may cut a segment in two: what is left of it is still compared."""
    sealed.log.delete(TRADES, PER_SEGMENT + 2)
    assert sealed.found(now_ms=long_after()) == set()
    sealed.edit(TRADES, lambda records: records.__setitem__(1, records[1]._replace(value=b"x")))
    assert sealed.found(now_ms=long_after()) == {("changed", "trades", PER_SEGMENT + 3, 1)}


def test_records_deleted_before_they_were_sealed_are_said_for_ever(sealed: SealedLog) -> None:
    """A sealer that was away for longer than retention leaves a hole that no seal covers."""
    _, last = sealed.seal(TRADES, 4)
    at_ms = START_MS + 20 * 60_000
    chain = Chain(*TRADES, 50, last, sealed.key)
    records = [LogRecord(50, at_ms, None, b"a"), LogRecord(51, at_ms + 60_000, None, b"b")]
    sealed.edit(TRADES, lambda it: it.__setitem__(slice(30, None), records))
    sealed.add(chain.take(records))
    assert ("never_sealed", "trades", 30, 5) in sealed.found(TRADES)


def test_without_fingerprints_the_segment_is_named(sealed: SealedLog) -> None:
    """Where fingerprints are gone or forged, the segment is told, and what is missing is still named."""
    sealed.log.records[PRINTS].clear()
    sealed.edit(TRADES, lambda records: records.__setitem__(8, records[8]._replace(value=b"x")))
    sealed.edit(ORDERS, lambda records: records.__delitem__(8))
    assert sealed.found() == {("broken_segment", "trades", None, 1), ("missing", "orders", 8, 1)}


def test_only_the_places_asked_for_are_read(sealed: SealedLog) -> None:
    """A verification of one topic says nothing of another."""
    sealed.edit(TRADES, lambda records: records.__delitem__(8))
    assert sealed.found(ORDERS) == set()


def test_key_that_had_its_day_seals_no_more(sealed: SealedLog) -> None:
    """After a rotation the old key's seals hold, but it may not seal again."""
    old = sealed.key
    generate(key_file(sealed.settings), rotate=True)
    new = private(sealed.settings)
    _, last = sealed.seal(TRADES, 4)
    at_ms = sealed.log.records[TRADES][-1].timestamp_ms
    for number, key in enumerate((new, old)):
        chain = Chain(*TRADES, 0, last, key)
        later = LogRecord(32 + number, at_ms + (number + 1) * 60_000, None, b"later")
        sealed.edit(TRADES, lambda it, one=later: it.append(one))  # type: ignore[misc]
        made = list(chain.take(sealed.log.records[TRADES]))
        sealed.add(made)
        last = made[-1].seal
        assert sealed.found() == (set() if key is new else {("forged_seal", "trades", None, 6)})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(("change", "drop")), st.integers(0, PER_SEGMENT * SEGMENTS - 1)),
        min_size=1,
        max_size=8,
        unique_by=lambda it: it[1],
    )
)
def test_any_set_of_changes_is_named_exactly(
    tmp_path_factory: pytest.TempPathFactory, done: list[tuple[str, int]]
) -> None:
    """Several records changed and dropped at once are all named, each once, and no other is."""
    sealed = SealedLog(tmp_path_factory.mktemp("sealed"))
    for kind, offset in sorted(done, key=lambda it: -it[1]):
        records = sealed.log.records[TRADES]
        if kind == "drop":
            del records[offset]
        else:
            records[offset] = records[offset]._replace(value=b"changed")
    words = {"change": "changed", "drop": "missing"}
    assert sealed.found() == {(words[kind], "trades", offset, offset // PER_SEGMENT) for kind, offset in done}
