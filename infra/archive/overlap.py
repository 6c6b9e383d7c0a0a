"""Whether the archive is whole where no seal says so: no gaps, and what Kafka still has is in it, byte for byte."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from infra.archive.log import ArchiveLog
from infra.auditor.log import Log, LogRecord, Place
from infra.sealing.findings import Verification
from infra.sealing.verify import Progress
from schemas.topics import topic_named

Pair = tuple[LogRecord | None, LogRecord | None]


class Overlap(msgspec.Struct):
    """What the archive and Kafka both have of a topic-partition; the end is the first offset behind it."""

    topic: str
    partition: int
    first_offset: int
    end_offset: int
    records: int = 0  # alike in both


class _Gap(NamedTuple):
    first: int
    last: int


def find_gaps(log: ArchiveLog, sealed: Collection[Place], found: Verification, progress: Progress) -> None:
    """Finds offsets without a record in places that nobody seals; the seals of the others say what belongs there.

    What has gaps in Kafka too is left out.
    """
    places = [it for it in _places(log.topics()) if it not in sealed and not has_gaps(it[0])]
    for number, place in enumerate(places):
        progress(f"gaps of {place[0]} {place[1]}", number, len(places))
        for gap in _gaps(log, place):
            detail = f"offsets {gap.first} to {gap.last} are not in the archive, and those around them are"
            found.find("gap", place, detail, offset=gap.first)


def compare(log: ArchiveLog, kafka: Log, found: Verification, progress: Progress) -> list[Overlap]:
    """Compares each record that both have, and names those that differ or are on one side alone."""
    there = kafka.topics()
    places = [place for place in _places(log.topics()) if place[1] < there.get(place[0], 0)]
    overlaps = []
    for number, place in enumerate(places):
        progress(f"Kafka's {place[0]} {place[1]}", number, len(places))
        ours, theirs = log.bounds(place), kafka.bounds(place)
        span = max(ours[0], theirs[0]), min(ours[1], theirs[1])
        overlap = Overlap(*place, *span)
        if span[0] < span[1]:
            overlaps.append(overlap)
            _compare(place, _pairs(log.read(place, span), kafka.read(place, span)), overlap, found)
    return overlaps


def has_gaps(topic: str) -> bool:
    """Whether records may be missing of it in Kafka too: it is compacted, or not the engine's, and who knows."""
    try:
        return "compact" in dict(topic_named(topic).config)["cleanup.policy"]
    except KeyError:
        return True


def _places(topics: Mapping[str, int]) -> list[Place]:
    return [(topic, it) for topic, count in sorted(topics.items()) for it in range(count)]


def _gaps(log: ArchiveLog, place: Place) -> Iterator[_Gap]:
    begin, end = log.bounds(place)
    expected = begin
    for record in log.read(place, (begin, end)):
        if record.offset > expected:
            yield _Gap(expected, record.offset - 1)
        expected = record.offset + 1


def _compare(place: Place, pairs: Iterable[Pair], overlap: Overlap, found: Verification) -> None:
    for ours, theirs in pairs:
        if ours is None:
            assert theirs is not None, "a pair has one record at least"
            found.find("unlike_kafka", place, "Kafka has it, the archive does not", offset=theirs.offset)
        elif theirs is None:
            if not has_gaps(place[0]):
                found.find("unlike_kafka", place, "the archive has it, Kafka does not", offset=ours.offset)
        elif (ours.timestamp_ms, ours.value) != (theirs.timestamp_ms, theirs.value):
            found.find("unlike_kafka", place, "Kafka has another record there", offset=ours.offset)
        else:
            overlap.records += 1


def _pairs(ours: Iterator[LogRecord], theirs: Iterator[LogRecord]) -> Iterator[Pair]:
    """Both sides by offset, None where one has nothing."""
    one, other = next(ours, None), next(theirs, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one.offset < other.offset):
            yield one, None
            one = next(ours, None)
        elif one is None or other.offset < one.offset:
            yield None, other
            other = next(theirs, None)
        else:
            yield one, other
            one, other = next(ours, None), next(theirs, None)
