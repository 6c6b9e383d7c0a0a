"""Check 7: the committed tables, and all that was said, equal an offline fold of the inbox, byte for byte.

This one runs the stages' own rules, over the inbox as it lies in the log: it proves that crashes, repeats,
rebalances and checkpoints left no trace. Whether the rules are right is what the other checks ask.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from agents.stage.errors import StageError
from agents.stage.fold import Fold, InboxRecord, Output
from infra.auditor.agreement import Entries, entries_of
from infra.auditor.cut import Checkpoint, Cut, LaneKey, StagePlace
from infra.auditor.log import Log
from infra.auditor.origins import Lane
from infra.auditor.report import Report, Tally
from schemas.topics import CHANNELS, PartitionCounts
from tables.meta import META_KEY, encode_meta

Skips = Mapping[StagePlace, frozenset[tuple[int, int | None]]]
"""What an operator made a no-op, by stage and partition: (offset, index or None)."""

NO_SKIPS: Final[frozenset[tuple[int, int | None]]] = frozenset()


def refold_all(
    log: Log,
    cut: Cut,
    counts: PartitionCounts,
    lanes: Mapping[LaneKey, Lane],
    report: Report,
    *,
    skips: Skips | None = None,
    start: Mapping[StagePlace, Entries] | None = None,
    progress: Callable[[str], object] = lambda _: None,
) -> None:
    """Folds every partition of every stage, and compares each replica at its checkpoint."""
    from infra.worker import stage_named

    for place, checkpoints in cut.replicas.items():
        progress(f"{place[0]} {place[1]}")
        fold = Fold(stage_named(place[0]), counts, place[1])
        fold.skips = (skips or {}).get(place, NO_SKIPS)
        refold(log, fold, checkpoints, lanes, report, start=(start or {}).get(place))


def refold(
    log: Log,
    fold: Fold,
    checkpoints: Sequence[Checkpoint],
    lanes: Mapping[LaneKey, Lane],
    report: Report,
    *,
    start: Entries | None = None,
) -> None:
    """Folds one partition from the inbox's start (or from ``start``), and compares at each checkpoint.

    ``fold`` is new, but for its skips; ``lanes`` are those of ``origins_of`` or of an audit: what is in the
    topics, repeats dropped. ``start`` is what a snapshot holds.
    """
    tables = report.tally(f"{fold.stage.name}: tables equal a fold of the inbox, byte for byte")
    said = report.tally(f"{fold.stage.name}: what was said equals a fold of the inbox, repeats dropped")
    for key, value in (start or {}).items():
        fold.load(key, value)
    fold.begin()
    voice = _Voice(fold, lanes, said)
    inbox = fold.stage.inbox, fold.partition
    begin = fold.next_offset
    if (first := log.bounds(inbox)[0]) > begin:
        said.note = tables.note = f"{inbox[0]} {inbox[1]} begins at {first}, not {begin}: take a snapshot"
        return
    for checkpoint in sorted(checkpoints, key=lambda it: it.meta.next_offset):
        try:
            for record in log.read(inbox, (begin, checkpoint.meta.next_offset)):
                voice.hear(fold.apply(InboxRecord(*record)))
        except StageError as error:
            said.breach(
                f"{fold.stage.name} {fold.partition}: the fold stops at {error.offset}: {error.reason}"
            )
            return
        begin = max(begin, checkpoint.meta.next_offset)
        _compare(fold, entries_of(log, checkpoint, fold.partition), checkpoint.changelog, tables)


class _Voice:
    """What a fold says, compared record by record with what is in the topics."""

    def __init__(self, fold: Fold, lanes: Mapping[LaneKey, Lane], tally: Tally) -> None:
        origin = fold.stage.name, fold.partition
        self._name, self._tally = f"{origin[0]} {origin[1]}", tally
        self._lanes = {key[:2]: lane for key, lane in lanes.items() if key[2:] == origin}
        self._next = {
            (topic, said.partition): said.sequence + 1
            for said in fold.checkpoint().meta.said
            for topic in CHANNELS[said.channel].topics
        }

    def hear(self, outputs: Iterable[Output]) -> None:
        """Compares what was said to each topic with the record of that number there."""
        for topics, partition, value, _ in outputs:
            for topic in topics:
                place = topic, partition
                sequence = self._next.get(place, 0)
                self._next[place] = sequence + 1
                fault = _fault(self._lanes.get(place), sequence, value)
                self._tally.expect(not fault, f"{self._name} to {topic} {partition}, {sequence}: {fault}")


def _fault(lane: Lane | None, sequence: int, value: bytes) -> str:
    index = -1 if lane is None else sequence - lane.first
    if lane is None or index >= len(lane.hashes):
        return "a fold says it, and it is not in the topic"
    if index < 0 or lane.hashes[index] == hash(value):  # older than the log's start: nobody can compare
        return ""
    return "other bytes than a fold says"


def _compare(fold: Fold, found: Entries, changelog: str, tally: Tally) -> None:
    wanted = {key: value for key, value in fold.tables.entries() if value is not None}
    wanted[META_KEY] = encode_meta(fold.checkpoint().meta)
    tally.count += len(wanted)
    for key in wanted.keys() | found.keys():
        if wanted.get(key) != found.get(key):
            tally.breach(
                f"{changelog} {fold.partition}, {_named(fold, key)}: {_difference(found, wanted, key)}"
            )


def _named(fold: Fold, key: bytes) -> str:
    if key == META_KEY:
        return "META"
    section = fold.tables.sections.get(key[0])
    name = "an unknown section" if section is None else section.name
    return f"{name} {msgspec.msgpack.decode(key[1:])!r}"


def _difference(found: Entries, wanted: Entries, key: bytes) -> str:
    rows = (entries.get(key) for entries in (found, wanted))
    texts = ("nothing" if row is None else repr(msgspec.msgpack.decode(row)) for row in rows)
    return "{} is kept, a fold makes {}".format(*texts)
