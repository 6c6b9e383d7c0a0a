"""Logs that processes write by their standard output, kept to a bounded size while they are being written."""

import os
import shutil
import time
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 32 * 1024 * 1024
LOOK_EVERY_S: Final = 1.0


class BoundedLog:
    """`NAME.log`, and `NAME.log.1` with what was before: each holds `bytes_max`, and what a look came late for.

    A process keeps the file that it was started with, so the file cannot be renamed: it is copied and emptied
    (logrotate's copytruncate), which a file that was opened for appending allows. What is written between the
    two, some microseconds, is lost. On a full disk what is old goes.
    """

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        self.path, self.older = path, path.with_name(f"{path.name}.1")
        self._bytes_max = bytes_max
        self._due_s = 0.0

    def trim(self) -> None:
        """Look at the size, at most once a second, and start anew if it is over; call it often."""
        if time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + LOOK_EVERY_S
        if self.path.exists() and self.path.stat().st_size > self._bytes_max:
            try:
                shutil.copyfile(self.path, self.older)
            except OSError:
                self.older.unlink(missing_ok=True)
            os.truncate(self.path, 0)
