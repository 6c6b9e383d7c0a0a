"""The chore that takes the state at each UTC day's start: at the first look after it that finds none in the bucket."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from infra.archive.bucket import Bucket
from infra.archive.state import Day, find_state, take_state
from infra.cluster import engine_log
from infra.sealing import keys
from infra.settings import Settings

NS_PER_MS: Final = 10**6
MS_PER_S: Final = 1_000


class DailyState:
    """Called once a minute; asks the bucket until the day's state is there, and then no more that day."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns) -> None:
        """``now_ns`` is UTC."""
        self._now_ns = now_ns
        self._done = ""

    def __call__(self, settings: Settings) -> str | None:
        """Take the state of today unless there is one, and say so.

        Raises:
            OperatorError: Kafka or the bucket does not answer, a stage has no checkpoint yet, or there is no key.

        """
        now_ms = self._now_ns() // NS_PER_MS
        day = today(now_ms)
        if day.name == self._done:
            return None
        made = ensure_state(settings, day, now_ms)
        self._done = day.name
        return f"the state of {day.name} is in {made}" if made else None


def today(now_ms: int) -> Day:
    """The day of a moment."""
    return Day.of(datetime.fromtimestamp(now_ms // MS_PER_S, UTC).date().isoformat())


def ensure_state(settings: Settings, day: Day, now_ms: int) -> str | None:
    """Take a day's state unless the bucket has one, and give its address; raises as ``DailyState``."""
    bucket = Bucket.of(settings)
    if find_state(bucket, day.name) is not None:
        return None
    with engine_log(settings) as log:
        return bucket.uri(take_state(settings, log, bucket, keys.private(settings), day, now_ms))
