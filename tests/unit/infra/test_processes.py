"""Children die with us, ports are really free, a folder has one owner."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra import processes
from infra.processes import (
    FolderInUseError,
    FolderLock,
    PortError,
    free_ports,
    free_span,
    is_free,
    start,
    stop,
    wait_until,
)

SLEEPER = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_child_dies_with_its_parent(tmp_path: Path) -> None:
    """A child is killed by the system when the process that started it is killed by -9."""
    script = (
        "import sys; from pathlib import Path; from infra.processes import start\n"
        f"child = start([sys.executable, '-c', {SLEEPER!r}], Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    assert wait_until(lambda: not is_alive(child), 10)


def test_stop_is_gentle_first(tmp_path: Path) -> None:
    """A process that heeds SIGTERM is not killed."""
    child = start([sys.executable, "-c", SLEEPER], tmp_path / "log")
    assert stop(child, 10) == -signal.SIGTERM


def test_stop_kills_the_stubborn(tmp_path: Path) -> None:
    """A process that ignores SIGTERM is killed when its time is over."""
    log = tmp_path / "log"
    child = start([sys.executable, "-c", STUBBORN], log)
    assert wait_until(lambda: log.read_text() == "up\n", 10)
    assert stop(child, 0.1) == -signal.SIGKILL


def test_free_port_is_free_and_a_taken_one_is_not() -> None:
    """A port is free until somebody listens on it."""
    port, other = free_ports(2)
    assert port != other
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)


def test_a_span_of_ports_is_free_throughout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row with a port in use is passed over; without another one that is said."""
    first = free_span(8).start
    monkeypatch.setattr(processes, "FREE_PORTS", range(first, first + 9))
    assert free_span(8) == range(first, first + 8)
    with (
        socket.create_server(("127.0.0.1", first + 7)),
        pytest.raises(PortError, match="no 8 ports in a row"),
    ):
        free_span(8)


def test_folder_has_one_owner(tmp_path: Path) -> None:
    """A second owner is refused by the first one's process id, until the first lets go."""
    first = FolderLock(tmp_path).acquire()
    with pytest.raises(FolderInUseError, match=f"used by process {os.getpid()}"):
        FolderLock(tmp_path).acquire()
    first.release()
    FolderLock(tmp_path).acquire().release()
