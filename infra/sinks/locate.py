"""Finds the record at which a sink's task failed: Connect itself does not tell.

A task takes thousands of records at a time, and what it has committed says only where they began. So they are taken
again, one at a time, by a probe: a connector of the same configuration under another name, and so with offsets of its
own, that begins where the failed one stands and sees one partition alone. The first probe that fails has named
partition and offset, and has stored what came before. It may do so, as the writes are upserts: they end in the same
rows.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple
from uuid import uuid4

from infra.auditor.log import Place, Span
from infra.errors import OperatorError
from infra.processes import wait_until
from infra.sinks.connect import Config, Connect, Places
from infra.sinks.connectors import takes_any_record
from infra.sinks.probes import PROBE, remove

TIMEOUT_S: Final = 120
PROBES_AT_ONCE: Final = 4  # each is a task with its connections to the database
_TAKEN: Final = "consumer.override.max.poll.records"
_TAKEN_BY_DEFAULT: Final = "500"


class NotLocatedError(OperatorError):
    """No record could be named; the message says why, and what to do."""


class FailedRecord(NamedTuple):
    """The place that a connector cannot pass, and why: the record there, or the next one of the partition."""

    place: Place
    offset: int
    reason: str


class _Probe(NamedTuple):
    """A probe, the one partition that it sees, and how far it must come to show that nothing fails there."""

    name: str
    place: Place
    acquitted_at: int


def reason(trace: str) -> str:
    """The first cause in a Java trace, in one line."""
    said = [line for line in trace.splitlines() if line.startswith("Caused by: ")] or trace.splitlines()[:1]
    return said[-1].removeprefix("Caused by: ").strip() if said else "no reason given"


def is_in_start(trace: str) -> bool:
    """Whether a task failed before it took any record."""
    return "WorkerSinkTask.initializeAndStart" in trace


def locate(
    connect: Connect, name: str, spans: Mapping[Place, Span], timeout_s: float = TIMEOUT_S
) -> FailedRecord:
    """Give the record that stopped a connector. `spans` are all partitions of its topics.

    Raises:
        NotLocatedError: it has not failed, or not at a record, or does not fail again.
        ConnectError: Connect does not answer.

    """
    failure = connect.state(name).failure
    if failure is None:
        raise NotLocatedError(f"connector {name} has not failed")
    if is_in_start(failure):
        raise _at_no_record(name, failure)
    config = connect.config(name)
    if takes_any_record(config):
        raise NotLocatedError(
            f"connector {name} failed at no record, it stores any ({reason(failure)}): mend where it stores them, then"
            f" `trading sinks restart {name}`"
        )
    if config.get("insert.mode") != "upsert":
        raise NotLocatedError(
            f"connector {name} does not upsert: to take its records again would double them. Its log names the"
            f" batch ({reason(failure)})"
        )
    committed = connect.places(name)
    starts = {place: max(committed.get(place, 0), begin) for place, (begin, _) in spans.items()}
    behind = [place for place in sorted(spans) if starts[place] < spans[place][1]]
    for some in (behind[i : i + PROBES_AT_ONCE] for i in range(0, len(behind), PROBES_AT_ONCE)):
        found = _probe(connect, name, config, {place: starts[place] for place in some}, spans, timeout_s)
        if found:
            return found
    raise NotLocatedError(
        f"connector {name} failed ({reason(failure)}), but all its records can be stored now:"
        f" `trading sinks restart {name}`"
    )


def _probe(
    connect: Connect,
    name: str,
    config: Config,
    starts: Places,
    spans: Mapping[Place, Span],
    timeout_s: float,
) -> FailedRecord | None:
    """Probe some partitions at once, until one fails or all have come past where the connector had come."""
    taken = int(config.get(_TAKEN, _TAKEN_BY_DEFAULT))
    one_by_one = {**config, _TAKEN: "1", "tasks.max": "1"}
    found: list[FailedRecord] = []
    with ExitStack() as stack:
        probes = [
            _Probe(
                stack.enter_context(_running(connect, name, one_by_one, _alone(place, start, spans))),
                place,
                min(start + taken, spans[place][1]),
            )
            for place, start in starts.items()
        ]

        def decided() -> bool:
            found.extend(failed for probe in probes if (failed := _failed(connect, name, probe)))
            return bool(found) or all(_acquitted(connect, probe) for probe in probes)

        if not wait_until(decided, timeout_s):
            raise NotLocatedError(
                f"the record that stopped {name} was not found within {timeout_s:.0f} s: try again"
            )
    return found[0] if found else None


def _alone(place: Place, start: int, spans: Mapping[Place, Span]) -> Places:
    """Where a probe of one partition begins: in all others there is nothing left."""
    return {other: end for other, (_, end) in spans.items()} | {place: start}


@contextmanager
def _running(connect: Connect, name: str, config: Config, places: Places) -> Iterator[str]:
    probe = f"{PROBE}{name}-{uuid4().hex[:8]}"
    connect.make_stopped(probe, {**config, "name": probe})
    try:
        connect.move(probe, places)
        connect.resume(probe)
        yield probe
    finally:
        remove(connect, probe)


def _failed(connect: Connect, name: str, probe: _Probe) -> FailedRecord | None:
    failure = connect.state(probe.name).failure
    if failure is None:
        return None
    if is_in_start(failure):
        raise _at_no_record(name, failure)
    return FailedRecord(probe.place, connect.places(probe.name)[probe.place], reason(failure))


def _acquitted(connect: Connect, probe: _Probe) -> bool:
    return connect.places(probe.name)[probe.place] >= probe.acquitted_at


def _at_no_record(name: str, failure: str) -> NotLocatedError:
    return NotLocatedError(
        f"connector {name} failed as it started, at no record ({reason(failure)}): mend that, then"
        f" `trading sinks restart {name}`"
    )
