"""What a stage tells Prometheus: counted by batch, since a metric a record would cost more than its rule."""

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter, Gauge, Histogram

if TYPE_CHECKING:
    from agents.stage.fetch import Batch
    from agents.stage.fold import Fold

_BATCH_BUCKETS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)
_SECONDS_BUCKETS: Final = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1, 2.5)
NS: Final = 1e-9

RECORDS: Final = Counter("trading_records", "Inbox records applied", ["stage"])
ITEMS: Final = Counter("trading_items", "Commands and events applied", ["stage"])
REPEATS: Final = Counter("trading_repeats_dropped", "Records dropped as repeats of their origin", ["stage"])
BATCH: Final = Histogram(
    "trading_batch_records", "Records a fetched batch", ["stage"], buckets=_BATCH_BUCKETS
)
STAGE_TIME: Final = Histogram(
    "trading_stage_seconds",
    "Time to fold a batch and hand over its outputs",
    ["stage"],
    buckets=_SECONDS_BUCKETS,
)
CHECKPOINT_TIME: Final = Histogram(
    "trading_checkpoint_seconds",
    "Time from a checkpoint's take to its commit",
    ["stage"],
    buckets=_SECONDS_BUCKETS,
)
CHECKPOINT_KEYS: Final = Counter("trading_checkpoint_keys", "Keys written to the changelog", ["stage"])
CHECKPOINTED_AT: Final = Gauge(
    "trading_checkpoint_timestamp_seconds", "When the last checkpoint was committed", ["stage", "partition"]
)
NEXT_OFFSET: Final = Gauge(
    "trading_inbox_next_offset", "Inbox offset to be applied next", ["stage", "partition"]
)
LATENCY: Final = Histogram(
    "trading_latency_seconds",
    "From the edge's stamp on the newest item of a batch to its being applied",
    ["stage"],
    buckets=_SECONDS_BUCKETS,
)


class StageMetrics:
    """One stage's children of the metrics."""

    def __init__(self, stage: str) -> None:
        """Registers nothing new: the metrics are the process's."""
        self._stage = stage
        self._records, self._items = RECORDS.labels(stage), ITEMS.labels(stage)
        self._repeats, self._batch = REPEATS.labels(stage), BATCH.labels(stage)
        self._time, self._latency = STAGE_TIME.labels(stage), LATENCY.labels(stage)
        self._checkpoint, self._keys = CHECKPOINT_TIME.labels(stage), CHECKPOINT_KEYS.labels(stage)
        self._counted: dict[int, tuple[int, int]] = {}

    def on_batch(self, batch: "Batch", fold: "Fold", took_ns: int) -> None:
        """A batch has been folded and its outputs handed over."""
        items, repeats = self._counted.get(batch.partition, (0, 0))
        self._counted[batch.partition] = (fold.items_applied, fold.repeats_dropped)
        self._records.inc(len(batch.records))
        self._batch.observe(len(batch.records))
        self._items.inc(max(0, fold.items_applied - items))
        self._repeats.inc(max(0, fold.repeats_dropped - repeats))
        self._time.observe(took_ns * NS)
        self._latency.observe(max(0.0, (time.time_ns() - fold.now_ns) * NS))
        NEXT_OFFSET.labels(self._stage, batch.partition).set(fold.next_offset)

    def on_checkpoint(self, partition: int, keys: int, took_ns: int) -> None:
        """A checkpoint has been committed."""
        self._checkpoint.observe(took_ns * NS)
        self._keys.inc(keys)
        CHECKPOINTED_AT.labels(self._stage, partition).set_to_current_time()
