"""`trading archive compact`: few files in the place of a closed day's many."""

import json
from datetime import UTC, datetime

import click

from infra.archive.bucket import Bucket
from infra.archive.catalogue import catalogue, load
from infra.archive.compact import Compacted, closed_days, compact, tasks
from infra.archive.compaction_chore import said
from infra.archive.holdings import day_of
from infra.archive.table import FOLDER
from infra.errors import OperatorError
from infra.settings import Settings


@click.command("compact")
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="Only this day, UTC; all that are over unless told."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list of what was done.")
def command(*, day: datetime | None, as_json: bool) -> None:
    """Make few files of a closed day's many; the worker `archive` does so by itself.

    What is written is read back, and its count and hash compared, before one commit puts it in the place of the
    others. Nothing is deleted: earlier snapshots keep the files that they name.

    \b
    Example:
      trading archive compact --day 2026-11-24
    """  # noqa: D301
    settings = Settings.load()
    bucket = Bucket.of(settings)
    done: list[Compacted] = []
    with catalogue(settings) as catalog, bucket.errors(FOLDER):
        for task in tasks(bucket, load(catalog), _days(day)):
            compacted = compact(catalog, bucket, task)
            if compacted is None:
                continue
            done.append(compacted)
            if not as_json:
                click.echo(said(compacted))
    if as_json:
        click.echo(json.dumps([it._asdict() for it in done]))
    elif not done:
        click.echo("nothing to compact")


def _days(day: datetime | None) -> range:
    closed = closed_days(datetime.now(UTC))
    if day is None:
        return closed
    number = day_of(day.date())
    if number not in closed:
        raise OperatorError(f"{day.date()} is not over yet, by an hour: its files are still coming")
    return range(number, number + 1)
