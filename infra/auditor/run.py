"""One audit of an engine on Kafka, as the command and the chaos tests run it."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from infra.auditor.agreement import Entries
from infra.auditor.audit import Audit, skips_by_stage
from infra.auditor.cut import StagePlace, find_cut
from infra.auditor.log import AuditError, KafkaLog
from infra.auditor.refold import refold_all
from infra.auditor.report import Report
from infra.auditor.sinks import compare_sinks
from infra.auditor.snapshot import Snapshot
from infra.auditor.views import check_views
from infra.settings import Settings
from infra.topics_admin import existing, wanted
from schemas.topics import PartitionCounts

Show = Callable[[str, int, int], object]
FoldStart = Callable[[str], Mapping[StagePlace, Entries]]
"""From the name of the restore that the engine came from (none: ""), each partition's committed rows at some time."""


def run(
    settings: Settings,
    *,
    timeout_s: float = 30.0,
    with_folds: bool = True,
    start: Path | None = None,
    save: Path | None = None,
    views_url: str | None = None,
    fold_from: FoldStart | None = None,
    progress: Show = lambda *_: None,
) -> Report:
    """Audits the engine that the settings name; AuditError where that cannot be done.

    ``fold_from`` gives the states that folds go on from, where the inboxes have lost their start.
    """
    counts = PartitionCounts(settings.account_partitions, settings.book_partitions)
    snapshot = None if start is None else Snapshot.load(start)
    _check_topics(settings)
    report, log = Report(), KafkaLog(settings.kafka())
    try:
        cut = find_cut(log, settings.env, counts, timeout_s)
        audit = Audit(log, cut, report, snapshot)
        audit.read(lambda count: progress("reading the topics", count, audit.total))
        if with_folds:
            refold_all(
                log,
                cut,
                counts,
                audit.lanes,
                report,
                skips=skips_by_stage(log),
                start=_fold_start(log, snapshot, fold_from),
                progress=lambda name: progress(f"folding {name}", 0, 0),
            )
        if views_url is not None:
            reference, token = audit.agreement.reference, settings.views_token
            secret = None if token is None else token.get_secret_value()
            check_views(views_url, secret, reference, audit.ledger, audit.orders, report)
        if save is not None and not report.breaches:
            Snapshot.take(log, cut, audit.resume).save(save)
    finally:
        log.close()
    return report


def run_sinks(settings: Settings, timeout_s: float = 30.0) -> Report:
    """Compares the rows in Postgres with the topics; AuditError where that cannot be done."""
    _check_topics(settings)
    report = Report()
    asyncio.run(compare_sinks(settings, report, timeout_s))
    return report


def _fold_start(
    log: KafkaLog, snapshot: Snapshot | None, fold_from: FoldStart | None
) -> Mapping[StagePlace, Entries]:
    if fold_from is not None:
        return fold_from("" if log.restoration is None else log.restoration.id)
    return {} if snapshot is None else snapshot.entries()


def _check_topics(settings: Settings) -> None:
    there = existing(settings)
    for topic in wanted(settings):
        if there.get(topic.name) != topic.partitions:
            raise AuditError(
                f"topic {topic.name} has {there.get(topic.name, 0)} partitions and the settings say"
                f" {topic.partitions}: name the engine by its own settings (TRADING_CONFIG)"
            )
