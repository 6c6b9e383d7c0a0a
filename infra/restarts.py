"""What is done about a worker that died: started again, or left down with a line that says why."""

import signal
from collections import Counter
from typing import NamedTuple

from agents.stage.errors import LastWords, OriginBroken, StartRefused

# Starting again cannot help: only an operator can.
STAYS_DOWN = {
    OriginBroken.exit_code: "a gap or a broken chain in what it reads",
    StartRefused.exit_code: "its start was refused",
}
WAIT_S_MAX = 10.0


class Verdict(NamedTuple):
    """Start again after `wait_s`, or, where that is None, stay down; `line` says it to the operator."""

    wait_s: float | None
    line: str


class Restarts:
    """The deaths of one worker so far.

    `deaths_at_one_offset` deaths at the same record keep it down, even with others between them: that record
    would kill it for ever. Deaths before it was ready double the wait, up to ten seconds.
    """

    def __init__(self, deaths_at_one_offset: int, backoff_s: float) -> None:
        self._limit = deaths_at_one_offset
        self._backoff_s = backoff_s
        self._deaths: Counter[tuple[str, int, int]] = Counter()
        self._never_ready = 0

    def judge(self, code: int, words: LastWords | None, *, was_ready: bool) -> Verdict:
        """Decide by the exit code (negative: the signal) and by what the worker left to say."""
        said = f": {words.reason}" if words else ""
        if code in STAYS_DOWN:
            return Verdict(None, f"stays down, {STAYS_DOWN[code]}{said}{_place(words)}")
        if self._count(words) >= self._limit:
            return Verdict(None, _poisoned(words, self._limit))
        self._never_ready = 0 if was_ready else self._never_ready + 1
        wait_s = min(self._backoff_s * 2 ** max(0, self._never_ready - 1), WAIT_S_MAX)
        return Verdict(wait_s, f"died ({_cause(code)}){said}{_place(words)}; starts again in {wait_s:.2g} s")

    def _count(self, words: LastWords | None) -> int:
        if words is None or words.partition is None or words.offset is None:
            return 0
        place = (words.stage, words.partition, words.offset)
        self._deaths[place] += 1
        return self._deaths[place]


def _poisoned(words: LastWords | None, deaths: int) -> str:
    assert words is not None
    return (
        f"stays down, {deaths} deaths at one record: {words.reason}{_place(words)}."
        f" To step over it: trading skip {words.stage} {words.partition} {words.offset}"
    )


def _place(words: LastWords | None) -> str:
    if words is None or words.offset is None:
        return ""
    return f" (stage {words.stage}, partition {words.partition}, offset {words.offset})"


def _cause(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
