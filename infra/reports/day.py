"""A day, in UTC, and how a report writes times."""

from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple, Self

from infra.errors import OperatorError
from schemas.maximums import NANOSECONDS_PER_DAY

_EPOCH: Final = date(1970, 1, 1)
_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_US: Final = 1_000


class Day(NamedTuple):
    """A day by its number since 1970-01-01."""

    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2026-11-25`; OperatorError for what is no date."""
        try:
            return cls((date.fromisoformat(text) - _EPOCH).days)
        except ValueError as error:
            raise OperatorError(f"{text!r} is no day: write YYYY-MM-DD") from error

    @property
    def begin_ns(self) -> int:
        """Its first nanosecond."""
        return self.number * NANOSECONDS_PER_DAY

    @property
    def end_ns(self) -> int:
        """The first nanosecond of the next day."""
        return self.begin_ns + NANOSECONDS_PER_DAY

    def __str__(self) -> str:
        """`2026-11-25`."""
        return (_EPOCH + timedelta(days=self.number)).isoformat()


def day_of(at_ns: int) -> Day:
    """The day that a time is of."""
    return Day(at_ns // NANOSECONDS_PER_DAY)


def utc(at_ns: int) -> str:
    """`2026-11-25T21:50:00.000001Z`; what is below a microsecond is cut off."""
    moment = _START + timedelta(microseconds=at_ns // _NS_PER_US)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
