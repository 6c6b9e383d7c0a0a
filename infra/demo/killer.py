"""Kills each stage's worker in the middle of the run, and sees it come back and repeat itself."""

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
    """A worker's death and return, in ns of the monotonic clock, and whether it repeated anything then."""

    stage: str
    at_ns: int
    ready_ns: int
    has_repeated: bool


class _Dying(msgspec.Struct, frozen=True):
    """A kill under way; ``said`` is what had been said when it was ready again."""

    stage: str
    pid: int | None
    at_ns: int
    repeats: int
    ready_ns: int = 0
    said: int = 0


class Killer:
    """One kill for each stage, when so many commands have been sent and it has just said something.

    What it said is then most likely not covered by a checkpoint, so that it says it again. A kill that happened
    to hit right behind a checkpoint proves nothing, and the stage is killed once more.
    """

    def __init__(
        self, supervisor: Supervisor, said: Mapping[str, int], repeats: Mapping[str, int], commands: int
    ) -> None:
        """``said`` and ``repeats`` count the records of each stage so far; ``commands`` is how many come."""
        self.killed: list[Killed] = []
        self._supervisor, self._said, self._repeats, self._commands = supervisor, said, repeats, commands
        first, last = commands * FIRST_PERCENT // 100, commands * LAST_PERCENT // 100
        step = (last - first) // (len(STAGES) - 1)
        self._plan = [(stage, first + step * number) for number, stage in enumerate(STAGES)]
        self._heard = 0
        self._dying: _Dying | None = None

    def step(self, sent: int) -> bool:
        """Do what is due after so many commands; whether every stage was killed and is back."""
        if self._dying and not self._dying.ready_ns:
            self._await_return(self._dying)
        elif self._dying:
            self._judge(self._dying, is_over=sent >= self._commands)
        elif self._plan:
            stage, after = self._plan[0]
            heard, self._heard = self._heard, self._said.get(stage, 0)
            if sent >= after and self._heard > heard:
                self._kill(stage)
        return not self._plan and not self._dying

    def _kill(self, stage: str) -> None:
        pid = self._supervisor.pid(stage)
        self._dying = _Dying(stage, pid, time.monotonic_ns(), self._repeats.get(stage, 0))
        self._supervisor.kill(stage)

    def _await_return(self, dying: _Dying) -> None:
        stage = dying.stage
        is_ready = self._supervisor.states()[stage] is State.READY
        if is_ready and self._supervisor.pid(stage) not in {None, dying.pid}:
            self._dying = msgspec.structs.replace(
                dying, ready_ns=time.monotonic_ns(), said=self._said.get(stage, 0)
            )

    def _judge(self, dying: _Dying, *, is_over: bool) -> None:
        """Repeats come before anything new: after the first new record there will be none."""
        stage = dying.stage
        has_repeated = self._repeats.get(stage, 0) > dying.repeats
        has_gone_on = self._said.get(stage, 0) > dying.said
        if not (has_repeated or has_gone_on or is_over):
            return
        self.killed.append(Killed(stage, dying.at_ns, dying.ready_ns, has_repeated))
        self._dying = None
        if has_repeated or is_over:
            self._plan.pop(0)
        self._heard = self._said.get(self._plan[0][0], 0) if self._plan else 0
