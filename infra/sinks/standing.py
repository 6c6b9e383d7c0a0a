"""How each connector stands: what it does, how far it is behind, and the record that stopped it."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from infra.auditor.log import Log, LogRecord, Place, Span
from infra.errors import OperatorError
from infra.shown import shown
from infra.sinks.connect import Connect, ConnectorState
from infra.sinks.connectors import topics_of
from infra.sinks.locate import FailedRecord, NotLocatedError, locate, reason
from infra.sinks.probes import PROBE
from schemas import codec


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """Why a connector stopped. ``record`` is None where none could be named, and ``reason`` says why."""

    reason: str
    topic: str | None = None
    partition: int | None = None
    offset: int | None = None
    record: Any = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A connector; ``behind`` counts the records of its topics that it has not committed yet."""

    name: str
    state: str
    topics: tuple[str, ...]
    behind: int
    stopped: Stopped | None


def standings(connect: Connect, log: Log) -> list[Standing]:
    """Every connector, by name. The record of each that failed is looked for, which takes some seconds.

    Raises:
        OperatorError: Connect or Kafka does not answer.

    """
    states = connect.states().values()
    return [_standing(connect, log, state) for state in states if not state.name.startswith(PROBE)]


def spans_of(log: Log, topics: Iterable[str]) -> dict[Place, Span]:
    """What Kafka holds of some topics, by partition."""
    counts = log.topics()
    places = [(topic, partition) for topic in topics for partition in range(counts.get(topic, 0))]
    return {place: log.bounds(place) for place in places}


def failed_record(connect: Connect, log: Log, name: str) -> tuple[FailedRecord, LogRecord]:
    """The record that stopped a connector, and why; its offset is the record's own, behind any gap.

    Raises:
        NotLocatedError, ConnectError: as `locate`.

    """
    spans = spans_of(log, topics_of(connect.config(name), log.topics()))
    found = locate(connect, name, spans)
    record = next(log.read(found.place, (found.offset, spans[found.place][1])))
    return found._replace(offset=record.offset), record


def in_words(record: LogRecord) -> Any:
    """What a record holds, for people; hex where no schema reads it."""
    try:
        return shown(codec.decode(record.value or b""))
    except codec.DecodeError:
        return (record.value or b"").hex()


def _standing(connect: Connect, log: Log, state: ConnectorState) -> Standing:
    topics = topics_of(connect.config(state.name), log.topics())
    return Standing(
        name=state.name,
        state=state.word,
        topics=topics,
        behind=_behind(connect.places(state.name), spans_of(log, topics)),
        stopped=_stopped(connect, log, state),
    )


def _behind(committed: Mapping[Place, int], spans: Mapping[Place, Span]) -> int:
    return sum(end - max(begin, committed.get(place, begin)) for place, (begin, end) in spans.items())


def _stopped(connect: Connect, log: Log, state: ConnectorState) -> Stopped | None:
    if state.failure is None:
        return None
    try:
        found, record = failed_record(connect, log, state.name)
    except NotLocatedError as error:
        return Stopped(reason=str(error))
    except OperatorError as error:
        return Stopped(reason=f"{reason(state.failure)}; its record could not be looked for: {error}")
    topic, partition = found.place
    return Stopped(
        reason=found.reason, topic=topic, partition=partition, offset=found.offset, record=in_words(record)
    )
