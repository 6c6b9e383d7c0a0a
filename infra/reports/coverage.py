"""Whether a log has all of a day: the clock has passed its end, every stage too, and seals cover it.

What is in the log is looked at where it is read (`log_rows.py`, `executions.py`); here is what only its ends tell.
"""

from collections.abc import Iterable
from typing import Any, Final

from infra.archive.log import ArchiveLog
from infra.auditor.cut import FIRST_LOOK_BACK, changelogs, last_checkpoint
from infra.auditor.log import Log, Place
from infra.reports.day import Day, utc
from infra.reports.notes import Notes
from infra.sealing.chains import JOURNAL
from schemas import codec
from schemas.audit import Seal
from schemas.control_events import ClockTicked
from schemas.topics import ACCOUNT_EVENTS, INBOXES

NS_PER_MS: Final = 10**6
NOT_OVER: Final = "the day is not over by the engine's clock"
NOT_PASSED: Final = "stages have no checkpoint behind the day's end"
UNSEALED: Final = "records of the day have no seal"
SEALS_MISSING: Final = "seals are missing from their chain"
BEGINS_LATER: Final = "the source does not reach back to the day's start"


def check_start(since_ns: int, day: Day, notes: Notes) -> None:
    """The source must have the day from its first moment on."""
    if since_ns > day.begin_ns:
        notes.incomplete(BEGINS_LATER, f"all is there from {utc(since_ns)} on")


def check_end(log: Log, env: str, day: Day, notes: Notes) -> None:
    """The clock must have passed the day's end on every partition, and so must every stage's checkpoint.

    An archive keeps no keys, by which a checkpoint is known in a changelog: there the clock alone tells.
    """
    there = log.topics()
    if ACCOUNT_EVENTS not in there:
        notes.incomplete(NOT_OVER, f"{ACCOUNT_EVENTS} is not in the source")
    for partition in range(there.get(ACCOUNT_EVENTS, 0)):
        now_ns = _clock_ns(log, (ACCOUNT_EVENTS, partition))
        if now_ns < day.end_ns:
            stands = utc(now_ns) if now_ns else "never ticked"
            notes.incomplete(NOT_OVER, f"{ACCOUNT_EVENTS} {partition} {stands}")
    if isinstance(log, ArchiveLog):
        return
    for stage, inbox in INBOXES.items():
        names = changelogs(log, env, stage)
        for partition in range(there.get(inbox, 0)):
            known = [it for name in names if (it := last_checkpoint(log, name, partition)) is not None]
            now_ns = max((it.meta.now_ns for it in known), default=0)
            if now_ns < day.end_ns:
                notes.incomplete(NOT_PASSED, f"{stage} {partition} at {utc(now_ns)}")


def check_seals(log: Log, places: Iterable[Place], day: Day, notes: Notes) -> None:
    """Each record of the day must be under a seal, in a chain without holes; `trading audit verify` proves them."""
    last: dict[Place, Seal] = {}
    if JOURNAL[0] in log.topics():
        for record in log.read(JOURNAL, log.bounds(JOURNAL)):
            seal: Any = codec.decode(record.value or b"")
            place = seal.topic, seal.partition
            before = last.get(place)
            if before is not None and seal.number > before.number + 1:
                notes.incomplete(SEALS_MISSING, f"{place[0]} {place[1]}, {before.number + 1}")
            if before is None or seal.number > before.number:
                last[place] = seal
    for place in places:
        start, end = log.bounds(place)
        sealed = last[place].last_offset + 1 if place in last else start
        first = next(iter(log.read(place, (max(start, sealed), end))), None)
        if first is not None and first.timestamp_ms * NS_PER_MS < day.end_ns:
            notes.incomplete(UNSEALED, f"{place[0]} {place[1]} from {first.offset} on")


def _clock_ns(log: Log, place: Place) -> int:
    """The last tick that a partition of `account-events` was told; 0 for none."""
    start, end = log.bounds(place)
    back = FIRST_LOOK_BACK
    while True:
        begin = max(start, end - back)
        ticks = [tick for record in log.read(place, (begin, end)) for tick in _ticks(record.value or b"")]
        if ticks or begin == start:
            return max(ticks, default=0)
        back *= 8


def _ticks(value: bytes) -> Iterable[int]:
    try:
        envelope: Any = codec.decode(value)
    except codec.DecodeError:
        return []
    return [item.tick_ns for item in envelope.items if isinstance(item, ClockTicked)]
