"""`trading up`: the whole engine on this machine."""

import json

import click
from rich.console import Console
from rich.table import Column, Table

from infra.commands.progress import jar_bar, uninterrupted, until_interrupted
from infra.engine import Engine
from infra.settings import Settings
from infra.supervisor import State


@click.command()
@click.option(
    "--without",
    "left_out",
    multiple=True,
    type=click.Choice(["sinks"]),
    help="Leave out the sinks: schema registry, Postgres and Connect.",
)
@click.option("--json", "as_json", is_flag=True, help="When ready, print the addresses as one line of JSON.")
def up(*, left_out: tuple[str, ...], as_json: bool) -> None:
    """Run the whole engine under one data folder, on loopback, until Ctrl-C or SIGTERM.

    It comes back with its state. A worker that dies starts again from its last checkpoint; the exit code is 1
    if one stayed down. The sinks become ready while the engine already trades.

    \b
    Example:
      TRADING_DATA_FOLDER=/var/lib/trading trading up
      trading up --without sinks       # a broker and the stages alone: 320 MB less to download
    """  # noqa: D301
    console = Console(stderr=as_json, log_path=False)
    settings = Settings.load(**({"sinks": False} if "sinks" in left_out else {}))
    engine = Engine(settings, lambda line: console.log(line, highlight=False))
    try:
        with until_interrupted():
            with jar_bar(console) as on_jar:
                engine.start(on_jar)
            _announce(engine, console, as_json=as_json)
            engine.run()
        console.log("stopping: workers, sinks, then broker")
    finally:
        with uninterrupted():
            engine.stop()
    if State.DOWN in engine.supervisor.states().values():
        raise click.ClickException("a worker had stayed down; the lines above say why")


def _announce(engine: Engine, console: Console, *, as_json: bool) -> None:
    settings = engine.settings
    if as_json:
        addresses = {
            "kafka": settings.kafka_bootstrap,
            "views": engine.views,
            "data": str(settings.data_folder),
        }
        addresses |= {"sinks": engine.sinks.addresses} if engine.sinks else {}
        click.echo(json.dumps(addresses))
        return
    table = Table("what", Column("where", overflow="fold"), title="The engine runs", title_justify="left")
    table.add_row("Kafka", settings.kafka_bootstrap)
    for name, address in engine.views.items():
        table.add_row(f"views of {name}", address)
    for name, address in (engine.sinks.addresses if engine.sinks else {}).items():
        table.add_row(name, address)
    table.add_row("data and logs", str(settings.data_folder))
    console.print(table)
    console.print("Ctrl-C stops all of it; the state stays.")
