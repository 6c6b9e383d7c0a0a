"""What a stage tells Prometheus.

A batch is counted in plain integers and made into metrics when Prometheus asks: observing it in the
client's own histograms cost some 20 us, ten times a batch's fixed work, and most batches hold one record.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from agents.stage.fetch import Batch
    from agents.stage.fold import Fold

SECOND_NS: Final = 10**9
_RECORDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5)
_SECONDS_NS: Final = tuple(round(it * SECOND_NS) for it in _SECONDS)

CHECKPOINT_TIME: Final = Histogram(
    "trading_checkpoint_seconds", "Time from a checkpoint's take to its commit", ["stage"], buckets=_SECONDS
)
CHECKPOINT_KEYS: Final = Counter("trading_checkpoint_keys", "Keys written to the changelog", ["stage"])
CHECKPOINTED_AT: Final = Gauge(
    "trading_checkpoint_timestamp_seconds", "When the last checkpoint was committed", ["stage", "partition"]
)


STORED_AT: Final = Gauge(
    "trading_store_timestamp_seconds",
    "When the last whole copy to the local stores was begun",
    ["stage"],
)


class _Distribution:
    """Counts by bucket, and their sum; the last bucket is everything above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0

    def add(self, value: int) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def metric(self, name: str, help_: str, stage: str, unit: int = 1) -> Metric:
        family = HistogramMetricFamily(name, help_, labels=["stage"])
        names = [*(str(bound / unit) for bound in self.bounds), "+Inf"]
        family.add_metric([stage], list(zip(names, accumulate(self.counts), strict=True)), self.total / unit)
        return family


class StageMetrics:
    """One stage's numbers; ``on_batch`` is on the latency path."""

    def __init__(self, stage: str) -> None:
        """From here on Prometheus is told of the stage; a process has one of each."""
        self.stage = stage
        self.batches = _Distribution(_RECORDS)
        self.seconds, self.latency = _Distribution(_SECONDS_NS), _Distribution(_SECONDS_NS)
        self.folds: dict[int, tuple[int, int, int]] = {}  # partition -> next offset, items, repeats
        _STAGES[stage] = self

    def on_batch(self, batch: "Batch", fold: "Fold", took_ns: int) -> None:
        """A batch has been folded and its outputs handed over."""
        self.batches.add(len(batch.records))
        self.seconds.add(took_ns)
        self.latency.add(max(0, time.time_ns() - fold.now_ns))
        self.folds[batch.partition] = (fold.next_offset, fold.items_applied, fold.repeats_dropped)

    def on_checkpoint(self, partition: int, keys: int, took_ns: int) -> None:
        """A checkpoint has been committed."""
        CHECKPOINT_TIME.labels(self.stage).observe(took_ns / SECOND_NS)
        CHECKPOINT_KEYS.labels(self.stage).inc(keys)
        CHECKPOINTED_AT.labels(self.stage, partition).set_to_current_time()

    def on_store(self, begun_s: float) -> None:
        """The local stores have all that had been committed by then (UTC, s)."""
        STORED_AT.labels(self.stage).set(begun_s)

    def metrics(self) -> Iterator[Metric]:
        """All of it, as of now."""
        stage, folds = self.stage, dict(self.folds)
        yield self.batches.metric("trading_batch_records", "Records a fetched batch", stage)
        help_ = "Time to fold a batch and hand over its outputs"
        yield self.seconds.metric("trading_stage_seconds", help_, stage, SECOND_NS)
        help_ = "From the edge's stamp on the newest item of a batch to its being applied"
        yield self.latency.metric("trading_latency_seconds", help_, stage, SECOND_NS)
        totals = {
            "trading_records": ("Inbox records fetched", self.batches.total),
            "trading_items": ("Commands and events applied", sum(items for _, items, _ in folds.values())),
            "trading_repeats_dropped": (
                "Records dropped as repeats of their origin",
                sum(repeats for _, _, repeats in folds.values()),
            ),
        }
        for name, (help_, total) in totals.items():
            counter = CounterMetricFamily(name, help_, labels=["stage"])
            counter.add_metric([stage], total)
            yield counter
        offsets = GaugeMetricFamily(
            "trading_inbox_next_offset", "Inbox offset to be applied next", labels=["stage", "partition"]
        )
        for partition, (offset, _, _) in sorted(folds.items()):
            offsets.add_metric([stage, str(partition)], offset)
        yield offsets


class _Stages(Collector):
    """The stages of this process, asked when Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        """One family for each metric, with all stages in it."""
        families: dict[str, Metric] = {}
        for stage in list(_STAGES.values()):
            for metric in stage.metrics():
                known = families.setdefault(metric.name, metric)
                if known is not metric:
                    known.samples.extend(metric.samples)
        yield from families.values()


_STAGES: Final[dict[str, StageMetrics]] = {}
REGISTRY.register(_Stages())
