"""Keeps processes running: starts them, sees them become ready, starts the dead again, stops all in order.

One thread, which must stay alive (Linux ties a child's life to it): call `step` often from it.
"""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import msgspec

from agents.stage.errors import LastWords
from infra.logs import BYTES_MAX, BoundedLog
from infra.processes import start, stop
from infra.restarts import Restarts

PROBE_TIMEOUT_S = 0.5
PROBE_EVERY_S = 0.1


class Program(NamedTuple):
    """A process to keep running; it is ready when `ready_url` answers 200 (at once where there is none)."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = {}
    ready_url: str | None = None
    last_words: Path | None = None


class State(Enum):
    """Where a process is in its life."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to start again"
    DOWN = "down"
    STOPPED = "stopped"


class Supervisor:
    """Some programs, and the folder of their logs (`NAME.log`, see `BoundedLog`).

    `report` gets a line for each death; `deaths_at_one_offset` and `backoff_s` are for `Restarts`.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        logs: Path,
        *,
        deaths_at_one_offset: int = 3,
        backoff_s: float = 0.25,
        log_bytes_max: int = BYTES_MAX,
        report: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._children = {
            program.name: _Child(
                program,
                BoundedLog(logs / f"{program.name}.log", log_bytes_max),
                Restarts(deaths_at_one_offset, backoff_s),
                report,
            )
            for program in programs
        }

    def start(self) -> None:
        """Start every program."""
        for child in self._children.values():
            child.start()

    def step(self) -> None:
        """Look at every process once, and do what is due."""
        for child in self._children.values():
            child.step()

    def states(self) -> dict[str, State]:
        """The state of each program, by name."""
        return {name: child.state for name, child in self._children.items()}

    def all_ready(self) -> bool:
        """Whether every program is ready."""
        return set(self.states().values()) == {State.READY}

    def pid(self, name: str) -> int | None:
        """The process of a program, None while it has none."""
        return self._children[name].pid

    def kill(self, name: str) -> None:
        """End a program's process as a crash would (SIGKILL); `step` starts it again."""
        self._children[name].kill()

    def stop(self, timeout_s: float) -> None:
        """End all: SIGTERM to every one at once, then SIGKILL to those still there after `timeout_s`."""
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + timeout_s
        for child in self._children.values():
            child.stop(max(0.0, deadline - time.monotonic()))


class _Child:
    """One program and its process."""

    def __init__(
        self, program: Program, log: BoundedLog, restarts: Restarts, report: Callable[[str], object]
    ) -> None:
        self._program, self._log, self._restarts, self._report = program, log, restarts, report
        self._process: subprocess.Popen[bytes] | None = None
        self._due_s = 0.0  # when to start again, or to ask again whether it is ready
        self.state = State.STOPPED

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        if self._program.last_words:
            self._program.last_words.unlink(missing_ok=True)  # of an earlier life
        self._process = start(self._program.command, self._log.path, self._program.env)
        self.state = State.STARTING

    def step(self) -> None:
        self._log.trim()
        match self.state:
            case State.STARTING | State.READY:
                self._watch()
            case State.WAITING:
                if time.monotonic() >= self._due_s:
                    self.start()
            case State.DOWN | State.STOPPED:
                pass

    def kill(self) -> None:
        if self._process:
            self._process.kill()

    def terminate(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def stop(self, timeout_s: float) -> None:
        if self._process:
            stop(self._process, timeout_s)
        self.state = self.state if self.state is State.DOWN else State.STOPPED

    def _watch(self) -> None:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            self._bury(code)
        elif self.state is State.STARTING and time.monotonic() >= self._due_s:
            self._due_s = time.monotonic() + PROBE_EVERY_S
            if self._program.ready_url is None or _answers(self._program.ready_url):
                self.state = State.READY

    def _bury(self, code: int) -> None:
        words = _read(self._program.last_words)
        verdict = self._restarts.judge(code, words, was_ready=self.state is State.READY)
        self._report(f"{self._program.name} {verdict.line} (log: {self._log.path})")
        if verdict.wait_s is None:
            self.state = State.DOWN
        else:
            self.state, self._due_s = State.WAITING, time.monotonic() + verdict.wait_s


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310  (an address of our own, on loopback)
            return bool(answer.status == HTTPStatus.OK)
    except (URLError, TimeoutError, ConnectionError):
        return False


def _read(path: Path | None) -> LastWords | None:
    """Read what a dying worker left; one that was killed left nothing, or half of it."""
    if path is None or not path.exists():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=LastWords)
    except msgspec.DecodeError:
        return None
