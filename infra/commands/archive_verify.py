"""`trading archive verify`: every seal against the archive, its gaps, and what Kafka still has."""

import json
import time
from pathlib import Path

import click
import msgspec
from rich.console import Console

from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.log import ArchiveLog
from infra.archive.overlap import Overlap, compare, find_gaps
from infra.archive.proof import sealed_places, verify_archive
from infra.cluster import engine_log
from infra.commands.archived import archive_option, settings_at
from infra.commands.verification import bar, behind_max_option, print_verification, public_key_option
from infra.errors import OperatorError
from infra.sealing import keys
from infra.sealing.findings import Verification
from infra.sealing.verify import Progress
from infra.settings import Settings


@click.command()
@archive_option
@public_key_option
@behind_max_option
@click.option(
    "--kafka/--no-kafka",
    "wants_kafka",
    default=None,
    help="Compare with what Kafka still has, or do not; if it answers, unless told.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def verify(
    context: click.Context,
    *,
    archive_url: str | None,
    files: tuple[Path, ...],
    behind_max_s: int,
    wants_kafka: bool | None,
    as_json: bool,
) -> None:
    """Prove that the archive holds what was sealed, has no gaps, and equals Kafka where both have records.

    The seals are checked as `trading audit verify --from archive` does. The exit code is 1 if anything was found.

    \b
    Example:
      trading archive verify --archive s3://bucket/engine --public-key seal.pub
    """  # noqa: D301
    settings = settings_at(archive_url)
    trusted = keys.trusted(settings, files)
    begun_s = time.monotonic()
    with bar(Console(stderr=True)) as progress:
        log, found = verify_archive(
            Bucket.of(settings), trusted, settings, behind_max_ms=behind_max_s * 1000, progress=progress
        )
        find_gaps(log, sealed_places(settings, log), found, progress)
        overlaps = _compared(settings, log, found, progress, wants_kafka)
    took_s = time.monotonic() - begun_s
    if as_json:
        compared = msgspec.to_builtins(overlaps)
        click.echo(json.dumps(found.as_json() | {"overlaps": compared, "seconds": round(took_s, 3)}))
    else:
        print_verification(found, took_s)
        for note in found.notes:
            click.echo(note)
        if overlaps:
            click.echo(
                f"{sum(it.records for it in overlaps):,} records are in Kafka still, and the same there."
            )
    context.exit(1 if found.count else 0)


def _compared(
    settings: Settings, log: ArchiveLog, found: Verification, progress: Progress, wants_kafka: bool | None
) -> list[Overlap]:
    """What Kafka still has; a note where nobody demands it and it does not answer."""
    if wants_kafka is False:
        return []
    try:
        with engine_log(settings) as kafka:
            return compare(log, kafka, found, progress)
    except OperatorError as error:
        if wants_kafka or isinstance(error, ArchiveError):
            raise
        found.notes.append(f"not compared with Kafka: {error}")
        return []
