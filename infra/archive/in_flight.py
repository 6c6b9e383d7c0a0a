"""Which orders intake had not taken when the archive ended: from there it goes on in a restored engine.

The places that its group committed are not in the archive, but what it says is: a command carries its order's account,
id and time, a refusal too, a dead letter its order's place.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.auditor.log import Log, LogRecord, Place, Span, side_by_side
from schemas import codec
from schemas.envelopes import DeadLetter
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, DEAD_LETTERS, ORDERS, client_of

NS_PER_MS: Final = 10**6
SKEW_MS: Final = 10_000  # by which intake's clock may be behind the broker's
Name = tuple[str, str, int]
"""Account, command id, and the time (ns) at which the broker took the order."""


def not_taken(log: Log, spans: Mapping[Place, Span]) -> dict[Place, int]:
    """The first order of each partition to which nothing was said, by offset; the end where all were taken.

    ``spans`` are those that are restored. They are read side by side by time, orders before what is said to them, so
    only what is under way is held.
    """
    orders = {place: span for place, span in spans.items() if _is_open(place[0])}
    said = {place: it for place, it in spans.items() if place[0] in _SAID}
    waiting: dict[Place, set[int]] = {place: set() for place in orders}
    by_name: dict[Name, deque[tuple[Place, int]]] = {}
    for place, record in side_by_side(_Late(log), orders | said):
        if place in waiting:
            waiting[place].add(record.offset)
            if (name := _name_of(_decoded(record), record.timestamp_ms * NS_PER_MS)) is not None:
                by_name.setdefault(name, deque()).append((place, record.offset))
            continue
        for order_place, offset in _answered(record, by_name):
            waiting.get(order_place, set()).discard(offset)
    return {place: min(waiting[place], default=span[1]) for place, span in orders.items()}


class _Late:
    """A log in which what is said to orders comes a little later than it did."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.topics, self.bounds = log.topics, log.bounds

    def read(self, place: Place, span: Span) -> Iterator[LogRecord]:
        """The records of a span."""
        late_ms = 0 if _is_open(place[0]) else SKEW_MS
        for record in self._log.read(place, span):
            yield record._replace(timestamp_ms=record.timestamp_ms + late_ms)


_SAID: Final = frozenset({ACCOUNT_COMMANDS, ACCOUNT_EVENTS, DEAD_LETTERS})


def _is_open(topic: str) -> bool:
    return topic == ORDERS or client_of(topic) is not None


def _answered(
    record: LogRecord, by_name: dict[Name, deque[tuple[Place, int]]]
) -> Iterator[tuple[Place, int]]:
    envelope = _decoded(record)
    if isinstance(envelope, DeadLetter):
        yield (envelope.topic, envelope.partition), envelope.offset
    elif getattr(envelope, "origin", "") is None:  # an edge's: a stage says where it comes from
        for item in envelope.items:
            name = _name_of(item, item.at_ns)
            if name in by_name:
                yield by_name[name].popleft()
                if not by_name[name]:
                    del by_name[name]


def _name_of(item: Any, at_ns: int) -> Name | None:
    command_id = getattr(item, "client_order_id", None) or getattr(item, "command_id", None)
    account = getattr(item, "account", None)
    return None if account is None or command_id is None else (account, command_id, at_ns)


def _decoded(record: LogRecord) -> Any:
    try:
        return codec.decode(record.value)
    except codec.DecodeError:
        return None
