"""Views of the worker itself: its stages and partitions, whether it is ready, its metrics."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from faust.types import TP
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agents.audit import Sealer
from agents.stage.edge import Edge
from agents.stage.fold import Fold
from agents.stage.partitions import Partitions
from connectors.views.reference import moment
from schemas.topics import inbox_of
from tables.checkpointed.rows import NotOwned

_PLACE: Final = ("stage", "partition")
_CHECKPOINT: Final = "trading_checkpoint_timestamp_seconds"


class Hosted(NamedTuple):
    """A stage of this process, with its ``partitions`` and ``tables``; or the ``edge``, or the ``sealer``.

    ``missing`` says what the stage still waits for, None when it has recovered all that it was assigned.
    """

    stage: str
    missing: Callable[[], str | None]
    partitions: Partitions | None = None
    edge: Edge | None = None
    tables: Mapping[str, Mapping[Any, Any]] = {}
    sealer: Sealer | None = None


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
    """A stage of this worker; the next offset and, as far as it is known, the end of all that it reads here.

    ``progress`` is that of its live partitions, which the edge has not.
    """

    hosted: Hosted
    progress: Mapping[int, Progress]
    next_offsets: Mapping[TP, int]
    ends: Mapping[TP, int]

    def lag(self, place: TP) -> int | None:
        """How many records are not applied yet; None where the end is not known."""
        return max(self.ends[place] - self.next_offsets[place], 0) if place in self.ends else None


def next_offsets(hosted: Hosted, progress: Mapping[int, Progress]) -> dict[TP, int]:
    """Where each topic partition that a stage reads here goes on."""
    if hosted.edge is not None:
        return hosted.edge.next_offsets
    if hosted.sealer is not None:
        return hosted.sealer.next_offsets
    return {TP(inbox_of(hosted.stage), partition): it.next_offset for partition, it in progress.items()}


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
        labels = ["stage", "topic", "partition"]
        lag = GaugeMetricFamily("trading_inbox_lag", "Records not applied yet", labels=labels)
        edges = [it.hosted.edge.gate for it in self._standing if it.hosted.edge is not None]
        for standing in self._standing:
            stage = standing.hosted.stage
            for tp in standing.next_offsets:
                if (count := standing.lag(tp)) is not None:
                    lag.add_metric([stage, tp.topic, str(tp.partition)], count)
            for partition, it in standing.progress.items():
                place = [stage, str(partition)]
                for what, count in it.tally.items():
                    if isinstance(what, str):
                        refused.add_metric([*place, what], count)
                    else:
                        said.add_metric([*place, what.__name__], count)
        by_topic = ["topic", "reason"]
        malformed = CounterMetricFamily("trading_malformed", "Commands refused at the edge", labels=by_topic)
        letters = CounterMetricFamily("trading_dead_letters", "Dead letters", labels=by_topic)
        for edge in edges:
            for family, counts in (malformed, edge.refused), (letters, edge.dead_letters):
                for place_and_reason, count in dict(counts).items():
                    family.add_metric(place_and_reason, count)
        return said, refused, lag, malformed, letters


def missing(hosted: list[Hosted]) -> dict[str, str]:
    """What each stage that is not ready waits for."""
    return {it.stage: why for it in hosted if (why := it.missing()) is not None}


def shape_stage(standing: Standing) -> dict[str, Any]:
    """A stage of this worker, with its partitions; the edge with what it turned away."""
    hosted, progress, offsets, ends = standing
    why = hosted.missing()
    partitions = [
        {
            "topic": tp.topic,
            "partition": tp.partition,
            "next_offset": offset,
            "end_offset": ends.get(tp),
            "lag": standing.lag(tp),
        }
        | (_shape_progress(hosted.stage, tp.partition, progress[tp.partition]) if progress else {})
        for tp, offset in sorted(offsets.items())
    ]
    shaped = {"stage": hosted.stage, "is_ready": why is None, "missing": why, "partitions": partitions}
    if hosted.edge is None:
        return shaped
    gate = hosted.edge.gate
    return shaped | {"refused": _shape_counts(gate.refused), "dead_letters": _shape_counts(gate.dead_letters)}


def _shape_progress(stage: str, partition: int, it: Progress) -> dict[str, Any]:
    return {
        "behind_checkpoint": it.behind_checkpoint,
        "checkpoint_age_s": _checkpoint_age_s(stage, partition),
        "items_applied": it.items_applied,
        "repeats_dropped": it.repeats_dropped,
        "rules_version": it.rules_version,
        "engine_time": moment(it.now_ns),
        "engine_time_ns": it.now_ns,
    }


def _shape_counts(counts: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    rows = sorted(dict(counts).items())
    return [{"topic": topic, "reason": reason, "count": count} for (topic, reason), count in rows]


def _checkpoint_age_s(stage: str, partition: int) -> float | None:
    """Since this worker's last checkpoint of the partition; None before the first."""
    labels = {"stage": stage, "partition": str(partition)}
    written_s = REGISTRY.get_sample_value(_CHECKPOINT, labels)
    return None if written_s is None else round(max(time.time() - written_s, 0.0), 3)
