"""`trading archive list` and `export`: what is in the archive, and its records for others to read."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, TextIO

import click
from rich.console import Console
from rich.table import Table

from infra.archive.bucket import Bucket
from infra.archive.export import Selection, decoded, raw, selected, write_parquet
from infra.archive.holdings import day_of, holdings
from infra.archive.log import ArchiveLog
from infra.auditor.log import Place
from infra.commands.archived import archive_option, settings_at
from infra.errors import OperatorError

LINES: Final = {"decoded": decoded, "raw": raw}
_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_topics = click.option(
    "--topic", "topics", multiple=True, metavar="TOPIC", help="Only this topic; may be repeated."
)
_day = click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="Only this day, UTC, by the records' time."
)


@click.command("list")
@archive_option
@_topics
@_day
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def show_list(
    *, archive_url: str | None, topics: tuple[str, ...], day: datetime | None, as_json: bool
) -> None:
    """List what is archived: a line for each day of a topic-partition.

    It is told by the table's own files, so it is quick; records that were archived twice count twice.

    \b
    Example:
      trading archive list --day 2026-11-25 --topic trades
    """  # noqa: D301
    log = _open(archive_url, *_span(day, None, None))
    _places(log, topics)
    rows = list(holdings(log, topics))
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows]))
        return
    table = Table("day", "topic", "partition", "first", "last", "records", "files", "MB")
    for *names, first, last, records, files, size in rows:
        table.add_row(
            *map(str, names), str(first), str(last), f"{records:,}", str(files), f"{size / 1e6:,.2f}"
        )
    Console().print(table)
    click.echo(f"{sum(it.records for it in rows):,} records, {sum(it.size for it in rows) / 1e6:,.1f} MB")


@click.command()
@archive_option
@_topics
@click.option("--partition", type=click.IntRange(min=0), help="Only this partition.")
@_day
@click.option("--since", type=click.DateTime(), help="Only records from this time on, UTC.")
@click.option("--until", type=click.DateTime(), help="Only records before this time, UTC.")
@click.option(
    "--form",
    type=click.Choice([*LINES, "parquet"]),
    default="decoded",
    show_default=True,
    help="NDJSON of what records say, or of their bytes in base64; or Parquet of their bytes.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write to this file, which must not exist; Parquet needs one. Standard output unless told.",
)
def export(
    *,
    archive_url: str | None,
    topics: tuple[str, ...],
    partition: int | None,
    day: datetime | None,
    since: datetime | None,
    until: datetime | None,
    form: str,
    output: Path | None,
) -> None:
    """Write records of the archive, each once, topic by topic and partition by partition in their order.

    A decoded record that is none of ours (another program's, a stranger's) comes as its bytes, and says why.

    \b
    Example:
      trading archive export --topic trades --day 2026-11-25 > trades.ndjson
      trading archive export --since 2026-11-25T09:00:00 --form parquet --output all.parquet
    """  # noqa: D301
    begin, end = _span(day, since, until)
    log = _open(archive_url, begin, end)
    places = [it for it in _places(log, topics) if partition in {None, it[1]}]
    records = selected(log, Selection(tuple(places), _ms(begin), _ms(end)))
    if form == "parquet":
        if output is None:
            raise OperatorError("Parquet goes to a file: name it by --output FILE")
        with _new(output):
            count = write_parquet(records, output)
    else:
        with _lines(output) as file:
            count = 0
            for count, (place, record) in enumerate(records, 1):  # noqa: B007 - how many they were
                file.write(LINES[form](place, record) + "\n")
    click.echo(f"{count:,} records", err=True)


def _open(archive_url: str | None, begin: datetime, end: datetime) -> ArchiveLog:
    days = range(day_of(begin.date()), day_of((end - timedelta(microseconds=1)).date()) + 1)
    return ArchiveLog(Bucket.of(settings_at(archive_url)), days=days)


def _span(day: date | None, since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """From one time to before another."""
    if day is not None and (since or until):
        raise OperatorError("name a day, or --since and --until")
    if day is not None:
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return begin, begin + timedelta(days=1)
    begin = _FIRST if since is None else since.replace(tzinfo=UTC)
    end = _LAST if until is None else until.replace(tzinfo=UTC)
    if begin >= end:
        raise OperatorError(f"--since {begin:%FT%T} is not before --until {end:%FT%T}")
    return begin, end


def _places(log: ArchiveLog, topics: tuple[str, ...]) -> list[Place]:
    there = log.topics()
    if unknown := set(topics) - set(there):
        known = ", ".join(sorted(there)) or "nothing"
        raise OperatorError(
            f"{', '.join(sorted(unknown))}: no records of it are in the archive then; there is {known}"
        )
    return [
        (topic, it)
        for topic, count in sorted(there.items())
        if not topics or topic in topics
        for it in range(count)
    ]


def _ms(at: datetime) -> int:
    return (at - _FIRST) // timedelta(milliseconds=1)


@contextmanager
def _lines(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with _new(output), output.open("x") as file:
        yield file


@contextmanager
def _new(output: Path) -> Iterator[None]:
    """A file that is not there yet, nor afterwards if half of it only could be written."""
    if output.exists():
        raise OperatorError(f"{output} exists: name another file, or move it away")
    try:
        yield
    except BaseException:
        output.unlink(missing_ok=True)
        raise
