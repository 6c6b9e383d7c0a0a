"""A log, changelogs and disks in memory, which crash, hang and repeat as a seed says."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Any

from agents.stage.fold import Output, Stage
from agents.stage.recovery import Inbox
from schemas import codec
from schemas.topics import CHANNELS, PartitionCounts
from tables.checkpointed.ports import (
    Bounds,
    ChangelogDoubtful,
    ChangelogFenced,
    ChangelogRecord,
    StoreState,
)
from tables.section import Change

Place = tuple[str, int]


class Crash(BaseException):
    """The process is gone: nothing of it may run on, so it is no Exception."""


class Log:
    """Partitions of topics, of changelogs, and the epoch of each changelog's owner."""

    def __init__(self, seed: int) -> None:
        """All chance of a run comes from one generator."""
        self.random = Random(seed)
        self.records: defaultdict[Place, list[bytes]] = defaultdict(list)
        self.changes: defaultdict[Place, list[Change]] = defaultdict(list)
        self.epochs: defaultdict[Place, int] = defaultdict(int)
        self.clock_ns = 0


class MemoryChangelog:
    """A changelog partition; an earlier owner is fenced, and a commit may crash on either side of its end."""

    def __init__(self, log: Log, place: Place, *, may_fail: bool = False) -> None:
        """``may_fail``: a commit may also time out, with or without having been done."""
        self._log, self._place, self._may_fail = log, place, may_fail
        self._epoch = -1

    def fence(self) -> None:
        """Becomes the owner."""
        self._log.epochs[self._place] += 1
        self._epoch = self._log.epochs[self._place]

    def bounds(self) -> Bounds:
        """Nothing is ever removed here."""
        return Bounds(0, len(self._log.changes[self._place]))

    def read(self, begin: int) -> Iterator[ChangelogRecord]:
        """All committed changes."""
        for offset, change in enumerate(self._log.changes[self._place][begin:], begin):
            yield ChangelogRecord(offset, *change)

    def commit(self, entries: Iterable[Change]) -> int:
        """All or nothing; chance decides whether the process outlives it, and learns of it."""
        fate = self._log.random.random() if self._may_fail else 1.0
        if fate < 0.02:
            raise Crash
        if self._epoch != self._log.epochs[self._place]:
            raise ChangelogFenced("another owner came")
        if fate < 0.03:
            raise ChangelogDoubtful("timed out, and was not done")
        self._log.changes[self._place].extend(entries)
        if fate < 0.04:
            raise ChangelogDoubtful("timed out, but was done")
        if fate < 0.06:
            raise Crash
        return len(self._log.changes[self._place])


SLICE = 40  # keys: few simulated stores write more


class MemoryDisk:
    """A worker's local stores: they outlive it, and a crash may leave a write half done."""

    def __init__(self, log: Log) -> None:
        """Empty."""
        self.log = log
        self.stores: dict[Place, MemoryStore] = {}


class MemoryStore:
    """One local store."""

    def __init__(self, log: Log) -> None:
        """Empty."""
        self._log = log
        self._values: dict[bytes, bytes] = {}
        self._state: StoreState | None = None

    def state(self) -> StoreState | None:
        """What it is complete to."""
        return self._state

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """All that was written."""
        return iter(sorted(self._values.items()))

    def write(
        self, entries: Iterable[Change], next_offset: int, between: Callable[[], None] = lambda: None
    ) -> None:
        """A crash leaves newer keys than the offset stands for."""
        for count, (key, value) in enumerate(entries, 1):
            if not count % SLICE:
                between()
            if self._log.random.random() < 0.01:
                raise Crash
            if value is None:
                self._values.pop(key, None)
            else:
                self._values[key] = value
        self._state = StoreState(next_offset, self._log.clock_ns)

    def wipe(self) -> None:
        """Empty again."""
        self._values, self._state = {}, None

    def close(self) -> None:
        """Nothing to let go of."""


class MemoryMouth:
    """Outputs on their way: in order for each destination, delivered late, lost with the process."""

    def __init__(self, log: Log) -> None:
        """Nothing said yet."""
        self._log = log
        self._pending: defaultdict[Place, list[bytes]] = defaultdict(list)
        self._sent: defaultdict[Place, int] = defaultdict(int)

    def send(self, outputs: Iterable[Output]) -> None:
        """Queues records."""
        for topics, partition, value, _ in outputs:
            for topic in topics:
                self._pending[topic, partition].append(value)
                self._sent[topic, partition] += 1

    def serve(self) -> None:
        """Some of what is queued arrives."""
        for place in sorted(self._pending):
            self._deliver(place, self._log.random.randint(0, 3))

    def check(self) -> None:
        """Nobody is silent here."""

    def mark(self) -> Mapping[Place, int]:
        """What was sent so far."""
        return dict(self._sent)

    def wait(self, mark: Mapping[Place, int]) -> None:
        """All that was sent before the mark arrives."""
        for place, count in mark.items():
            self._deliver(place, count - (self._sent[place] - len(self._pending[place])))

    def crash(self) -> None:
        """What is on the wire may still arrive; the rest is lost."""
        self.serve()
        self._pending.clear()

    def _deliver(self, place: Place, count: int) -> None:
        if count > 0:
            queue = self._pending[place]
            self._log.records[place].extend(queue[:count])
            del queue[:count]


class MemoryWorld:
    """One worker's surroundings for one stage."""

    def __init__(
        self, stage: Stage, log: Log, disk: MemoryDisk, counts: PartitionCounts, replica: str
    ) -> None:
        """``disk`` is the worker's own; the log is everybody's."""
        self._stage, self._log, self._disk, self._counts = stage, log, disk, counts
        self._replica = replica
        self._mouth = MemoryMouth(log)

    @property
    def outputs(self) -> MemoryMouth:
        """Where this worker speaks."""
        return self._mouth

    def changelog(self, partition: int) -> MemoryChangelog:
        """This replica's."""
        return MemoryChangelog(
            self._log, changelog_place(self._stage, self._replica, partition), may_fail=True
        )

    def peer(self, partition: int) -> MemoryChangelog | None:
        """The first replica's, for any other."""
        if self._replica == "a":
            return None
        return MemoryChangelog(self._log, changelog_place(self._stage, "a", partition))

    def store(self, partition: int) -> MemoryStore:
        """The disk's."""
        place = (f"{self._stage.name}-{self._replica}", partition)
        return self._disk.stores.setdefault(place, MemoryStore(self._log))

    def inbox(self, partition: int) -> Inbox:
        """Everything is kept from 0 on."""
        records = self._log.records[self._stage.inbox, partition]
        return Inbox(lambda: Bounds(0, len(records)), lambda: spoken(self._log, self._stage, partition) != {})

    def skips(self, partition: int) -> frozenset[tuple[int, int | None]]:
        """Nobody skips here."""
        del partition
        return frozenset()

    def now_ns(self) -> int:
        """Stands still: local stores never age."""
        return self._log.clock_ns


def changelog_place(stage: Stage, replica: str, partition: int) -> Place:
    """Where a replica's changelog partition is in the log."""
    return f"{stage.name}-{replica}", partition


def spoken(log: Log, stage: Stage, partition: int) -> dict[Place, list[bytes]]:
    """What an origin said, by destination, repeats dropped; a repeat with other bytes is an error."""
    said: dict[Place, dict[int, bytes]] = {}
    topics = {topic for name in stage.channels for topic in CHANNELS[name].topics}
    for place, values in log.records.items():
        if place[0] not in topics:
            continue
        for value in values:
            envelope: Any = codec.decode(value)
            origin = envelope.origin
            if origin is None or (origin.stage, origin.partition) != (stage.name, partition):
                continue
            earlier = said.setdefault(place, {}).setdefault(origin.sequence, value)
            assert earlier == value, f"{stage.name} {partition} said two things at {place} {origin.sequence}"
    for place, numbered in said.items():
        assert sorted(numbered) == list(range(len(numbered))), f"a gap in what {stage.name} said to {place}"
    return {place: [numbered[it] for it in sorted(numbered)] for place, numbered in said.items()}
