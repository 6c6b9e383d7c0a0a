"""`trading archive status`: what is archived up to where, how far Kafka is ahead, and what is held."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import attrgetter

import click
import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from infra.archive.progress import Behind
from infra.archive.retention import in_force, is_held
from infra.archive.watch import late_s, look
from infra.settings import Settings


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, topic-partition by topic-partition."
)
@click.pass_context
def status(context: click.Context, *, as_json: bool) -> None:
    """Show what the archive holds of each topic, how far it is behind Kafka, and which topics are held.

    Of a topic that is held nothing expires in Kafka. The exit code is 1 if the archive has stopped, is late (ten
    commits, at least a minute), or has lost records. A task that failed is started again by looking.

    \b
    Example:
      trading archive status --json | jq '.places[] | select(.behind_s > 60)'
    """  # noqa: D301
    settings = Settings.load()
    found, stopped = look(settings)
    held = sorted(name for name, value in in_force(settings).items() if is_held(value))
    late = [it for it in found if it.lost or it.behind_s > late_s(settings)]
    if as_json:
        shape = {"archive": settings.archive_root, "stopped": stopped or None, "held": held}
        click.echo(json.dumps(shape | {"places": msgspec.to_builtins(found)}))
    else:
        Console().print(_table(found, held))
        for line in _lines(settings, late, held, stopped):
            click.echo(line)
    context.exit(1 if stopped or late else 0)


def _table(found: Iterable[Behind], held: list[str]) -> Table:
    """A line a topic: its records in all, and its worst partition."""
    table = Table("topic", "partitions", "archived", "behind", "first of them", "held", box=SIMPLE_HEAD)
    for topic, group in groupby(found, attrgetter("topic")):
        of = list(group)
        worst = max(it.behind_s for it in of)
        behind = sum(it.behind for it in of)
        archived = sum(it.archived or 0 for it in of)
        age = f"{worst:.0f} s old" if behind else "-"
        table.add_row(topic, str(len(of)), str(archived), str(behind), age, "yes" if topic in held else "")
    return table


def _lines(settings: Settings, late: Iterable[Behind], held: list[str], stopped: str) -> Iterator[str]:
    yield f"archive: {settings.archive_root}"
    if stopped:
        yield f"the archive has stopped: {stopped}"
    for it in late:
        lost = f", {it.lost} expired in Kafka before they were archived: they are lost" if it.lost else ""
        yield f"{it.topic} {it.partition}: {it.behind} behind, the first {it.behind_s:.0f} s old{lost}"
    if held:
        yield f"nothing expires in Kafka of {', '.join(held)}"
