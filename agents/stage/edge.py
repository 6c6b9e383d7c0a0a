"""An edge's counterpart of ``Partitions``: it keeps no state, and commits its places in the group.

A place is committed only after what came before it was said and acknowledged; a crash in between says it
again. Of intake's commands risk drops the repeats by their ids; a flat record comes again under the same key.
"""

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from faust.types import TP

from agents.stage.config import StageConfig
from agents.stage.fetch import Batch
from agents.stage.fold import Output
from agents.stage.outputs import Outputs

Positions = Mapping[TP, int]
COMMIT_INTERVAL_S: Final = 0.5


class Gate(Protocol):
    """What an edge decides by."""

    @property
    def refused(self) -> Mapping[tuple[str, str], int]:
        """Refusals by topic and reason."""

    @property
    def dead_letters(self) -> Mapping[tuple[str, str], int]:
        """Dead letters by topic and reason."""

    def decide(self, batch: Batch) -> Iterable[Output]:
        """Turns a batch into outputs."""


class Edge:
    """Reads any number of topics; ``commit`` stores places in the consumer group."""

    def __init__(
        self,
        name: str,
        config: StageConfig,
        gate: Gate,
        committed: Callable[[Iterable[TP]], Positions],
        commit: Callable[[Positions], None],
        on_death: Callable[[Exception], Any],
    ) -> None:
        """``committed`` and ``commit`` talk to the group and may wait."""
        self.gate = gate
        self._committed, self._commit, self._on_death = committed, commit, on_death
        self.outputs = Outputs({**config.kafka, "linger.ms": config.linger_ms, "socket.nagle.disable": True})
        self._next: dict[TP, int] = {}
        self._stored: dict[TP, int] = {}
        self._folding = threading.Lock()
        self._is_done = threading.Event()
        self._clerk = threading.Thread(target=self._keep, name=f"commit-{name}", daemon=True)

    def start(self) -> None:
        """Starts the thread that commits."""
        self._clerk.start()

    def take(self, places: Iterable[TP]) -> Positions:
        """The offsets to go on from."""
        positions = dict(self._committed(places))
        with self._folding:
            self._next, self._stored = dict(positions), dict(positions)
        return positions

    def release(self) -> None:
        """Commits what is done and forgets the partitions."""
        self.checkpoint()
        with self._folding:
            self._next, self._stored = {}, {}

    def fold(self, batch: Batch) -> None:
        """Decides and says, and remembers the place behind it."""
        place = TP(batch.topic, batch.partition)
        with self._folding:
            if place not in self._next:
                return
            self.outputs.send(self.gate.decide(batch))
            self._next[place] = batch.records[-1].offset + 1
        self.outputs.serve()

    @property
    def next_offsets(self) -> dict[TP, int]:
        """The offset to be decided next, of each partition in this worker's hands."""
        with self._folding:
            return dict(self._next)

    def checkpoint(self) -> None:
        """Commits the places behind all that the broker has taken."""
        with self._folding:
            positions, mark = dict(self._next), self.outputs.mark()
        if positions != self._stored:
            self.outputs.wait(mark)
            self._commit(positions)
            self._stored = positions

    def close(self) -> None:
        """Commits what is done."""
        self._is_done.set()
        if self._clerk.is_alive():
            self._clerk.join()
        self.release()

    def _keep(self) -> None:
        try:
            while not self._is_done.wait(COMMIT_INTERVAL_S):
                self.outputs.check()
                self.checkpoint()
        except Exception as error:  # noqa: BLE001 - whatever it is, an edge starts anew from its last place
            self._on_death(error)
