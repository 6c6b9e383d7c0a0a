"""The cut at which an engine is audited: a place in every log, such that no consequence is cut off.

Control ticks for ever, so the logs never end. But every checkpoint says in META how far its stage had read
its inbox, what it had heard of whom, and the number of the last record that it had said to each destination.
The checkpoints of all partitions are a cut if nothing is under way between them but the clock:

1. behind each one's place, its inbox holds nothing but ticks, looked at after the checkpoints were read;
2. nobody but control had been heard saying more than its own checkpoint knows of.

What a stage said before its checkpoint was acknowledged before the checkpoint was written, so it is in the
log by the time of 1. What it said later was caused by what 1 saw: ticks; by 2 none of it is in a checkpoint.
"""

import time
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from infra.auditor.log import AuditError, Log, LogRecord, Place, Span
from schemas import codec
from schemas.commands import Tick
from schemas.control_events import ClockTicked
from schemas.topics import BY_NAME, CHANNELS, INBOXES, TOPICS, PartitionCounts
from tables.meta import META_KEY, Meta, decode_meta

POLL_S: Final = 0.1
FIRST_LOOK_BACK: Final = 16  # META is the last record but the marker of its transaction
_WAIT: Final = "Stop the flow of orders, and see that all workers run"
_CLOCK: Final = (Tick, ClockTicked)

StagePlace = tuple[str, int]
"""A stage and a partition of it."""
LaneKey = tuple[str, int, str, int]
"""A topic and its partition, and the stage and its partition that speaks there."""


class Checkpoint(NamedTuple):
    """A committed state: the changelog that holds it, the offset behind it, and what it stands for."""

    changelog: str
    end: int
    meta: Meta


class Cut(msgspec.Struct, frozen=True):
    """Where the audit stops: the last checkpoint of every replica, for each partition of each stage."""

    spans: dict[Place, Span]
    replicas: dict[StagePlace, tuple[Checkpoint, ...]]

    @property
    def checkpoints(self) -> dict[StagePlace, Checkpoint]:
        """Those of the replica that is furthest."""
        first = Checkpoint("", 0, Meta())
        return {
            place: max(known, key=lambda it: it.meta.next_offset, default=first)
            for place, known in self.replicas.items()
        }

    def last_said(self) -> dict[LaneKey, tuple[int, int]]:
        """The (sequence, chain) of what each checkpoint's stage had said last to each destination."""
        return {
            (topic, said.partition, stage, partition): (said.sequence, said.chain)
            for (stage, partition), checkpoint in self.checkpoints.items()
            for said in checkpoint.meta.said
            for topic in CHANNELS[said.channel].topics
        }


def changelogs(log: Log, env: str, stage: str) -> tuple[str, ...]:
    """The changelogs of a stage's replicas."""
    prefix, suffix = f"{env}-{stage}-", "-changelog"
    return tuple(sorted(name for name in log.topics() if name.startswith(prefix) and name.endswith(suffix)))


def last_checkpoint(log: Log, changelog: str, partition: int) -> Checkpoint | None:
    """The last checkpoint of a changelog's partition, None before the first."""
    place = changelog, partition
    start, end = log.bounds(place)
    back = FIRST_LOOK_BACK
    while True:
        begin = max(start, end - back)
        metas = [record for record in log.read(place, (begin, end)) if record.key == META_KEY]
        if metas and metas[-1].value is not None:
            return Checkpoint(changelog, metas[-1].offset + 1, decode_meta(metas[-1].value))
        if begin == start:
            return None
        back *= 8


def find_cut(log: Log, env: str, counts: PartitionCounts, timeout_s: float) -> Cut:
    """Waits until the engine is quiet but for its clock; AuditError says what is still under way."""
    deadline = time.monotonic() + timeout_s
    while True:
        cut, busy = _look(log, env, counts)
        if busy is None:
            return cut
        if time.monotonic() > deadline:
            raise AuditError(f"the engine is not quiet: {busy}")
        time.sleep(POLL_S)


def _look(log: Log, env: str, counts: PartitionCounts) -> tuple[Cut, str | None]:
    replicas = _replicas(log, env, counts)
    places = [(topic.name, partition) for topic in TOPICS for partition in range(counts.of(topic))]
    cut = Cut({place: log.bounds(place) for place in places}, replicas)
    said = cut.last_said()
    for (stage, partition), checkpoint in cut.checkpoints.items():
        if busy := _inbox_is_busy(log, cut, stage, partition) or _is_ahead(
            checkpoint.meta, said, stage, partition
        ):
            return cut, busy
    return cut, None


def _replicas(log: Log, env: str, counts: PartitionCounts) -> dict[StagePlace, tuple[Checkpoint, ...]]:
    names = {stage: changelogs(log, env, stage) for stage in INBOXES}
    return {
        (stage, partition): tuple(
            known for name in names[stage] if (known := last_checkpoint(log, name, partition)) is not None
        )
        for stage, inbox in INBOXES.items()
        for partition in range(counts.of(BY_NAME[inbox]))
    }


def _inbox_is_busy(log: Log, cut: Cut, stage: str, partition: int) -> str | None:
    meta, place = cut.checkpoints[stage, partition].meta, (INBOXES[stage], partition)
    start, end = cut.spans[place]
    heard = {(it.stage, it.partition): it.sequence for it in meta.heard}
    for record in log.read(place, (max(start, meta.next_offset), end)):
        try:
            is_clock = _is_clock(record, heard)
        except codec.DecodeError as error:
            return (
                f"{place[0]} {partition} at {record.offset} cannot be decoded ({error}), and {stage} has not passed it:"
                f" it stays down there, until `trading skip {stage} {partition} {record.offset}`"
            )
        if not is_clock:
            return (
                f"{stage} {partition} has read to {meta.next_offset} of {end}, and {record.offset} is no tick."
                f" {_WAIT}"
            )
    return None


def _is_clock(record: LogRecord, heard: Mapping[tuple[str, int], int]) -> bool:
    envelope = codec.decode(record.value or b"")
    origin = getattr(envelope, "origin", None)
    if origin is not None and origin.sequence <= heard.get((origin.stage, origin.partition), -1):
        return True  # a repeat
    return all(isinstance(item, _CLOCK) for item in getattr(envelope, "items", (None,)))


def _is_ahead(meta: Meta, said: Mapping[LaneKey, tuple[int, int]], stage: str, partition: int) -> str | None:
    for heard in meta.heard:
        known = said.get((INBOXES[stage], partition, heard.stage, heard.partition), (-1, 0))[0]
        if heard.stage != "control" and heard.sequence > known:
            return (
                f"{heard.stage} {heard.partition} has no checkpoint of what {stage} {partition} heard of it."
                f" {_WAIT}"
            )
    return None
