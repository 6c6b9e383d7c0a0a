"""What the archive holds, by day, topic and partition, as its manifests and footers tell it."""

from collections.abc import Collection, Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

from infra.archive.log import ArchiveLog

_EPOCH: Final = date(1970, 1, 1)


class Holding(NamedTuple):
    """A day of a topic-partition; offsets are inclusive, ``records`` counts those that were archived twice."""

    day: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    records: int
    files: int
    size: int  # bytes: of a file with several partitions its share by records


def holdings(log: ArchiveLog, topics: Collection[str] = ()) -> Iterator[Holding]:
    """By day, topic and partition; of some topics, or all."""
    found: dict[tuple[int, str, int], Holding] = {}
    files = (file for topic in log.topics() if not topics or topic in topics for file in log.files(topic))
    for file, extent in log.extents(files):
        key = file.day, file.topic, extent.partition
        share = file.size * extent.records // max(1, file.records)
        it = Holding(
            str(date_of(file.day)), file.topic, extent.partition, *extent.offsets, extent.records, 1, share
        )
        found[key] = _sum(found[key], it) if key in found else it
    return (holding for _, holding in sorted(found.items()))


def date_of(day: int) -> date:
    """The date of a day's number since 1970, UTC."""
    return _EPOCH + timedelta(days=day)


def day_of(at: date) -> int:
    """The day's number since 1970, UTC."""
    return (at - _EPOCH).days


def _sum(one: Holding, other: Holding) -> Holding:
    return one._replace(
        first_offset=min(one.first_offset, other.first_offset),
        last_offset=max(one.last_offset, other.last_offset),
        records=one.records + other.records,
        files=one.files + other.files,
        size=one.size + other.size,
    )
