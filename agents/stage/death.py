"""How a worker ends in doubt: at once, before it can commit, with last words for the supervisor."""

import logging
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from agents.stage.errors import LastWords, StageError

log = logging.getLogger(__name__)


class Death:
    """One for each stage of a worker; ``die`` may be called from any thread, and never returns."""

    def __init__(self, stage: str, last_words: Path) -> None:
        """``last_words`` is the file that the supervisor reads."""
        self._stage, self._path = stage, last_words
        self._once = threading.Lock()

    def die(self, error: BaseException) -> NoReturn:
        """Says why, and exits without any clean-up: buffers, checkpoints and offsets must not get out."""
        self._once.acquire()  # the first cause is the one to tell; others wait here for the end
        words = _last_words(self._stage, error)
        log.critical("%s", _line(words), exc_info=error)
        with suppress(OSError):  # a full disk must not keep alive what has to end
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_bytes(msgspec.json.encode(words))
        with suppress(OSError):  # which may be the disk of the log
            sys.stderr.write(f"{_line(words)}\n")
            sys.stderr.flush()
        os._exit(words.exit_code)


def _last_words(stage: str, error: BaseException) -> LastWords:
    if isinstance(error, StageError):
        return LastWords(
            stage=stage,
            exit_code=error.exit_code,
            reason=f"{type(error).__name__}: {error.reason}",
            partition=error.partition,
            offset=error.offset,
        )
    return LastWords(stage=stage, exit_code=StageError.exit_code, reason=repr(error))


def _line(words: LastWords) -> str:
    place = "" if words.partition is None else f" at partition {words.partition}, offset {words.offset}"
    return f"{words.stage} stops{place}: {words.reason} (exit code {words.exit_code})"
