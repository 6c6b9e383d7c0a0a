"""`trading demo`: a recorded market session through the whole engine."""

import click
from rich.console import Console

from infra.settings import Settings


@click.command()
@click.option("--keep", is_flag=True, help="Stay up afterwards, until Ctrl-C.")
@click.option(
    "--rate",
    default=5_000,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Commands a second; a higher rate shows throughput, a lower one latency.",
)
@click.pass_context
def demo(context: click.Context, *, keep: bool, rate: int) -> None:
    """Run a recorded market session through the engine, kill every stage once, and check what came out.

    The exit code is 1 if anything that must hold does not.

    \b
    Example:
      trading demo --keep
    """  # noqa: D301
    from infra.demo.session import read_session

    console = Console()
    session = read_session()  # first: it says what to install
    console.log(f"{sum(session.rows.values()):,} recorded rows are {len(session.commands):,} commands")

    from infra.demo.run import run

    context.exit(run(Settings.load(), session, console, rate=rate, keep=keep))
