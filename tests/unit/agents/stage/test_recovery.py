"""From where a partition goes on, case by case (design, rule 7), over changelogs and stores in memory."""

import pytest

from agents.control import CONTROL_STAGE
from agents.stage.errors import StartRefused
from agents.stage.fold import Fold, InboxRecord
from agents.stage.recovery import STORE_AGE_MAX_NS, Abandoned, Inbox, Keeper, Recovered, recover
from schemas import codec
from schemas.commands import DefineInstrument
from schemas.envelopes import ControlCommands
from schemas.topics import PartitionCounts
from tables.checkpointed.ports import Bounds, StoreBroken
from tests.simulation.flow import START_NS, instrument
from tests.simulation.memory import Log, MemoryChangelog, MemoryStore

COUNTS = PartitionCounts(1, 1)
NOW_NS = STORE_AGE_MAX_NS * 4


class World:
    """One partition of control: its changelog, its store, its inbox."""

    def __init__(self) -> None:
        self.log = Log(0)
        self.log.clock_ns = NOW_NS
        self.changelog = MemoryChangelog(self.log, ("control-a", 0))
        self.changelog.fence()
        self.store = MemoryStore(self.log)
        self.start, self.has_spoken, self.restoration = 0, False, ""
        self.fold = Fold(CONTROL_STAGE, COUNTS, 0)
        self.fold.begin()

    def define(self, symbol: str) -> None:
        """A command comes in, and a checkpoint holds it."""
        command = DefineInstrument(command_id=symbol, instrument=instrument(symbol), at_ns=START_NS)
        value = codec.encode(ControlCommands(items=(command,)))
        self.fold.apply(InboxRecord(self.fold.next_offset, 0, None, value))
        self.changelog.commit(self.fold.checkpoint().entries())

    def recover(self, kept: Keeper | None = None, peer: MemoryChangelog | None = None) -> Recovered:
        """As a worker that is assigned the partition does."""
        inbox = Inbox(lambda: Bounds(self.start, 10), lambda: self.has_spoken, self.restoration)
        return recover(
            lambda: Fold(CONTROL_STAGE, COUNTS, 0), kept, self.changelog, self.store, inbox, NOW_NS, peer=peer
        )


@pytest.fixture
def world() -> World:
    """Two instruments, each checkpointed."""
    world = World()
    world.define("AAA")
    world.define("BBB")
    return world


def symbols(recovered: Recovered) -> list[str]:
    """What came back."""
    return sorted(recovered.fold.tables.instruments)  # type: ignore[attr-defined]


def test_all_comes_from_the_changelog(world: World) -> None:
    """With no local store the whole changelog is read, and the store still lacks all of it."""
    recovered = world.recover()
    assert symbols(recovered) == ["AAA", "BBB"]
    assert recovered.fold.next_offset == 2
    assert dict(recovered.unstored) == dict(world.log.changes["control-a", 0])


def test_only_the_tail_is_read_behind_a_store(world: World) -> None:
    """A store shortens the read to what came after the offset that it stands for."""
    first = (
        next(
            offset for offset, change in enumerate(world.log.changes["control-a", 0]) if change[0] == b"\x00"
        )
        + 1
    )
    world.store.write(world.log.changes["control-a", 0][:first], first)
    recovered = world.recover()
    assert symbols(recovered) == ["AAA", "BBB"]
    assert dict(recovered.unstored) == dict(world.log.changes["control-a", 0][first:])


def test_memory_is_kept_while_nobody_wrote(world: World) -> None:
    """Where the changelog ends as memory left it, memory goes on from its own place."""
    kept = Keeper(world.fold, world.changelog.bounds().end)
    assert world.recover(kept).fold is world.fold


def test_memory_is_dropped_when_somebody_wrote(world: World) -> None:
    """A worker that was stopped for longer than its session believes nothing of what it remembers."""
    kept = Keeper(world.fold, world.changelog.bounds().end - 1)
    recovered = world.recover(kept)
    assert recovered.fold is not world.fold
    assert symbols(recovered) == ["AAA", "BBB"]


def test_an_old_store_is_wiped(world: World) -> None:
    """A store older than half the tombstones' life may hold what was removed since: it is not read."""
    world.log.clock_ns = NOW_NS - STORE_AGE_MAX_NS
    world.store.write([(b"\x01\xa3ZZZ", world.log.changes["control-a", 0][0][1])], 1)
    assert symbols(world.recover()) == ["AAA", "BBB"]
    assert world.store.state() is None


def test_a_store_of_another_changelog_is_wiped(world: World) -> None:
    """A store that stands for an offset the changelog does not have is of another history."""
    world.store.write([], world.changelog.bounds().end + 1)
    assert symbols(world.recover()) == ["AAA", "BBB"]
    assert world.store.state() is None


def test_a_broken_store_is_wiped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block with a wrong checksum is found, and the changelog gives all of it again."""
    world.store.write(world.log.changes["control-a", 0], world.changelog.bounds().end)

    def broken() -> None:
        raise StoreBroken("flipped")

    monkeypatch.setattr(world.store, "entries", broken)
    assert symbols(world.recover()) == ["AAA", "BBB"]
    assert world.store.state() is None


def test_a_first_start_is_legal() -> None:
    """No checkpoint, an inbox from 0 on, and nothing ever said: this partition is new."""
    recovered = World().recover()
    assert recovered.is_first
    assert recovered.fold.next_offset == 0


def test_a_lost_changelog_is_refused() -> None:
    """No checkpoint, yet this origin has spoken: going on from nothing would say other things by the same numbers."""
    world = World()
    world.has_spoken = True
    with pytest.raises(StartRefused, match="its changelog is gone") as stop:
        world.recover()
    assert stop.value.exit_code == 72


def test_an_inbox_without_its_start_is_refused() -> None:
    """No checkpoint, and the inbox's first records are deleted: there is no place to go on from."""
    world = World()
    world.start = 3
    with pytest.raises(StartRefused, match="its inbox starts at 3"):
        world.recover()


def test_an_inbox_that_lost_our_place_is_refused(world: World) -> None:
    """A checkpoint that stands before what the inbox still holds is never jumped over."""
    world.start = 5
    with pytest.raises(StartRefused, match="records are lost"):
        world.recover()


def test_a_new_replica_is_seeded_from_its_peer(world: World) -> None:
    """An empty changelog beside a peer's takes all of the peer's committed state, and will write all of it."""
    mine = MemoryChangelog(world.log, ("control-b", 0))
    peer, world.changelog = world.changelog, mine
    world.has_spoken = True
    recovered = world.recover(peer=peer)
    assert symbols(recovered) == ["AAA", "BBB"]
    assert recovered.is_first
    mine.commit(recovered.fold.checkpoint().entries())
    assert dict(world.log.changes["control-b", 0]) == dict(world.log.changes["control-a", 0])


def test_a_recovery_that_is_no_longer_wanted_ends(world: World) -> None:
    """A rebalance in the middle of a long read does not wait for its end."""
    inbox = Inbox(lambda: Bounds(0, 10), lambda: False)
    with pytest.raises(Abandoned):
        recover(
            lambda: Fold(CONTROL_STAGE, COUNTS, 0),
            None,
            world.changelog,
            world.store,
            inbox,
            NOW_NS,
            wanted=lambda: False,
        )


def test_a_state_goes_on_over_its_own_log_alone(world: World) -> None:
    """A state that was not restored refuses a restored inbox, and one that was refuses any other, also a lost one."""
    world.restoration = "one"
    with pytest.raises(StartRefused, match="never restored, and this cluster is of restore one"):
        world.recover()
    world.fold.restoration = "one"
    world.define("CCC")
    assert world.recover().fold.next_offset == 3
    for there, said in ("", "has no topic `restored`"), ("two", "is of restore two"):
        world.restoration = there
        with pytest.raises(StartRefused, match=f"has the state of restore one, and this cluster {said}"):
            world.recover()


def test_a_store_of_another_log_is_wiped(world: World) -> None:
    """A host keeps its disk, the cluster is restored anew: rows of the old log are in no row of the state."""
    restored = world.changelog.bounds().end
    world.fold.restoration = world.restoration = "two"
    world.define("CCC")
    stale = World()
    stale.fold.restoration = "one"
    stale.define("ZZZ")
    world.store.write([(key, value) for key, value in stale.log.changes["control-a", 0] if value], restored)
    assert symbols(world.recover()) == ["AAA", "BBB", "CCC"]
    assert world.store.state() is None


def test_a_stage_that_has_no_state_yet_takes_the_restore_s_name() -> None:
    """From its first checkpoint on its state belongs to the log that was restored."""
    world = World()
    world.restoration = "one"
    fold = world.recover().fold
    assert fold.checkpoint().meta.restoration == "one"
