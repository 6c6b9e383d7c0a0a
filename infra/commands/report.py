"""`trading report`: the reports of a day, each as a file with a manifest."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click

from infra.auditor.log import Log
from infra.cluster import engine_log
from infra.commands.archived import archive_option, settings_at
from infra.commands.audit import SOURCES
from infra.errors import OperatorError
from infra.reports.day import Day
from infra.settings import Settings

POSTGRES: Final = "postgres"
NAMES: Final = ("orders", "trades", "positions", "obligations")


@click.command()
@click.argument("name", type=click.Choice(NAMES), metavar=f"[{'|'.join(NAMES)}]")
@click.option("--day", required=True, metavar="YYYY-MM-DD", help="Which day, from 00:00 to 24:00 UTC.")
@click.option(
    "--from",
    "source",
    type=click.Choice([*SOURCES, POSTGRES]),
    default="kafka",
    show_default=True,
    help="What to read.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder that the files go to.",
)
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True)
@archive_option
@click.option("--json", "as_json", is_flag=True, help="Print the manifest.")
@click.pass_context
def report(
    context: click.Context,
    *,
    name: str,
    day: str,
    source: str,
    out: Path,
    form: str,
    archive_url: str | None,
    as_json: bool,
) -> None:
    """Write the report of a day: order record keeping (RTS 24), trades, positions and profit, or obligations.

    Beside the file stands its manifest: count, first and last sequence, sha256, what no report of this engine knows,
    and, where the report is not complete, why. An incomplete report is written too; the exit code is then 1.

    \b
    Example:
      trading report orders --day 2026-11-25 --from archive --out reports
      trading report positions --day 2026-11-25 --out reports --format json --json
    """  # noqa: D301
    from infra.reports.run import Order, from_log, from_postgres

    settings = settings_at(archive_url)
    asked = Order(name, Day.parse(day), out, f".{form}")
    with ExitStack() as stack:
        if source == POSTGRES:
            manifest = from_postgres(asked, settings, _log_if_there(settings, stack))
        else:
            manifest = from_log(asked, settings, stack.enter_context(SOURCES[source](settings)), source)
    if as_json:
        click.echo(json.dumps(manifest, ensure_ascii=False))
    else:
        _print(manifest, out)
    context.exit(0 if manifest["complete"] else 1)


def _log_if_there(settings: Settings, stack: ExitStack) -> Log | None:
    """The engine's topics; a report of the tables can be made without them, but not be called complete."""
    try:
        return stack.enter_context(engine_log(settings))
    except OperatorError as error:
        click.echo(str(error), err=True)
        return None


def _print(manifest: dict[str, Any], out: Path) -> None:
    click.echo(f"{out / manifest['file']}: {manifest['count']:,} rows, sha256 {manifest['sha256']}")
    for it in manifest["partly_missing"]:
        click.echo(f"not known in {it['rows']} rows: {it['field']}: {it['why']}")
    if missing := manifest["missing"]:
        click.echo(f"{len(missing)} fields are not known to the engine, see the manifest")
    for reason in manifest["reasons"]:
        click.echo(f"incomplete: {reason}")
    if manifest["complete"]:
        click.echo("complete")
