"""The first chore of the worker `archive`: has it stopped, is it behind, and what must not expire meanwhile."""

import logging
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import Gauge

from infra.archive.progress import Behind, progress
from infra.archive.retention import FOREVER, hold, in_force, is_held, release, to_hold, to_release
from infra.errors import OperatorError
from infra.settings import Settings
from infra.sinks.connect import Connect, Life
from infra.sinks.connectors import ARCHIVE
from infra.sinks.locate import reason

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
LOOKS: Final = 2  # in a row: a restart of Connect takes some seconds and is no alarm
LATE_COMMITS: Final = 10
LATE_S_MIN: Final = 60.0

_PLACE: Final = ("topic", "partition")
RUNNING: Final = Gauge(
    "trading_archive_running", "1 while the archive's connector runs and its table can be read, else 0"
)
BEHIND: Final = Gauge("trading_archive_behind_records", "Offsets that the archive does not hold yet", _PLACE)
BEHIND_S: Final = Gauge(
    "trading_archive_behind_seconds", "Age of the first record that is not archived", _PLACE
)
LOST: Final = Gauge(
    "trading_archive_lost_records", "Offsets that expired in Kafka before they were archived", _PLACE
)
HELD: Final = Gauge("trading_archive_held", "1 for a topic of which nothing expires now", ["topic"])
LOOKED_AT: Final = Gauge(
    "trading_archive_looked_at_seconds", "When the archive was last looked at, since 1970"
)


class Watch:
    """Looks once each time it is called. What it says is what has changed: a new alarm, or that one is over."""

    def __init__(self) -> None:
        self._stopped_looks = 0
        self._alarms: frozenset[str] = frozenset()
        # A hole stays one, also once the archive has gone on behind it.
        self._lost: dict[tuple[str, int], int] = {}

    def __call__(self, settings: Settings) -> str | None:
        """Look, hold or release, and give a line where something has changed.

        Raises:
            OperatorError: Kafka does not take a hold or a release.

        """
        found, stopped = look(settings)
        found = [self._with_lost(it) for it in found]
        self._stopped_looks = self._stopped_looks + 1 if stopped else 0
        has_stopped = self._stopped_looks >= LOOKS
        held = _keep(settings, found, stopped if has_stopped else None, is_well=not stopped)
        _show(found, held, is_running=not stopped)
        alarms = dict(_alarms(found, late_s(settings)))
        if has_stopped:
            alarms["stopped"] = f"the archive has stopped: {stopped}; nothing expires in Kafka meanwhile"
        lines = [alarms[it] for it in sorted(alarms.keys() - self._alarms)]
        if self._alarms and not alarms and not stopped:
            lines.append("the archive is up to date again")
        if alarms or not stopped:
            self._alarms = frozenset(alarms)
        return "; ".join(lines) or None

    def _with_lost(self, it: Behind) -> Behind:
        place = it.topic, it.partition
        lost = self._lost[place] = max(it.lost, self._lost.get(place, 0))
        return msgspec.structs.replace(it, lost=lost)


def look(settings: Settings) -> tuple[list[Behind], str]:
    """How far the archive is, and why it does not go on: empty while it does. A failed task is started again.

    No record can stop the archive's connector, only where it stores them: so to try again is all there is to do.
    Whatever goes wrong here, nobody knows how far the archive is: that holds as its having stopped does.
    """
    why = _why_stopped(settings)
    try:
        return progress(settings), why
    except OperatorError as error:
        said = str(error)
    except Exception as error:
        log.exception("a fault of the engine: nobody knows how far the archive is")
        said = repr(error)
    return [], f"{why}; {said}" if why else said


def late_s(settings: Settings) -> float:
    """How far behind is an alarm: some commits, and a restart of Connect."""
    return max(LATE_S_MIN, float(LATE_COMMITS * settings.archive_commit_interval_s))


def _why_stopped(settings: Settings) -> str:
    try:
        with Connect(settings.connect_url, TIMEOUT_S) as connect:
            state = connect.states().get(ARCHIVE)
            if state is None:
                return f"Connect has no connector {ARCHIVE}: `trading sinks apply`"
            if state.failure:
                connect.restart(ARCHIVE)
                return (
                    f"connector {ARCHIVE} failed ({reason(state.failure)}); it is started again each minute"
                )
            if state.life in {Life.PAUSED, Life.STOPPED}:
                return f"connector {ARCHIVE} is {state.word}: `trading sinks restart {ARCHIVE}`"
    except OperatorError as error:
        return str(error)
    return ""


def _keep(settings: Settings, found: list[Behind], stopped: str | None, *, is_well: bool) -> set[str]:
    """Hold what must not expire, release what may again, and give what is held."""
    now = {name: value for name, value in in_force(settings).items() if value != FOREVER}
    held = {name for name, value in now.items() if is_held(value)}
    wanted = to_hold(found, now, settings.archive_hold_after_s, has_stopped=stopped is not None) & now.keys()
    free = to_release(found, held, late_s(settings)) - wanted if is_well else set()
    if wanted - held:
        hold(settings, wanted - held, stopped or f"behind by more than {settings.archive_hold_after_s} s")
    if free:
        release(settings, free, "the archive has caught up")
    return (held | wanted) - free


def _alarms(found: Iterable[Behind], late: float) -> Iterator[tuple[str, str]]:
    """What is wrong, by a name that stays the same while it lasts."""
    for it in found:
        place = f"{it.topic} {it.partition}"
        if it.lost:
            yield (
                f"lost {place}",
                f"{place}: {it.lost} records expired in Kafka before they were archived: they are lost",
            )
        elif it.behind_s > late:
            yield (
                f"behind {place}",
                f"{place}: the archive is {it.behind} records behind, the first {it.behind_s:.0f} s old",
            )


def _show(found: Iterable[Behind], held: Iterable[str], *, is_running: bool) -> None:
    RUNNING.set(is_running)
    for it in found:
        place = it.topic, str(it.partition)
        BEHIND.labels(*place).set(it.behind)
        BEHIND_S.labels(*place).set(it.behind_s)
        LOST.labels(*place).set(it.lost)
    HELD.clear()
    for topic in held:
        HELD.labels(topic).set(1)
    LOOKED_AT.set_to_current_time()
