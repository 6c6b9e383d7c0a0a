"""Views of the worker itself: its stages and partitions, whether it is ready, its metrics."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agents.stage.fold import Fold
from agents.stage.partitions import NotOwned, Partitions
from connectors.views.reference import moment

_PLACE: Final = ("stage", "partition")
_CHECKPOINT: Final = "trading_checkpoint_timestamp_seconds"


class Hosted(NamedTuple):
    """A stage of this process; ``partitions`` is None for the edge, which keeps no state.

    ``missing`` says what the stage still waits for, None when it has recovered all that it was assigned.
    """

    stage: str
    missing: Callable[[], str | None]
    partitions: Partitions | None = None


class Progress(NamedTuple):
    """How far a partition is."""

    next_offset: int
    behind_checkpoint: int
    repeats_dropped: int
    items_applied: int
    rules_version: int
    now_ns: int
    tally: Mapping[type | str, int]


class Standing(NamedTuple):
    """A stage of this worker, its live partitions, and where their inboxes end as far as that is known."""

    hosted: Hosted
    progress: Mapping[int, Progress]
    ends: Mapping[int, int]


def read_progress(fold: Fold) -> Progress:
    """Reads a fold that stands still."""
    return Progress(
        fold.next_offset,
        fold.behind_checkpoint,
        fold.repeats_dropped,
        fold.items_applied,
        fold.rules_version,
        fold.now_ns,
        dict(fold.tally),
    )


def progress_of(partitions: Partitions) -> dict[int, Progress]:
    """The progress of every live partition; waits for the fold, so call it off the event loop."""
    progress = {}
    for partition in sorted(partitions.owned):
        try:
            progress[partition] = partitions.look(partition, read_progress)
        except NotOwned:  # given back since
            continue
    return progress


class Tallies(Collector):
    """What Prometheus is told of partitions at the moment it asks: only of those that are here."""

    def __init__(self, standing: Iterable[Standing]) -> None:
        """Takes every stage with its partitions."""
        self._standing = list(standing)

    def collect(self) -> Iterable[Metric]:
        """What was said by type (OrderAccepted, Trade, ...), refusals by reason, and the lag."""
        said = CounterMetricFamily("trading_said", "Items said, by type", labels=[*_PLACE, "type"])
        refused = CounterMetricFamily(
            "trading_refused", "Refusals said, by reason", labels=[*_PLACE, "reason"]
        )
        lag = GaugeMetricFamily("trading_inbox_lag", "Inbox records not applied yet", labels=_PLACE)
        for hosted, progress, ends in self._standing:
            for partition, it in progress.items():
                place = [hosted.stage, str(partition)]
                if partition in ends:
                    lag.add_metric(place, _lag(it, ends[partition]))
                for what, count in it.tally.items():
                    if isinstance(what, str):
                        refused.add_metric([*place, what], count)
                    else:
                        said.add_metric([*place, what.__name__], count)
        return said, refused, lag


def missing(hosted: list[Hosted]) -> dict[str, str]:
    """What each stage that is not ready waits for."""
    return {it.stage: why for it in hosted if (why := it.missing()) is not None}


def shape_stage(standing: Standing) -> dict[str, Any]:
    """A stage of this worker, with its partitions."""
    hosted, progress, ends = standing
    why = hosted.missing()
    return {
        "stage": hosted.stage,
        "is_ready": why is None,
        "missing": why,
        "partitions": [
            {
                "partition": partition,
                "next_offset": it.next_offset,
                "end_offset": ends.get(partition),
                "lag": _lag(it, ends[partition]) if partition in ends else None,
                "behind_checkpoint": it.behind_checkpoint,
                "checkpoint_age_s": _checkpoint_age_s(hosted.stage, partition),
                "items_applied": it.items_applied,
                "repeats_dropped": it.repeats_dropped,
                "rules_version": it.rules_version,
                "engine_time": moment(it.now_ns),
                "engine_time_ns": it.now_ns,
            }
            for partition, it in progress.items()
        ],
    }


def _lag(progress: Progress, end: int) -> int:
    return max(end - progress.next_offset, 0)


def _checkpoint_age_s(stage: str, partition: int) -> float | None:
    """Since this worker's last checkpoint of the partition; None before the first."""
    labels = {"stage": stage, "partition": str(partition)}
    written_s = REGISTRY.get_sample_value(_CHECKPOINT, labels)
    return None if written_s is None else round(max(time.time() - written_s, 0.0), 3)
