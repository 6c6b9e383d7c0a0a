"""`trading db`: the engine's tables in Postgres."""

import json
from typing import Any

import click

from connectors.sql.migrate import Standing, maintain, migrate, status
from infra.database import with_database
from infra.settings import Settings


@click.group()
def db() -> None:
    """Make and keep the tables in Postgres (TRADING_POSTGRES_URL).

    \b
    Example:
      trading db migrate
    """  # noqa: D301


@db.command("migrate")
@click.option("--json", "as_json", is_flag=True, help="Print the names that were applied as a JSON list.")
def migrate_command(*, as_json: bool) -> None:
    """Apply the migrations that the database does not have yet.

    \b
    Example:
      trading db migrate
    """  # noqa: D301
    settings = Settings.load()
    writers = (settings.sink_postgres_user,)
    applied = with_database(settings, lambda connection: migrate(connection, writers=writers))
    names = [f"{it.number:04}_{it.name}" for it in applied]
    click.echo(json.dumps(names) if as_json else f"applied: {', '.join(names) or 'nothing, all was there'}")


@db.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status_command(context: click.Context, *, as_json: bool) -> None:
    """Show the migrations; end with 1 if any is still to be applied.

    \b
    Example:
      trading db status --json
    """  # noqa: D301
    standing = with_database(Settings.load(), status)
    click.echo(json.dumps(_shape(standing)) if as_json else "\n".join(_lines(standing)))
    context.exit(1 if standing.pending else 0)


@db.command("maintain")
def maintain_command() -> None:
    """Make the partitions of the days to come, and drop those that are not to be kept: run it daily.

    How long a series is kept stands in the table trading.series.

    \b
    Example:
      trading db maintain
    """  # noqa: D301
    with_database(Settings.load(), maintain)


def _shape(standing: Standing) -> dict[str, Any]:
    return {
        "variant": standing.variant,
        "applied": [f"{it.number:04}_{it.name}" for it in standing.applied],
        "pending": [f"{it.number:04}_{it.name}" for it in standing.pending],
    }


def _lines(standing: Standing) -> list[str]:
    rows = [(it, "applied") for it in standing.applied] + [(it, "to be applied") for it in standing.pending]
    return [
        f"time series: {standing.variant}",
        *(f"{it.number:04}_{it.name}: {state}" for it, state in rows),
    ]
