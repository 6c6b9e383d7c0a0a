"""`trading topics`: the engine's topics on a cluster."""

import json

import click
from rich.console import Console
from rich.table import Table

from infra import topics_admin
from infra.settings import Settings
from schemas.topics import topic_named


@click.group()
def topics() -> None:
    """Make and list the engine's topics.

    \b
    Example:
      TRADING_KAFKA_BOOTSTRAP=kafka1:9092 trading topics create
    """  # noqa: D301


@topics.command()
@click.option("--json", "as_json", is_flag=True, help="Print the names that were made as a JSON list.")
def create(*, as_json: bool) -> None:
    """Make the topics that the cluster does not have yet; refuse one that has another count of partitions.

    \b
    Example:
      trading topics create
    """  # noqa: D301
    settings = Settings.load()
    made = topics_admin.ensure(settings)
    if as_json:
        click.echo(json.dumps(made))
    else:
        of = len(topics_admin.wanted(settings))
        names = ", ".join(made) or "all were there"
        click.echo(f"{len(made)} of {of} topics made on {settings.kafka_bootstrap}: {names}")


@topics.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(*, as_json: bool) -> None:
    """List the engine's topics: key, partitions, records, retention, and whether the cluster has them.

    \b
    Example:
      trading topics list --json
    """  # noqa: D301
    settings = Settings.load()
    there = topics_admin.existing(settings)
    wanted = topics_admin.wanted(settings)
    if as_json:
        rows = {
            topic.name: {
                "partitions": topic.partitions,
                "partitions_on_cluster": there.get(topic.name),
                "key": topic_named(topic.name).key,
                "records": [record.__name__ for record in topic_named(topic.name).records],
                "config": dict(topic.config),
            }
            for topic in wanted
        }
        click.echo(json.dumps(rows))
        return
    table = Table("topic", "key", "partitions", "on the cluster", "records", "written by", "read by")
    for name, partitions, _ in wanted:
        topic = topic_named(name)
        records = ", ".join(record.__name__ for record in topic.records)
        found = str(there.get(name, "missing"))
        table.add_row(name, topic.key, str(partitions), found, records, topic.writers, topic.readers)
    Console().print(table)
