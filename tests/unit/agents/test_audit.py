"""The sealer's life: whatever dies between any two lines, its chains do not fork and leave nothing out."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from faust.types import TP

from agents.audit import OWNERSHIP, Sealer
from agents.rules.audit import SEGMENT_MS
from agents.stage.errors import CommitDoubtful, Fenced, StartRefused
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord
from schemas import codec
from schemas.audit import Seal
from schemas.topics import SEALS
from tables.checkpointed.ports import Bounds
from tests.simulation.memory import Crash, Log, MemoryChangelog
from tests.unit.agents.rules.test_audit import Signer

PLACES = (TP("trades", 0), TP("trades", 1), TP("orders", 0))
CODE = ("agents/audit.py", "agents/rules/audit.py")


class World:
    """A log in memory; ``journal`` is a new owner's view of the topic of seals."""

    def __init__(self, log: Log, records: Mapping[TP, list[InboxRecord]], *, may_fail: bool = False) -> None:
        self.log, self.records = log, records
        self.journal = MemoryChangelog(log, (SEALS, 0), may_fail=may_fail)
        self.said: list[bytes] = []

    def places(self) -> Iterable[tuple[str, int]]:
        """All."""
        return sorted(self.records)

    def bounds(self, place: TP) -> Bounds:
        """What there is."""
        records = self.records[place]
        return Bounds(records[0].offset, records[-1].offset + 1) if records else Bounds(0, 0)

    def has_record(self, place: TP, begin: int) -> bool:
        """Whether one is at this offset or behind."""
        return any(it.offset >= begin for it in self.records[place])

    def say(self, fingerprints: Iterable[tuple[bytes, bytes]]) -> None:
        """They are in the log at once."""
        self.said += [value for _, value in fingerprints]


def flow(seed: int, count: int = 60) -> dict[TP, list[InboxRecord]]:
    """Some minutes of three partitions, one of which falls quiet."""
    random, now_ms = Random(seed), 1_000_000
    records: dict[TP, list[InboxRecord]] = {place: [] for place in PLACES}
    for number in range(count):
        now_ms += random.randint(0, SEGMENT_MS // 4)
        place = random.choice(PLACES if number < count // 2 else PLACES[:2])
        late_ms = random.choice((0, 0, 0, SEGMENT_MS))
        records[place].append(InboxRecord(len(records[place]), now_ms - late_ms, None, str(number).encode()))
    return records


def never(error: Exception) -> None:
    """The sealer's own thread is not started here."""
    raise AssertionError(error)


def sealer_of(world: World) -> Sealer:
    """A sealer."""
    return Sealer(world, Signer(), never)


def batches(world: World, positions: Mapping[TP, int], random: Random) -> Iterator[Batch]:
    """What a consumer fetches from these positions on: some of each partition in turn."""
    left = {
        place: [it for it in world.records[place] if it.offset >= begin] for place, begin in positions.items()
    }
    while any(left.values()):
        place = random.choice([place for place, records in left.items() if records])
        count = random.randint(1, 5)
        yield Batch(place.topic, place.partition, left[place][:count])
        del left[place][:count]


def run(sealer: Sealer, world: World, seed: int) -> None:
    """A life without an accident."""
    for batch in batches(world, sealer.take([OWNERSHIP]), Random(seed)):
        sealer.fold(batch)
    sealer.close_quiet()


def chains(log: Log) -> dict[TP, list[Seal]]:
    """All seals there are, by their chain."""
    found: defaultdict[TP, list[Seal]] = defaultdict(list)
    for _, value in log.changes[SEALS, 0]:
        seal: Any = codec.decode(value or b"")
        found[TP(seal.topic, seal.partition)].append(seal)
    return found


def check(log: Log, records: Mapping[TP, list[InboxRecord]]) -> None:
    """No fork, no hole, no repeat."""
    for place, seals in chains(log).items():
        assert [it.number for it in seals] == list(range(len(seals)))
        for before, seal in pairwise(seals):
            assert seal.previous == before.seal_hash
            assert seal.first_offset == before.last_offset + 1
        covered = seals[-1].last_offset + 1
        assert sum(it.record_count for it in seals) == sum(it.offset < covered for it in records[place])


class DiesAtLine:
    """A process that is killed before it runs the n-th line of the sealer's code."""

    def __init__(self, number: int) -> None:
        self.left = number

    def __call__(self, frame: Any, event: str, _argument: Any) -> Any:
        """Called by the interpreter at each line."""
        if not frame.f_code.co_filename.endswith(CODE):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise Crash
        return self

    def live(self, world: World, seed: int) -> bool:
        """Runs a sealer; whether it outlived it."""
        before = sys.gettrace()
        sys.settrace(self)
        try:
            run(sealer_of(world), world, seed)
        except Crash:
            return False
        finally:
            sys.settrace(before)
        return True


def test_a_death_at_any_line_neither_forks_nor_loses() -> None:
    """Killed before each single line in turn, and started again: the seals are those of one uninterrupted life."""
    records = flow(1, count=16)
    whole = Log(0)
    run(sealer_of(World(whole, records)), World(whole, records), 1)
    whole_chains = chains(whole)
    assert sum(map(len, whole_chains.values())) > 4
    line = 0
    while True:
        line += 1
        log = Log(0)
        if DiesAtLine(line).live(World(log, records), 1):
            break
        run(sealer_of(World(log, records)), World(log, records), 2)
        assert chains(log) == whole_chains, f"after a death before line {line}"
    assert line > 500


@pytest.mark.parametrize("seed", range(40))
def test_commits_that_fail_and_zombies_leave_one_chain(seed: int) -> None:
    """Commits crash or time out on either side of their end, and earlier owners go on: each is fenced."""
    records, log = flow(seed, count=200), Log(seed)
    zombies: list[tuple[Sealer, Iterator[Batch]]] = []
    for life in range(1000):
        world = World(log, records, may_fail=True)
        sealer = sealer_of(world)
        feed = batches(world, sealer.take([OWNERSHIP]), Random(seed + life))
        zombies.append((sealer, feed))
        if lives(sealer, feed, log.random):
            break
        for zombie in zombies[-3:]:
            wakes(*zombie)
    check(log, records)
    assert {place: it[-1].last_offset for place, it in chains(log).items()}[TP("orders", 0)] == len(
        records[TP("orders", 0)]
    ) - 1, "the quiet partition is sealed to its end"


def lives(sealer: Sealer, feed: Iterator[Batch], random: Random) -> bool:
    """Folds until chance stops it; whether it came to the end."""
    try:
        for batch in feed:
            sealer.fold(batch)
            if random.random() < 0.05:
                return False
        sealer.close_quiet()
    except (Crash, CommitDoubtful, Fenced):
        return False
    return True


def wakes(zombie: Sealer, feed: Iterator[Batch]) -> bool:
    """A stopped process goes on as if nothing had been; whether it was fenced."""
    try:
        for batch in feed:
            zombie.fold(batch)
    except Fenced:
        return True
    except (Crash, CommitDoubtful):
        pass
    return False


def test_a_zombie_is_fenced_before_it_adds_a_seal() -> None:
    """An owner that slept while another took over cannot add a seal."""
    records, log = flow(3), Log(3)
    old, world = sealer_of(World(log, records)), World(log, records)
    feed = batches(world, old.take([OWNERSHIP]), Random(1))
    run(sealer_of(world), world, 2)
    before = list(log.changes[SEALS, 0])
    assert wakes(old, feed)
    assert log.changes[SEALS, 0] == before


def test_standby_seals_nothing() -> None:
    """A worker that does not own `seals` fetches nothing."""
    assert sealer_of(World(Log(0), flow(0))).take([]) == {}


def test_new_topic_is_found_while_at_work() -> None:
    """A topic that is made later is sealed from its start, and the others go on where they are."""
    records = flow(5)
    late = records.pop(PLACES[2])
    world = World(Log(0), records)
    sealer, told = sealer_of(world), list[Mapping[TP, int]]()
    sealer.assign = told.append
    for batch in batches(world, sealer.take([OWNERSHIP]), Random(0)):
        sealer.fold(batch)
    sealer.find_new()
    assert told == []
    records[PLACES[2]] = late
    sealer.find_new()
    assert told[0][PLACES[2]] == 0
    assert told[0][PLACES[0]] == len(records[PLACES[0]])


def test_log_that_ends_before_its_last_seal_is_refused() -> None:
    """A topic that was cut or made anew is not sealed over: an operator must look."""
    records, log = flow(7), Log(7)
    run(sealer_of(World(log, records)), World(log, records), 1)
    del records[PLACES[2]][1:]
    with pytest.raises(StartRefused, match="not the log that was sealed"):
        sealer_of(World(log, records)).take([OWNERSHIP])


def test_fingerprints_are_said_before_their_seal() -> None:
    """Each committed seal's fingerprints are in the log, by the hash that it states."""
    records, log = flow(9), Log(9)
    world = World(log, records)
    run(sealer_of(world), world, 1)
    said: list[Any] = [codec.decode(it) for it in world.said]
    hashes = {(it.topic, it.partition, it.number): sha256(it.fingerprints).hexdigest() for it in said}
    seals = [seal for chain in chains(log).values() for seal in chain]
    assert seals
    assert all(hashes[it.topic, it.partition, it.number] == it.fingerprints_hash for it in seals)
