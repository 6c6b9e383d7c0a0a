"""What the sinks keep of the session, each part compared with what the engine said: rows, archive, seals, a report."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from infra.archive.bucket import Bucket
from infra.archive.log import ArchiveLog
from infra.archive.proof import verify_archive
from infra.auditor.log import KafkaLog, Log, LogRecord, Place, Span
from infra.auditor.run import run_sinks
from infra.caught_up import archive_ends, are_archived, are_stored, step_until
from infra.database import with_database
from infra.demo.accounts import LOTS_PER_BTC, TICKS_PER_USD
from infra.demo.report import Check, Proof, Slice
from infra.engine import Engine
from infra.reports.coverage import NOT_OVER, NOT_PASSED, UNSEALED
from infra.reports.day import day_of
from infra.reports.run import Order, from_log
from infra.sealing import keys
from infra.settings import Settings
from schemas.events import Trade

SLICES: Final = """
    SELECT date_bin('10 seconds', at, timestamptz '2000-01-01') AS since, count(*) AS trades, sum(quantity) AS volume,
        sum(notional) AS notional, sum(notional) / sum(quantity) AS average
    FROM trading.trades_decimal GROUP BY since ORDER BY since
"""
# What must be said of a day that still runs: its clock, its checkpoints and its seals have not passed its end.
STILL_RUNS: Final = (NOT_OVER, NOT_PASSED, UNSEALED)


def prove(
    engine: Engine,
    trades: Sequence[Trade],
    timeout_s: float,
    report: Callable[[str], object],
    other_core: Executor,
) -> Proof:
    """Wait until the sinks have all of the session, and compare; half of it on another core.

    ``report`` gets a line for each phase.

    Raises:
        OperatorError: a server does not answer, or the sinks did not catch up.

    """
    settings, sinks = engine.settings, engine.sinks
    assert sinks is not None, "the demo's engine has sinks"
    begun_s = time.monotonic()
    with closing(KafkaLog(settings.kafka())) as log:
        step_until(engine, "the sinks' servers", lambda: sinks.all_done, timeout_s)
        step_until(engine, "the rows", lambda: are_stored(settings, log), timeout_s)
    ends = archive_ends(settings)
    step_until(engine, "the archive", lambda: are_archived(settings, ends), timeout_s)
    took_s = time.monotonic() - begun_s
    report("comparing rows with topics, the archive with Kafka and with its seals")
    of_archive = other_core.submit(_archive, settings, ends, trades)
    slices = with_database(settings, _slices)
    of_tables = sums_agree(slices, trades), _rows(settings)
    return Proof(
        took_s=took_s,
        slices=slices,
        checks=(*of_tables, *of_archive.result()),
        reports=str(_reports(settings)),
    )


def sums_agree(slices: Sequence[Slice], trades: Sequence[Trade]) -> Check:
    """Whether SQL counts, adds and multiplies to what the engine's trades do."""
    told = (
        len(trades),
        Decimal(sum(it.quantity_lots for it in trades)) / LOTS_PER_BTC,
        Decimal(sum(it.price_ticks * it.quantity_lots for it in trades)) / (LOTS_PER_BTC * TICKS_PER_USD),
    )
    found = (
        sum(it.trades for it in slices),
        sum((it.volume for it in slices), Decimal()),
        sum((it.notional for it in slices), Decimal()),
    )
    return Check(
        "SQL over the trades gives the engine's count, volume and turnover",
        found == told,
        f"{found[0]} trades, {found[1]} BTC, {found[2]} USD",
    )


def compare(ours: Log, kafka: Log, places: Mapping[Place, Span]) -> Check:
    """Whether a log has what Kafka has in these spans, record for record: offset, time and bytes."""
    count = differing = 0
    for place, span in places.items():
        pairs = zip_longest(map(_content, kafka.read(place, span)), map(_content, ours.read(place, span)))
        for told, kept in pairs:
            count += 1
            differing += told != kept
    return Check(
        "the archive has every record of every topic, byte for byte",
        not differing,
        f"{count:,} records of {len({topic for topic, _ in places})} topics"
        + (f", {differing:,} differ" if differing else ""),
    )


def _content(record: LogRecord) -> tuple[int, int, bytes | None]:
    return record.offset, record.timestamp_ms, record.value


async def _slices(connection: Any) -> list[Slice]:
    return [
        Slice(
            since=f"{row['since']:%H:%M:%S}",
            trades=row["trades"],
            volume=row["volume"],
            notional=row["notional"],
            average=row["average"],
        )
        for row in await connection.fetch(SLICES)
    ]


def _rows(settings: Settings) -> Check:
    """Every row against its topic, as `trading check --sinks` does."""
    tallies = list(run_sinks(settings))
    rows = sum(it.count for it in tallies)
    broken = [example for it in tallies for example in it.examples]
    return Check(
        "every row in Postgres is what its topic says, and none is missing",
        not broken,
        "; ".join((f"{rows:,} in {len(tallies) - 1} tables", *broken[:3])),
    )


def _report(settings: Settings, log: Log, trades: Sequence[Trade]) -> Check:
    """The day's trade blotter, which cannot be complete before the day is over, and must say so and nothing else."""
    day = day_of(max(it.at_ns for it in trades))
    count = sum(day_of(it.at_ns) == day for it in trades)
    asked = Order("trades", day, _reports(settings), ".csv")
    manifest = from_log(asked, settings, log, "archive")
    others = [it for it in manifest["reasons"] if not it.startswith(STILL_RUNS)]
    return Check(
        "the day's trade report, from the archive, has every trade; its manifest lacks the day's end alone",
        manifest["count"] == count and not others and not manifest["complete"],
        "; ".join((f"{manifest['count']} rows, sha256 {manifest['sha256'][:16]}...", *others)),
    )


def _reports(settings: Settings) -> Path:
    return settings.data_folder / "reports"


def _archive(settings: Settings, ends: Mapping[Place, int], trades: Sequence[Trade]) -> tuple[Check, ...]:
    """The archive against Kafka; then, from the bucket alone, against its seals, and a report."""
    bucket = Bucket.of(settings)
    with closing(KafkaLog(settings.kafka())) as log:
        spans = {place: (log.bounds(place)[0], end) for place, end in ends.items()}
        alike = compare(ArchiveLog(bucket), log, spans)
    archive, found = verify_archive(bucket, keys.trusted(settings), settings)
    places = found.places.values()
    seals, records = sum(it.seals for it in places), sum(it.records_checked for it in places)
    unsealed = sum(it.unsealed_records for it in places)
    sealed = Check(
        "the archive is as it was sealed",
        seals > 0 and not found.count,
        "; ".join(
            (
                f"{records:,} records under {seals} seals, the last {unsealed:,} have none yet",
                *(it.line() for it in found.findings[:3]),
            )
        ),
    )
    return alike, sealed, _report(settings, archive, trades)
