"""`trading sinks`: the connectors that carry the engine's topics into databases."""

import json
from pathlib import Path

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from infra.cluster import engine_log
from infra.settings import Settings
from infra.sinks import connectors
from infra.sinks.connect import Connect, Life
from infra.sinks.skip import skip as skip_record
from infra.sinks.standing import Standing, in_words, standings


@click.group()
def sinks() -> None:
    """Apply the connectors, look at them, start them again, step over a record that one cannot store.

    They stop at such a record, and all behind it waits: a record that went astray would be a loss.

    \b
    Example:
      trading sinks status
    """  # noqa: D301


@sinks.command()
@click.option(
    "--from",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of connectors' files, NAME.json each; the engine's own unless told.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done with each as one JSON object.")
def apply(*, folder: Path | None, as_json: bool) -> None:
    """Let Connect have the connectors; idempotent.

    Their files name addresses and secrets by variables, which Connect's workers need in their environment:
    TRADING_SINK_REGISTRY_URL, TRADING_SINK_POSTGRES_URL, _USER and _PASSWORD, and the archive's (infra/README.md).
    The archive's connector is left out, or removed, where the settings want no archive.

    \b
    Example:
      TRADING_CONNECT_URL=http://connect1:8083 trading sinks apply
    """  # noqa: D301
    settings = Settings.load()
    if line := connectors.prepare(settings):
        click.echo(line, err=True)
    with Connect(settings.connect_url) as connect:
        done = connectors.apply(
            connect, connectors.templates(folder) if folder else connectors.wanted(settings)
        )
    if as_json:
        click.echo(json.dumps(done))
        return
    for name, what in done.items():
        click.echo(f"{name}: {what}")


@sinks.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, as_json: bool) -> None:
    """Show each connector: what it does, how many records it is behind, and where and why it stopped.

    Connect does not know at which record a task failed: that is found by taking the records again, one at a time, which
    takes some seconds and ends in the same rows. The exit code is 1 if a connector has stopped.

    \b
    Example:
      trading sinks status --json | jq '.connectors[] | select(.stopped)'
    """  # noqa: D301
    settings = Settings.load()
    with engine_log(settings, as_stored=True) as log, Connect(settings.connect_url) as connect:
        found = standings(connect, log)
    if as_json:
        click.echo(json.dumps({"connect": settings.connect_url, "connectors": msgspec.to_builtins(found)}))
    else:
        _print(found)
    if any(it.stopped for it in found):
        click.get_current_context().exit(1)


@sinks.command()
@click.argument("connector")
def restart(*, connector: str) -> None:
    """Start again what has failed of CONNECTOR, or let it run if it was stopped.

    \b
    Example:
      trading sinks restart postgres-trades
    """  # noqa: D301
    with Connect(Settings.load().connect_url) as connect:
        if connect.state(connector).life in {Life.STOPPED, Life.PAUSED}:
            connect.resume(connector)
        else:
            connect.restart(connector)
    click.echo(f"{connector} starts again")


@sinks.command()
@click.argument("connector")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--note", required=True, metavar="WHY", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="Print what was skipped as one JSON object.")
def skip(*, connector: str, topic: str, partition: int, offset: int, note: str, as_json: bool) -> None:
    """Let CONNECTOR go on behind the record at which it failed: no table will have that record.

    Refused unless it is the very record, as `trading sinks status` names it, and cannot be stored now either.

    \b
    Example:
      trading sinks skip postgres-trades trades-flat 2 4711 --note "NUL in a client's text, ticket 12"
    """  # noqa: D301
    settings = Settings.load()
    with engine_log(settings, as_stored=True) as log, Connect(settings.connect_url) as connect:
        record = in_words(skip_record(connect, log, settings, connector, (topic, partition), offset, note))
    if as_json:
        place = {"connector": connector, "topic": topic, "partition": partition, "offset": offset}
        click.echo(json.dumps({**place, "skipped": record}))
        return
    click.echo(f"{connector} goes on behind {topic}, partition {partition}, offset {offset}; skipped:")
    click.echo(f"  {json.dumps(record)}")


def _print(found: list[Standing]) -> None:
    table = Table("connector", "topics", "state", "behind", box=SIMPLE_HEAD)
    for it in found:
        style = "red" if it.stopped else ""
        table.add_row(it.name, ", ".join(it.topics), it.state, str(it.behind), style=style)
    Console().print(table)
    for it in found:
        if it.stopped is None:
            continue
        click.echo(f"{it.name} has stopped: {it.stopped.reason}")
        if it.stopped.topic is not None:
            place = f"{it.stopped.topic} {it.stopped.partition} {it.stopped.offset}"
            click.echo(f"  at {place}: {json.dumps(it.stopped.record)}")
            click.echo(f'  to step over it: trading sinks skip {it.name} {place} --note "..."')
