"""Kills each stage's worker once, in the middle of the run, and sees it come back."""

import time
from collections.abc import Mapping
from typing import Final

import msgspec

from infra.supervisor import State, Supervisor

STAGES: Final = ("control", "intake", "settlement", "matching", "risk")
"""In the order in which they are killed; settlement when the recording trades most."""
FIRST_PERCENT: Final = 40  # of the commands are sent before the first kill: latency is measured in peace
LAST_PERCENT: Final = 80


class Killed(msgspec.Struct, frozen=True):
    """A worker's death and its return, in ns of the monotonic clock."""

    stage: str
    at_ns: int
    ready_ns: int


class Killer:
    """One kill for each stage, when so many commands have been sent and it has just said something.

    What it said is then most likely not covered by a checkpoint, so that it says it again.
    """

    def __init__(self, supervisor: Supervisor, said: Mapping[str, int], commands: int) -> None:
        """``said`` counts what each stage has said so far; ``commands`` is how many there will be."""
        self.killed: list[Killed] = []
        self._supervisor, self._said = supervisor, said
        first, last = commands * FIRST_PERCENT // 100, commands * LAST_PERCENT // 100
        step = (last - first) // (len(STAGES) - 1)
        self._plan = [(stage, first + step * number) for number, stage in enumerate(STAGES)]
        self._heard = 0
        self._dying: tuple[str, int | None, int] | None = None

    def step(self, sent: int) -> bool:
        """Do what is due after so many commands; whether every stage was killed and is back."""
        if self._dying:
            self._watch(*self._dying)
        elif self._plan:
            stage, after = self._plan[0]
            heard, self._heard = self._heard, self._said.get(stage, 0)
            if sent >= after and self._heard > heard:
                self._kill(stage)
        return not self._plan and not self._dying

    def _kill(self, stage: str) -> None:
        self._plan.pop(0)
        self._dying = stage, self._supervisor.pid(stage), time.monotonic_ns()
        self._supervisor.kill(stage)
        self._heard = self._said.get(self._plan[0][0], 0) if self._plan else 0

    def _watch(self, stage: str, pid: int | None, at_ns: int) -> None:
        is_ready = self._supervisor.states()[stage] is State.READY
        if is_ready and self._supervisor.pid(stage) not in {None, pid}:
            self.killed.append(Killed(stage, at_ns, time.monotonic_ns()))
            self._dying = None
