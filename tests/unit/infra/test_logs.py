"""A log is bounded while a process goes on writing to it."""

import os
import signal
import sys
from pathlib import Path

import pytest

from infra import logs
from infra.logs import BoundedLog
from infra.processes import start, stop, wait_until
from tests.disks import NEEDS_ROOT, fill, small_disk

BYTES_MAX = 1_000
WRITER = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
while True:
    print("x" * 1_500, flush=True)
    signal.sigwait([signal.SIGUSR1])
    print("go on", flush=True)
    signal.sigwait([signal.SIGUSR1])
"""


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look looks."""
    monkeypatch.setattr(logs, "LOOK_EVERY_S", 0.0)


def test_a_process_writes_on_behind_a_trim(tmp_path: Path) -> None:
    """What was written goes to the older file, what comes next begins the new one, and neither has a hole."""
    log = BoundedLog(tmp_path / "risk.log", BYTES_MAX)
    child = start([sys.executable, "-c", WRITER], log.path)
    try:
        assert wait_until(lambda: log.path.stat().st_size > BYTES_MAX, 20)
        log.trim()
        assert log.path.read_text() == ""
        os.kill(child.pid, signal.SIGUSR1)
        assert wait_until(lambda: log.path.read_text() == "go on\n", 20)
        log.trim()
        assert log.path.read_text() == "go on\n"
        assert log.older.read_text() == "x" * 1_500 + "\n"
    finally:
        stop(child, 0)


def test_two_files_are_all_there_ever_is(tmp_path: Path) -> None:
    """However much is written, the older file is what came last before the new one."""
    log = BoundedLog(tmp_path / "risk.log", BYTES_MAX)
    for number in range(10):
        with log.path.open("a") as file:
            file.write(str(number) * (BYTES_MAX + 1))
        log.trim()
    assert {it.name: it.stat().st_size for it in tmp_path.iterdir()} == {
        "risk.log": 0,
        "risk.log.1": BYTES_MAX + 1,
    }
    assert log.older.read_text()[0] == "9"


def test_it_looks_but_once_in_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor may ask fifty times a second: the file is looked at once in the interval."""
    monkeypatch.setattr(logs, "LOOK_EVERY_S", 3600.0)
    log = BoundedLog(tmp_path / "risk.log", BYTES_MAX)
    log.trim()
    log.path.write_text("x" * (BYTES_MAX + 1))
    log.trim()
    assert log.path.stat().st_size == BYTES_MAX + 1


@NEEDS_ROOT
def test_on_a_full_disk_what_is_old_goes(tmp_path: Path) -> None:
    """With no room for a copy the log is emptied all the same, and half a copy is not left."""
    with small_disk(tmp_path, "64k"):
        log = BoundedLog(tmp_path / "risk.log", BYTES_MAX)
        log.path.write_text("x" * 9_000)
        fill(tmp_path / "ballast")
        log.trim()
        assert log.path.stat().st_size == 0
        assert not log.older.exists()
