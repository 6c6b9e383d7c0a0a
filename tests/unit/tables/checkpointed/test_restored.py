import pytest
from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from agents.stage.errors import StartRefused
from agents.stage.fetch import _by_partition
from schemas.topics import OFFSET_HEADER
from tables.checkpointed.restored import (
    RUNS_A_RECORD,
    Displaced,
    HalfRestored,
    Offsets,
    begun,
    broker_of,
    offset_header,
    original_of,
    told,
    understood,
)

PLACE = "account-commands", 2
MOVED = {PLACE: Offsets([(0, 100), (3, 110)])}


def fetched(offset: int, topic: str = PLACE[0], header: bytes | None = None) -> Message:
    """A record as librdkafka gives it."""
    headers: list[tuple[str, str | bytes | None]] | None = (
        None if header is None else [("other", b"7"), (OFFSET_HEADER, header)]
    )
    return Message(
        topic=topic, partition=PLACE[1], offset=offset, value=b"", headers=headers, timestamp=(1, 0)
    )


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=8), st.integers(0, 9))
def test_offsets_turn_there_and_back(steps: list[tuple[int, int]], start: int) -> None:
    """Every record of any log with gaps has its original offset, and an offset in a gap means the next record."""
    originals: list[int] = []
    runs: list[tuple[int, int]] = []
    at = start
    for length, gap in steps:
        runs.append((len(originals), at))
        originals += range(at, at + length)
        at += length + gap
    offsets = Offsets(runs)
    assert [offsets.original(it) for it in range(len(originals))] == originals
    for original in range(start, originals[-1] + 3):
        following = sum(it < original for it in originals)
        after_all = max(0, original - originals[-1] - 1)
        assert offsets.broker(original) == following + after_all
    with pytest.raises(Displaced, match=f"begin at {start}"):
        offsets.broker(start - 1)


def test_an_engine_that_was_not_restored_has_the_brokers_offsets() -> None:
    """Without a word about a partition both offsets are one."""
    assert original_of({}, PLACE, 7) == broker_of({}, PLACE, 7) == 7
    assert (original_of(MOVED, PLACE, 4), broker_of(MOVED, PLACE, 111)) == (111, 4)


def test_what_was_told_is_understood() -> None:
    """All runs come back, as many as there are, of each partition."""
    many = Offsets([(it, 3 * it) for it in range(2 * RUNS_A_RECORD + 1)])
    offsets = {PLACE: MOVED[PLACE], ("orders", 0): many}
    restoration = understood([begun("id", "2026-11-25", "file:///a"), *told("id", offsets)])
    assert (restoration.id, restoration.day, restoration.source) == ("id", "2026-11-25", "file:///a")
    assert {place: it.runs for place, it in restoration.offsets.items()} == {
        place: it.runs for place, it in offsets.items()
    }


def test_a_restore_that_did_not_end_is_no_engine() -> None:
    """Killed at any place between its first and its last word, a restore is refused, and so are two in one cluster."""
    whole = [begun("id", "2026-11-25", "file:///a"), *told("id", MOVED)]
    for count in range(len(whole)):
        with pytest.raises(HalfRestored, match="restore anew"):
            understood(whole[:count])
    for wrong in (whole[1:], [*whole, *whole], [whole[0], whole[-1]]):
        with pytest.raises(HalfRestored):
            understood(wrong)


def test_a_stage_is_given_original_offsets() -> None:
    """What is fetched of a restored partition has the offset of its header, later records go on behind it."""
    messages = [
        fetched(2, header=offset_header(102)),
        fetched(3, header=offset_header(110)),
        fetched(4),
        fetched(9, topic="orders"),
    ]
    batches = _by_partition(messages, MOVED)
    assert [[it.offset for it in batch.records] for batch in batches] == [[102, 110, 111], [9]]


def test_a_record_that_stands_elsewhere_stops_the_stage() -> None:
    """A header that contradicts what was restored is no record to act on: the log was tampered with, or copied."""
    messages = [fetched(2, header=offset_header(103))]
    with pytest.raises(StartRefused, match="not the log that was restored") as refused:
        _by_partition(messages, MOVED)
    assert (refused.value.partition, refused.value.offset) == (2, 2)
