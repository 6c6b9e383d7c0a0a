"""Workers of all stages over a log in memory, driven by a seed: crashes, zombies, rebalances, redelivery."""

from collections import Counter
from pathlib import Path

from faust.types import TP

from agents.stage.config import StageConfig
from agents.stage.errors import CommitDoubtful, Fenced
from agents.stage.fetch import Batch
from agents.stage.fold import Fold, InboxRecord, Stage
from agents.stage.partitions import Partitions
from schemas.settlement_events import VariationSettled
from schemas.topics import BY_NAME, PartitionCounts
from tests.simulation.memory import (
    Crash,
    Log,
    MemoryDisk,
    MemoryMouth,
    MemoryWorld,
    changelog_place,
    spoken,
)

BATCH_MAX = 6
REWIND_MAX = 3


class Worker:
    """One process with one stage; ``is_zombie`` while it hangs and hears of no rebalance."""

    def __init__(self, engine: "Engine", stage: Stage, disk: MemoryDisk, replica: str) -> None:
        self.stage, self.disk, self.replica, self.is_zombie = stage, disk, replica, False
        self.world = MemoryWorld(stage, engine.log, disk, engine.counts, replica)
        config = StageConfig(
            env="sim", kafka={}, counts=engine.counts, data_folder=Path(), checkpoint_dirty_keys=10**9
        )
        self.partitions = Partitions(stage, config, self.world, print)


class Engine:
    """``step`` does one thing by chance; ``finish`` lets all come to rest; ``verify`` compares with a fold."""

    def __init__(self, seed: int, stages: tuple[Stage, ...], counts: PartitionCounts) -> None:
        self.log, self.stages, self.counts = Log(seed), stages, counts
        self.random = self.log.random
        self.happened: Counter[str] = Counter()
        self.workers: list[Worker] = []
        for stage in stages:
            for replica in "a", "a", "b":
                self.workers.append(Worker(self, stage, MemoryDisk(self.log), replica))
        for stage in stages:
            for replica in "a", "b":
                self.rebalance(stage, replica)

    def step(self) -> None:
        """Something happens to some worker."""
        worker = self.random.choice(self.workers)
        chance = self.random.random()
        try:
            if chance < 0.70:
                self._fold(worker)
            elif chance < 0.85:
                worker.partitions.checkpoint()
            elif chance < 0.90:
                worker.partitions.store()
            elif chance < 0.94:
                self._crash(worker)
            elif chance < 0.97:
                self._hang_or_wake(worker)
            else:
                self.rebalance(worker.stage, worker.replica)
        except (Crash, Fenced, CommitDoubtful) as end:
            self._crash(worker, type(end).__name__)

    def finish(self) -> None:
        """Everybody wakes, and works until nothing is left to do."""
        for worker in list(self.workers):
            worker.is_zombie = False
        for stage in self.stages:
            for replica in "a", "b":
                self.rebalance(stage, replica)
        while self._advance():
            pass

    def verify(self) -> None:
        """Each stage said, and holds, what an offline fold of its inbox says and holds."""
        for stage in self.stages:
            for partition in range(self.counts.of(BY_NAME[stage.inbox])):
                fold, said = refold(self.log, stage, self.counts, partition)
                self.happened["variation"] += fold.tally[VariationSettled]
                heard = spoken(self.log, stage, partition)
                assert {place: values for place, values in heard.items() if values} == said, stage.name
                for replica in "a", "b":
                    place = changelog_place(stage, replica, partition)
                    committed = Fold(stage, self.counts, partition)
                    for change in self.log.changes[place]:
                        committed.load(*change)
                    assert list(committed.tables.entries()) == list(fold.tables.entries()), (
                        stage.name,
                        replica,
                    )

    def rebalance(self, stage: Stage, replica: str) -> None:
        """Deals a stage's partitions out anew among the workers of a replica that are awake."""
        members = [
            it for it in self.workers if (it.stage, it.replica) == (stage, replica) and not it.is_zombie
        ]
        for worker in members:
            self._attempt(worker, worker.partitions.release)
        members = [
            it for it in self.workers if (it.stage, it.replica) == (stage, replica) and not it.is_zombie
        ]
        if not members:
            return
        self.happened["rebalance"] += 1
        self.random.shuffle(members)
        count = self.counts.of(BY_NAME[stage.inbox])
        for place, worker in enumerate(members):
            mine = {TP(stage.inbox, it) for it in range(place, count, len(members))}
            self._attempt(worker, lambda worker=worker, mine=mine: worker.partitions.take(mine))

    def _attempt(self, worker: Worker, act: object) -> None:
        try:
            act()  # type: ignore[operator]
        except (Crash, Fenced, CommitDoubtful) as end:
            self._crash(worker, type(end).__name__)

    def _fold(self, worker: Worker) -> None:
        live = sorted(worker.partitions.owned)
        if live:
            self._feed(worker, self.random.choice(live), self.random.randint(1, BATCH_MAX))

    def _feed(self, worker: Worker, partition: int, most: int) -> int:
        records = self.log.records[worker.stage.inbox, partition]
        position = worker.partitions.owned[partition].fold.next_offset
        start = max(0, position - self.random.randint(0, REWIND_MAX))
        batch = [
            InboxRecord(offset, 0, None, records[offset])
            for offset in range(start, min(position + most, len(records)))
        ]
        dropped = worker.partitions.owned[partition].fold.repeats_dropped
        if batch:
            worker.partitions.fold(Batch(worker.stage.inbox, partition, batch))
        self.happened["repeats dropped"] += worker.partitions.owned[partition].fold.repeats_dropped - dropped
        return max(0, min(position + most, len(records)) - position)

    def _crash(self, worker: Worker, how: str = "crash") -> None:
        """The process is gone; another starts on its disk, and the group deals its partitions out."""
        self.happened[how] += 1
        mouth = worker.world.outputs
        assert isinstance(mouth, MemoryMouth)
        mouth.crash()
        self.workers.remove(worker)
        disk = MemoryDisk(self.log) if self.random.random() < 0.1 else worker.disk
        self.workers.append(Worker(self, worker.stage, disk, worker.replica))
        self.rebalance(worker.stage, worker.replica)

    def _hang_or_wake(self, worker: Worker) -> None:
        """A worker that hangs is dropped from its group, and wakes believing that it owns what it owned."""
        if worker.is_zombie:
            worker.is_zombie = False
            self.happened["zombie woke"] += 1
            self._fold(worker)
            worker.partitions.checkpoint()
            self.rebalance(worker.stage, worker.replica)
        else:
            worker.is_zombie = True
            self.rebalance(worker.stage, worker.replica)

    def _advance(self) -> bool:
        moved = False
        for worker in list(self.workers):
            for partition in sorted(worker.partitions.owned):
                try:
                    while worker in self.workers and self._feed(worker, partition, BATCH_MAX):
                        moved = True
                    mouth = worker.world.outputs
                    mouth.wait(mouth.mark())
                    worker.partitions.checkpoint()
                except (Crash, Fenced, CommitDoubtful) as end:
                    self._crash(worker, type(end).__name__)
                    return True
        return moved


def refold(
    log: Log, stage: Stage, counts: PartitionCounts, partition: int
) -> tuple[Fold, dict[tuple[str, int], list[bytes]]]:
    """The offline fold of an inbox: its end, and what it says by destination."""
    fold = Fold(stage, counts, partition)
    fold.begin()
    said: dict[tuple[str, int], list[bytes]] = {}
    for offset, value in enumerate(log.records[stage.inbox, partition]):
        for output in fold.apply(InboxRecord(offset, 0, None, value)):
            for topic in output.topics:
                said.setdefault((topic, output.partition), []).append(output.value)
    return fold, said
