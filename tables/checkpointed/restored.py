"""Where the records of a restored engine stood before: its topics begin in the middle, at the broker's offset 0.

Ids are places in a log, so the original offsets rule everywhere; the broker's own are used to talk to the broker, and
are turned where it is talked to. A topic of its own, `restored`, says how, for each partition that was restored. It is
written by the restore, before and after all else, so a restore that was killed cannot be taken for one that ended.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from operator import itemgetter
from types import MappingProxyType
from typing import Any, Final

import msgspec
from confluent_kafka import Message

from schemas.topics import OFFSET_HEADER, RESTORED
from tables.checkpointed.reader import LogReader

RUNS_A_RECORD: Final = 20_000  # some 400 KB: a log that transactions wrote has a run for each of them
Place = tuple[str, int]
"""A topic and a partition of it."""
Run = tuple[int, int]
"""From this offset of the broker's on, records stood at this original offset and those behind it."""


class HalfRestored(Exception):
    """A restore into this cluster has begun and not ended: its log is not to be used."""


class Displaced(Exception):
    """A record or a place is not where the restore says that it is."""


class Offsets:
    """One partition's original offsets, by runs of the broker's; the last run goes on for ever."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """``runs`` rise in both offsets, and the first begins at the broker's 0."""
        assert runs, "a partition has one run at least"
        assert runs[0][0] == 0, "the first run begins where the partition does"
        self.runs = tuple(runs)

    def original(self, offset: int) -> int:
        """The original offset of one of the broker's."""
        at, original = self.runs[bisect_right(self.runs, offset, key=itemgetter(0)) - 1]
        return original + offset - at

    def broker(self, original: int) -> int:
        """The broker's offset of an original one; where that is in a gap, of the first record behind it."""
        number = bisect_right(self.runs, original, key=itemgetter(1)) - 1
        if number < 0:
            raise Displaced(
                f"offset {original} is before the restored ones, which begin at {self.runs[0][1]}"
            )
        at, first = self.runs[number]
        offset = at + original - first
        return offset if number + 1 == len(self.runs) else min(offset, self.runs[number + 1][0])

    def checked(self, message: Message) -> int:
        """The original offset of a fetched record, which its header has to agree with."""
        offset: Any = message.offset()  # None is for messages that were produced
        original = self.original(offset)
        headers: Any = message.headers() or ()
        for name, value in headers:
            if name == OFFSET_HEADER and value != offset_header(original):
                raise Displaced(
                    f"{message.topic()} {message.partition()} at {offset} says in its header {value!r}, and was"
                    f" restored as {original}: it is not the log that was restored"
                )
        return original


def offset_header(original: int) -> bytes:
    """What the header of a restored record says: decimal text, which every Kafka tool shows as it is."""
    return b"%d" % original


class Restoration(msgspec.Struct, frozen=True):
    """What was restored: ``id`` names it in each META too, ``source`` is the archive."""

    id: str
    day: str
    source: str
    offsets: Mapping[Place, Offsets]


class Begun(msgspec.Struct, frozen=True, tag="begun"):
    """The first record of `restored`."""

    id: str
    day: str
    source: str


class Part(msgspec.Struct, frozen=True, tag="part"):
    """Runs of a partition; many of them take several records."""

    topic: str
    partition: int
    runs: tuple[Run, ...]


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The last record of `restored`; ``parts`` is how many there were."""

    id: str
    parts: int


_DECODER: Final = msgspec.json.Decoder(Begun | Part | Ended)


def begun(id_: str, day: str, source: str) -> bytes:
    """The record that goes first."""
    return msgspec.json.encode(Begun(id_, day, source))


def told(id_: str, offsets: Mapping[Place, Offsets]) -> Iterator[bytes]:
    """The records that go last."""
    count = 0
    for (topic, partition), it in sorted(offsets.items()):
        runs = iter(it.runs)
        while some := tuple(islice(runs, RUNS_A_RECORD)):
            count += 1
            yield msgspec.json.encode(Part(topic, partition, some))
    yield msgspec.json.encode(Ended(id_, count))


def understood(values: Iterable[bytes | None]) -> Restoration:
    """What the records of `restored` say; HalfRestored where the last is missing."""
    records = [_DECODER.decode(value) for value in values if value is not None]
    runs: dict[tuple[str, int], list[Run]] = {}
    for it in records:
        if isinstance(it, Part):
            runs.setdefault((it.topic, it.partition), []).extend(it.runs)
    first, last = (records[0], records[-1]) if records else (None, None)
    is_whole = (
        isinstance(first, Begun) and isinstance(last, Ended) and last == Ended(first.id, len(records) - 2)
    )
    if not is_whole or not isinstance(first, Begun):
        raise HalfRestored(
            "a restore into this cluster has begun and not ended: remove what it made (its folder, or the cluster's"
            " topics), and restore anew"
        )
    return Restoration(first.id, first.day, first.source, {place: Offsets(it) for place, it in runs.items()})


def read_restoration(kafka: Mapping[str, Any], topics: Callable[[], Iterable[str]]) -> Restoration | None:
    """What was restored into a cluster that has these topics; None where nothing was."""
    if RESTORED not in topics():
        return None
    reader = LogReader(kafka)
    try:
        return understood(message.value() for message in reader.read(RESTORED, 0))
    finally:
        reader.close()


NOWHERE: Final[Mapping[Place, Offsets]] = MappingProxyType({})
"""The offsets of an engine that was not restored: the broker's own."""


def original_of(offsets: Mapping[Place, Offsets], place: Place, offset: int) -> int:
    """The original offset of a place, restored or not."""
    moved = offsets.get(place)
    return offset if moved is None else moved.original(offset)


def broker_of(offsets: Mapping[Place, Offsets], place: Place, original: int) -> int:
    """The broker's offset of a place, restored or not."""
    moved = offsets.get(place)
    return original if moved is None else moved.broker(original)
