"""A worker in doubt ends at once, with its code and its last words, whatever its disk says."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import msgspec

from agents.stage.errors import LastWords
from tests.disks import NEEDS_ROOT, fill, small_disk

DYING = dedent("""
    import logging, sys
    from pathlib import Path
    from agents.stage.death import Death
    from agents.stage.errors import StateUnwritable
    logging.basicConfig()
    Death("risk", Path(sys.argv[1])).die(StateUnwritable("the store is full", partition=1, offset=7))
""")
LINE = "risk stops at partition 1, offset 7: StateUnwritable: the store is full (exit code 76)"


def die(words: Path, log: Path) -> int:
    """The exit code of a worker that dies; a worker that hangs fails the test."""
    with log.open("ab") as output:
        return subprocess.run(
            [sys.executable, "-c", DYING, words], check=False, stdout=output, stderr=output, timeout=30
        ).returncode


def test_last_words_are_left_for_the_supervisor(tmp_path: Path) -> None:
    """The file has what the supervisor acts on, the log the same as a line."""
    words, log = tmp_path / "run" / "risk.json", tmp_path / "log"
    assert die(words, log) == 76
    assert msgspec.json.decode(words.read_bytes(), type=LastWords) == LastWords(
        stage="risk", exit_code=76, reason="StateUnwritable: the store is full", partition=1, offset=7
    )
    assert log.read_text().endswith(f"{LINE}\n")


@NEEDS_ROOT
def test_a_full_disk_does_not_keep_it_alive(tmp_path: Path) -> None:
    """With no byte for the last words it ends with its code all the same, and its log has the line."""
    disk, log = tmp_path / "disk", tmp_path / "log"
    disk.mkdir()
    with small_disk(disk, "64k"):
        fill(disk / "ballast")
        assert die(disk / "run" / "risk.json", log) == 76
    assert log.read_text().endswith(f"{LINE}\n")


@NEEDS_ROOT
def test_a_log_on_a_full_disk_does_not_keep_it_alive(tmp_path: Path) -> None:
    """With no byte for its log either, as when both lie in the data folder, its code still tells the supervisor."""
    with small_disk(tmp_path, "64k"):
        log = tmp_path / "log"
        log.touch()
        fill(tmp_path / "ballast")
        assert die(tmp_path / "run" / "risk.json", log) == 76
        assert not log.read_text()
