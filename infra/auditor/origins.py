"""Check 1: what each origin said to each place is one contiguous chain, and its repeats are the same bytes.

It is also the filter that drops repeats for all other checks, and remembers a 64-bit hash of every record
(eight bytes each), with which ``refold`` compares what a fold says, record by record.
"""

from array import array
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from infra.auditor.cut import LaneKey
from infra.auditor.report import Report
from schemas import codec
from schemas.envelopes import Origin

Said = tuple[int, int]
"""Sequence and chain of a record."""
NOTHING: Final[Said] = (-1, 0)
NO_LANES: Final[Mapping[LaneKey, Said]] = MappingProxyType({})


class Lane:
    """What one origin said to one place: record ``first + i`` has the hash ``hashes[i]``."""

    __slots__ = ("chain", "first", "hashes", "repeats")

    def __init__(self, sequence: int, chain: int | None) -> None:
        """The record before the first: its number, and its chain (None where it is gone)."""
        self.first = sequence + 1
        self.chain = chain
        self.hashes = array("q")
        self.repeats = 0

    @property
    def next(self) -> int:
        """The number that comes next."""
        return self.first + len(self.hashes)


class Origins:
    """All lanes of the log."""

    def __init__(
        self,
        report: Report,
        *,
        before: Mapping[LaneKey, Said] = NO_LANES,
        expected: Mapping[LaneKey, Said] = NO_LANES,
        cut_off: frozenset[tuple[str, int]] = frozenset(),
    ) -> None:
        """``before`` is where each lane stood at a snapshot, ``expected`` what checkpoints say was said.

        ``cut_off`` are places whose start is gone: there the first record seen is taken as it is.
        """
        self.lanes: dict[LaneKey, Lane] = {}
        self._before, self._expected = dict(before), dict(expected)
        self._cut_off = cut_off
        self._order = report.tally("records of an origin are contiguous, on one chain")
        self._repeats = report.tally("repeats are the same bytes as what they repeat")
        self._checkpoints = report.tally("what checkpoints say was said is in the topics")

    def take(self, place: tuple[str, int], offset: int, origin: Origin, value: bytes) -> bool:
        """Looks at a record, and tells whether it is new."""
        key = (*place, origin.stage, origin.partition)
        lane = self.lanes.get(key)
        if lane is None:
            lane = self.lanes[key] = self._begin(key, origin)
        self._order.count += 1
        sequence, wanted = origin.sequence, lane.next
        if sequence < wanted:
            self._repeat(key, offset, sequence, lane, value)
            return False
        if sequence > wanted:
            self._order.breach(f"{_name(key)} at {offset}: {sequence}, and {wanted} was never seen")
            lane.first, lane.hashes = sequence, array("q")
        elif lane.chain is not None and codec.chain_of(value, lane.chain) != origin.chain:
            self._order.breach(f"{_name(key)} at {offset}: {sequence} is on another chain")
        lane.hashes.append(hash(value))
        lane.chain = origin.chain
        if self._expected.get(key) == (sequence, origin.chain):
            self._checkpoints.count += 1
            del self._expected[key]
        return True

    def finish(self) -> None:
        """Counts what was said by a checkpoint and never seen. Of a lane all may lie before a start that is gone."""
        for key, said in sorted(self._expected.items()):
            is_before = key[:2] in self._cut_off and key not in self.lanes
            if said not in (self._before.get(key), NOTHING) and not is_before:
                self._checkpoints.miss(f"{_name(key)}: {said[0]} (chain {said[1]:08x}) is not there")

    def _begin(self, key: LaneKey, origin: Origin) -> Lane:
        before = self._before.get(key)
        if before is None and key[:2] in self._cut_off:
            return Lane(origin.sequence - 1, None)
        return Lane(*(before or NOTHING))

    def _repeat(self, key: LaneKey, offset: int, sequence: int, lane: Lane, value: bytes) -> None:
        lane.repeats += 1
        index = sequence - lane.first
        same = index < 0 or lane.hashes[index] == hash(value)
        self._repeats.expect(same, f"{_name(key)} at {offset}: {sequence} is said again with other bytes")


def _name(key: LaneKey) -> str:
    topic, partition, stage, origin = key
    return f"{topic} {partition}, {stage} {origin}"
