"""How long answers took: percentiles of samples, over all of them and over time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import ceil

import msgspec

_NS_PER_S = 1_000_000_000
_NS_PER_MS = 1_000_000


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One command: when it was sent (ns of any clock), and how long its answer took."""

    sent_ns: int
    latency_ns: int


class Percentiles(msgspec.Struct, frozen=True):
    """Percentiles of one interval that starts ``at_s`` seconds after the first sample, in ms."""

    at_s: float
    count: int
    p50_ms: float
    p99_ms: float
    p999_ms: float


def over_all(samples: Iterable[Sample]) -> Percentiles:
    """The percentiles of all samples, zeros where there is none."""
    return _percentiles(0.0, sorted(sample.latency_ns for sample in samples))


def over_time(samples: Sequence[Sample], interval_s: int = 1) -> tuple[Percentiles, ...]:
    """The percentiles of each interval in which something was sent."""
    start_ns = min((sample.sent_ns for sample in samples), default=0)
    intervals: defaultdict[int, list[int]] = defaultdict(list)
    for sample in samples:
        intervals[(sample.sent_ns - start_ns) // (interval_s * _NS_PER_S)].append(sample.latency_ns)
    return tuple(
        _percentiles(float(number * interval_s), sorted(intervals[number])) for number in sorted(intervals)
    )


def _percentiles(at_s: float, ordered_ns: list[int]) -> Percentiles:
    return Percentiles(
        at_s,
        len(ordered_ns),
        *(_nearest_rank(ordered_ns, share) / _NS_PER_MS for share in (0.5, 0.99, 0.999)),
    )


def _nearest_rank(ordered: list[int], share: float) -> int:
    return ordered[max(ceil(share * len(ordered)) - 1, 0)] if ordered else 0
