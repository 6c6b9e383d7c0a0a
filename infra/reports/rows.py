"""Where a report gets its rows: flat records (`schemas/flat.py`), which Postgres has and any log gives.

Both give the same rows in the same order, so that the same day gives the same bytes wherever it comes from.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Protocol, TypeVar

from infra.reports.day import Day
from schemas.flat import FlatOrderEvent
from schemas.record import Record

R = TypeVar("R", bound=Record)

HOUR_NS: Final = 3_600 * 10**9


class Rows(Protocol):
    """The rows of one engine (one epoch), as they were when reading began."""

    @property
    def since_ns(self) -> int:
        """From when on all that happened is there; 0: from the engine's first day."""

    def happened(
        self, record: type[R], begin_ns: int, end_ns: int, events: tuple[str, ...] = ()
    ) -> Iterator[R]:
        """Rows of what happened in a span of time, by their table's key; only of these events, if any are named."""

    def orders_before(self, day: Day) -> Iterator[FlatOrderEvent]:
        """What happened before a day to the orders to which something happened on it, by the table's key.

        And all of the last hour: an order that was asked for just before midnight may be refused behind it, by no id.
        """

    def latest(self, record: type[R]) -> Iterator[R]:
        """The rows of a table of states, by its key."""

    def marks(self, end_ns: int) -> Mapping[str, int]:
        """The last mark of each instrument before a time, in ticks."""
