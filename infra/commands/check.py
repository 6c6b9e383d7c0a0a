"""`trading check`: the independent audit of an engine's topics, tables and views."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from infra.auditor.report import Report
from infra.commands.archived import archive_option, settings_at
from infra.commands.verification import public_key_option
from infra.settings import Settings


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--timeout", "timeout_s", default=30.0, show_default=True, help="Longest wait for quiet, in seconds."
)
@click.option(
    "--no-refold", is_flag=True, help="Leave out the folds of the inboxes by the stages' own rules."
)
@click.option(
    "--from", "start", type=click.Path(path_type=Path), help="Go on from this snapshot of an earlier check."
)
@click.option(
    "--save", type=click.Path(path_type=Path), help="Write a snapshot for later checks, if all is well."
)
@click.option(
    "--state",
    "day",
    metavar="DAY",
    help="Let the folds go on from the archived state of this day; where inboxes have no start.",
)
@archive_option
@public_key_option
@click.option("--views", "views_url", help="Compare with the views at this address too.")
@click.option(
    "--sinks", "with_sinks", is_flag=True, help="Compare the rows in Postgres with the topics, and no more."
)
@click.pass_context
def check(
    context: click.Context,
    *,
    as_json: bool,
    timeout_s: float,
    no_refold: bool,
    start: Path | None,
    save: Path | None,
    day: str | None,
    archive_url: str | None,
    files: tuple[Path, ...],
    views_url: str | None,
    with_sinks: bool,
) -> None:
    """Audit the topics: conservation, pairs, chains, tables, views; or the sinks.

    It waits until the engine is quiet but for its clock, and then reads every topic from its start. It ends
    with 1 if anything is broken. With --sinks it names each row in Postgres that is missing, too much, or not
    what its topic says; it waits for sinks that are behind.

    \b
    Example:
      trading check --json --views http://127.0.0.1:8600
    """  # noqa: D301
    from infra.auditor.run import run, run_sinks

    settings = settings_at(archive_url)
    if with_sinks:
        _show(context, run_sinks(settings, timeout_s), as_json=as_json)
        return
    with _bar(Console(stderr=True)) as progress:
        report = run(
            settings,
            timeout_s=timeout_s,
            with_folds=not no_refold,
            start=start,
            save=save,
            views_url=views_url,
            fold_from=None if day is None else _state_of(settings, day, files),
            progress=progress,
        )
    _show(context, report, as_json=as_json)


def _state_of(settings: Settings, day: str, files: tuple[Path, ...]) -> Callable[[str], Any]:
    """The day's state in the archive, once its signature has been checked."""
    from infra.archive.bucket import Bucket
    from infra.archive.state import folds_from, read_state
    from infra.sealing.keys import trusted

    return partial(folds_from, read_state(Bucket.of(settings), day, trusted(settings, files)))


def _show(context: click.Context, report: Report, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report.as_json()))
    else:
        for line in report.lines():
            click.echo(line)
        click.echo(f"{report.breaches} breaches" if report.breaches else "Every check passed.")
    context.exit(1 if report.breaches else 0)


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar on a terminal: the function takes (what is done, how many, of how many)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("waiting for quiet", total=None)

        def show(what: str, done: int, total: int) -> None:
            progress.update(task, description=what, completed=done, total=total)

        yield show
