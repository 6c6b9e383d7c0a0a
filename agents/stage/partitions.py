"""The partitions that a worker owns of one stage: taken, folded, checkpointed, looked at, given back."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import msgspec
from faust.types import TP

from agents.stage import crash_points
from agents.stage.checkpoint import Checkpointer
from agents.stage.config import StageConfig
from agents.stage.fetch import Batch
from agents.stage.fold import Fold, Stage
from agents.stage.metrics import StageMetrics
from agents.stage.recovery import Abandoned, Keeper, recover
from agents.stage.world import World
from schemas.topics import BY_NAME
from tables.checkpointed.rows import NotOwned

log = logging.getLogger(__name__)
T = TypeVar("T")

STORE_PAUSE_S: Final = (
    0.002  # between two slices of a copy: it takes most of its interval, and 5% of the interpreter
)


class Owned(msgspec.Struct):
    """A partition in this worker's hands; ``is_live`` from the end of its recovery until it is given back."""

    fold: Fold
    checkpointer: Checkpointer
    is_live: bool = True


class Partitions:
    """One lock stands between the fold and all others: a checkpoint's take, a look at the state, a return.

    ``take`` and ``release`` wait for Kafka: they are called by one thread at a time, never the event loop's.
    """

    def __init__(
        self, stage: Stage, config: StageConfig, world: World, on_death: Callable[[Exception], Any]
    ) -> None:
        """Touches nothing yet. ``on_death`` ends the process."""
        self.stage, self.config = stage, config
        self.metrics = StageMetrics(stage.name)
        self._world, self._on_death = world, on_death
        self._outputs = world.outputs
        self._owned: dict[int, Owned] = {}
        self._taking = threading.Lock()
        self._folding = threading.Lock()
        self._checkpointing = threading.RLock()  # a copy to the local store lets checkpoints in between
        self._is_due = threading.Event()
        self._has_room = threading.Event()
        self._is_done = False
        self._generation = 0
        self._checkpointed_at_s = self._stored_at_s = time.monotonic()
        self._clerk = threading.Thread(target=self._keep, name=f"checkpoint-{stage.name}", daemon=True)

    def start(self) -> None:
        """Starts the thread that writes checkpoints."""
        self._clerk.start()

    def take(self, places: Iterable[TP]) -> dict[TP, int]:
        """Recovers partitions of the inbox and returns the inbox offsets to go on from.

        Every assignment comes through here, kept partitions included: a worker that was stopped for longer
        than its session may get back what others wrote meanwhile. A release in between ends it early.
        """
        generation = self._generation
        with (
            self._taking
        ):  # an earlier one that is no longer wanted ends first: its fence must come before ours
            for _, partition in sorted(places):
                try:
                    self._take(partition, lambda: self._generation == generation)
                except Abandoned:
                    return {}
            return {TP(self.stage.inbox, p): owned.fold.next_offset for p, owned in self.owned.items()}

    def release(self) -> None:
        """Stops the fold, ends the running commit, and takes a last checkpoint of what is in hand."""
        self._generation += 1
        with self._checkpointing, self._folding:
            live = [owned for owned in self._owned.values() if owned.is_live]
            for owned in live:
                owned.is_live = False
        for owned in live:
            self._checkpoint(owned)

    def fold(self, batch: Batch) -> None:
        """Applies a batch and says what follows at once; the checkpoint comes later.

        Raises the stage's errors (``agents.stage.errors``): whoever drives the agent ends the process.
        """
        started_ns = time.perf_counter_ns()
        with self._folding:
            owned = self._owned.get(batch.partition)
            if owned is None or not owned.is_live:
                return
            apply, send = owned.fold.apply, self._outputs.send
            for record in batch.records:
                outputs = apply(record)
                if outputs:
                    crash_points.reach(crash_points.BEFORE_OUTPUTS)
                    send(outputs)
        self._outputs.serve()
        self.metrics.on_batch(batch, owned.fold, time.perf_counter_ns() - started_ns)
        self._make_room(owned.fold)

    def look(self, partition: int, at: Callable[[Fold], T]) -> T:
        """What ``at`` makes of a partition's state, between two batches; it may keep no live object.

        Raises NotOwned.
        """
        with self._folding:
            return at(self._live(partition).fold)

    def changelog_end(self, partition: int) -> int:
        """Up to which changelog offset the last checkpoint of a partition goes; NotOwned."""
        return self._live(partition).checkpointer.changelog_end

    @property
    def count(self) -> int:
        """How many partitions the stage has, wherever they are."""
        return self.config.counts.of(BY_NAME[self.stage.inbox])

    @property
    def owned(self) -> dict[int, Owned]:
        """The partitions that are recovered and live."""
        return {partition: owned for partition, owned in list(self._owned.items()) if owned.is_live}

    def checkpoint(self) -> None:
        """Checkpoints every live partition that has moved."""
        self._is_due.clear()
        self._checkpointed_at_s = time.monotonic()
        for owned in list(self._owned.values()):
            if owned.is_live:
                self._checkpoint(owned)

    def store(self) -> None:
        """Copies what was committed to the local stores; meanwhile checkpoints go on, or the fold would wait."""
        begun_s = time.time()
        with self._checkpointing:
            for owned in self.owned.values():
                owned.checkpointer.store(self._between_slices)
        self.metrics.on_store(begun_s)
        self._stored_at_s = time.monotonic()

    def close(self) -> None:
        """Gives all back, with a last checkpoint, and lets go of the local stores."""
        self._is_done = True
        self._is_due.set()
        if self._clerk.is_alive():
            self._clerk.join()
        self.release()
        for owned in self._owned.values():
            owned.checkpointer.store()
            owned.checkpointer.close()
        self._owned.clear()

    def _live(self, partition: int) -> Owned:
        owned = self._owned.get(partition)
        if owned is None or not owned.is_live:
            raise NotOwned(f"{self.stage.name} {partition} is not owned by this worker")
        return owned

    def _take(self, partition: int, wanted: Callable[[], bool]) -> None:
        before = self._owned.get(partition)
        changelog = self._world.changelog(partition)
        store = self._world.store(partition)
        skips = self._world.skips(partition)
        recovered = recover(
            lambda: Fold(self.stage, self.config.counts, partition),
            None if before is None else Keeper(before.fold, before.checkpointer.changelog_end),
            changelog,
            store,
            self._world.inbox(partition),
            self._world.now_ns(),
            wanted=wanted,
            peer=self._world.peer(partition),
        )
        recovered.fold.skips = skips
        unstored = (
            before.checkpointer.unstored
            if before is not None and recovered.from_memory
            else recovered.unstored
        )
        checkpointer = Checkpointer(changelog, store, recovered.changelog_end, unstored)
        if (
            recovered.is_first
        ):  # before it speaks: from now on "no checkpoint, yet it spoke" means a lost changelog
            checkpointer.commit(recovered.fold.checkpoint(), lambda: None)
        with self._folding:
            if not wanted():  # given back meanwhile: nobody would give it back again
                raise Abandoned
            self._owned[partition] = Owned(recovered.fold, checkpointer)
        log.info(
            "%s %d goes on at %d (%s)",
            self.stage.name,
            partition,
            recovered.fold.next_offset,
            "from memory" if recovered.from_memory else "recovered",
        )

    def _checkpoint(self, owned: Owned) -> None:
        with self._checkpointing:
            with self._folding:
                if not owned.fold.behind_checkpoint:
                    return
                taken, mark = owned.fold.checkpoint(), self._outputs.mark()
                self._has_room.set()
            started_ns = time.perf_counter_ns()
            owned.checkpointer.commit(taken, lambda: self._outputs.wait(mark))
            self.metrics.on_checkpoint(
                owned.fold.partition, taken.key_count, time.perf_counter_ns() - started_ns
            )

    def _make_room(self, fold: Fold) -> None:
        """Asks for a checkpoint at N changed keys; at 2N waits until one has taken them."""
        limit = self.config.checkpoint_dirty_keys
        if fold.tables.dirty_count < limit:
            return
        self._is_due.set()
        while fold.tables.dirty_count >= 2 * limit and not self._is_done:
            self._has_room.clear()
            self._is_due.set()
            self._has_room.wait(self.config.checkpoint_interval_s)

    def _between_slices(self) -> None:
        """Leaves the interpreter to the fold's thread, and does not let a checkpoint wait for the end of a copy."""
        time.sleep(STORE_PAUSE_S)
        late_s = time.monotonic() - self._checkpointed_at_s
        if self._is_due.is_set() or late_s > self.config.checkpoint_interval_s:
            self.checkpoint()

    def _keep(self) -> None:
        """The clerk: checkpoints at intervals or when asked, the local stores far less often."""
        try:
            while not self._is_done:
                self._is_due.wait(self.config.checkpoint_interval_s)
                self._outputs.check()
                self.checkpoint()
                if time.monotonic() - self._stored_at_s > self.config.store_interval_s:
                    self.store()
        except Exception as error:  # noqa: BLE001 - whatever it is, memory may not go on
            self._on_death(error)
