"""Child processes that never outlive us, ports that nobody has, and folders that only one process uses."""

import ctypes
import errno
import fcntl
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Self

from infra.errors import OperatorError

LOOPBACK = "127.0.0.1"
# Below the range that Linux and macOS take ports of outgoing connections from: a client that reconnects to
# a dead server's port must not get it as its own port (it would talk to itself, and the server not return).
FREE_PORTS = range(15_000, 32_000)
PR_SET_PDEATHSIG = 1
POLL_S = 0.02


class PortError(OperatorError):
    """A port is in use."""


class FolderError(OperatorError):
    """A folder cannot be worked in."""


class FolderInUseError(FolderError):
    """Another process works in this folder."""


class Owner(NamedTuple):
    """Another user, whom only root can let a process run as."""

    uid: int
    gid: int


def start(
    command: Sequence[str | Path],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    owner: Owner | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that writes to `log` and that the system kills as soon as we die, even by kill -9.

    It has a process group of its own, so that Ctrl-C reaches only us and we stop all in order. Linux binds it
    to the thread that started it: call this from one that stays, best the main one.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            user=owner.uid if owner else None,
            group=owner.gid if owner else None,
            extra_groups=[] if owner else None,
            process_group=0,
            preexec_fn=_die_with(os.getpid()) if sys.platform == "linux" else None,  # noqa: PLW1509  (see _die_with)
        )


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> int:
    """End a child by SIGTERM, and by SIGKILL if it is still there after `timeout_s`; give its exit code."""
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def free_ports(count: int) -> tuple[int, ...]:
    """Give different ports on loopback that nobody listens on."""
    # in random order: two engines should not race for the same
    found = tuple(islice(filter(is_free, random.sample(FREE_PORTS, len(FREE_PORTS))), count))
    if len(found) < count:
        raise PortError(f"no port of {FREE_PORTS.start} to {FREE_PORTS.stop} is free on {LOOPBACK}")
    return found


def free_span(count: int) -> range:
    """Give ports in a row on loopback that nobody listens on."""
    starts = range(FREE_PORTS.start, FREE_PORTS.stop - count, count)
    for first in random.sample(starts, len(starts)):
        if all(map(is_free, span := range(first, first + count))):
            return span
    raise PortError(
        f"no {count} ports in a row of {FREE_PORTS.start} to {FREE_PORTS.stop} are free on {LOOPBACK}"
    )


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        # as servers do: what is left of closed connections does not count
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Poll a condition until it holds, and tell whether it did in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


class FolderLock:
    """The sole use of a folder, from `acquire` to `release` or the end of this process, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: int | None = None

    def acquire(self) -> Self:
        """Take the folder, making it if need be.

        Raises:
            FolderInUseError: another process has it.
            FolderError: it cannot be made or written to, or its disk is full.

        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
            self._sign(self._file)
        except OSError as error:
            self.release()
            raise FolderError(f"{self._folder} cannot be used ({error.strerror}): {_act(error)}") from error
        except FolderInUseError:
            self.release()
            raise
        return self

    def _sign(self, file: int) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(file, 20, 0).decode().strip() or "unknown"
            raise FolderInUseError(
                f"{self._folder} is used by process {owner}: stop that, or set TRADING_DATA_FOLDER to another"
            ) from None
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others use the folder."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _act(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "free some space on its disk, or set TRADING_DATA_FOLDER to a folder of another"
    return "set TRADING_DATA_FOLDER to a folder that you may write to"


def _die_with(parent: int) -> Callable[[], None]:
    """Make a function for the child, between fork and exec, that asks Linux to kill it when its parent dies.

    Only async-signal-safe calls are safe there: so libc is loaded before the fork, and it makes two calls.
    """
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return ask
