"""`trading status`: what Kafka knows of a running engine; no worker need answer.

A stage's place is that of its last checkpoint, up to half a second old: a lag of a few ticks is none.
"""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import click
import msgspec
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from connectors.decimals import Grid
from connectors.views.reference import moment
from infra.auditor.cut import changelogs, last_checkpoint
from infra.auditor.log import KafkaLog, Log
from infra.cluster import CONNECT_TIMEOUT_S, connected, counts_of, engine_log
from infra.commands.in_force import latest_tables
from infra.errors import OperatorError
from infra.settings import Settings
from infra.workers import Worker
from schemas import codec
from schemas.envelopes import Trades
from schemas.events import Trade
from schemas.topics import BY_NAME, INBOXES, ORDERS, TRADES, orders_of, topic_named
from tables.checkpointed.restored import original_of

_GROUP_TIMEOUT_S: Final = CONNECT_TIMEOUT_S
_LATE_S: Final = 5.0  # ten checkpoints at the default interval
_EDGE: Final = "intake"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of what a stage's replica reads. ``checkpoint_age_s`` is None for intake, which keeps no state."""

    stage: str
    replica: str
    topic: str
    partition: int
    worker: str | None
    next_offset: int | None
    inbox_end: int
    checkpoint_age_s: float | None

    @property
    def lag(self) -> int:
        """Inbox records that are not in a checkpoint yet."""
        return self.inbox_end - (self.next_offset or 0)


class Standing(NamedTuple):
    """Where a replica of a partition is, and since when."""

    next_offset: int | None
    age_s: float | None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(*, as_json: bool) -> None:
    """Show each stage's partitions: the worker that has it, its lag, its checkpoint's age; and the last trade.

    WORKER is the address of the worker's views; none means that nobody has the partition. The lag counts inbox records
    that are not in a checkpoint yet: half a second of traffic is normal.

    \b
    Example:
      trading status
      trading status --json | jq '.stages[] | select(.worker == null)'
    """  # noqa: D301
    settings = Settings.load()
    with engine_log(settings) as log, connected(settings) as kafka:
        admin = AdminClient(kafka)
        rows = [*_stages(log, admin, settings), *_intake(log, admin, settings)]
        trade = _last_trade(log, settings)
    if as_json:
        stages = [msgspec.to_builtins(row) | {"lag": row.lag} for row in rows]
        click.echo(json.dumps({"kafka": settings.kafka_bootstrap, "stages": stages, "last_trade": trade}))
        return
    if not rows:
        raise OperatorError(
            f"no stage of the engine {settings.env!r} has ever run: start it with `trading up`"
        )
    Console().print(_table(rows))
    click.echo(f"last trade: {_in_words(trade)}")


def _stages(log: Log, admin: AdminClient, settings: Settings) -> Iterator[Row]:
    for stage, inbox in INBOXES.items():
        for changelog in changelogs(log, settings.env, stage):
            app_id = changelog.removesuffix("-changelog")
            workers = _workers(admin, app_id, inbox)
            places = [_standing(log, changelog, p) for p in range(counts_of(settings).of(BY_NAME[inbox]))]
            for partition, (place, end) in enumerate(zip(places, _ends(log, inbox, settings), strict=True)):
                yield Row(
                    stage=stage,
                    replica=app_id.rpartition("-")[2],
                    topic=inbox,
                    partition=partition,
                    worker=workers.get(partition),
                    next_offset=place.next_offset,
                    inbox_end=end,
                    checkpoint_age_s=place.age_s,
                )


def _intake(log: KafkaLog, admin: AdminClient, settings: Settings) -> Iterator[Row]:
    """An edge's place is what its group committed."""
    prefix = f"{settings.env}-{_EDGE}-"
    groups = admin.list_consumer_groups(request_timeout=_GROUP_TIMEOUT_S).result().valid
    for group in sorted(it.group_id for it in groups if it.group_id.startswith(prefix)):
        committed = _committed(admin, group, log)
        for topic in (ORDERS, *(orders_of(client).name for client in settings.clients)):
            workers = _workers(admin, group, topic)
            for partition, end in enumerate(_ends(log, topic, settings)):
                yield Row(
                    stage=_EDGE,
                    replica=group.removeprefix(prefix),
                    topic=topic,
                    partition=partition,
                    worker=workers.get(partition),
                    next_offset=committed.get((topic, partition)),
                    inbox_end=end,
                    checkpoint_age_s=None,
                )


def _ends(log: Log, topic: str, settings: Settings) -> list[int]:
    return [
        log.bounds((topic, partition))[1] for partition in range(counts_of(settings).of(topic_named(topic)))
    ]


def _standing(log: Log, changelog: str, partition: int) -> Standing:
    checkpoint = last_checkpoint(log, changelog, partition)
    if checkpoint is None:
        return Standing(None, None)
    meta = next(log.read((changelog, partition), (checkpoint.end - 1, checkpoint.end)))
    return Standing(checkpoint.meta.next_offset, max(0.0, round(time.time() - meta.timestamp_ms / 1000, 3)))


def _workers(admin: AdminClient, group: str, topic: str) -> dict[int, str]:
    """Who has each partition: a member's client id ends with the address of its views."""
    answer = admin.describe_consumer_groups([group], request_timeout=_GROUP_TIMEOUT_S)
    return {
        place.partition: member.client_id.partition("@")[2] or member.client_id
        for member in answer[group].result().members
        for place in member.assignment.topic_partitions
        if place.topic == topic
    }


def _committed(admin: AdminClient, group: str, log: KafkaLog) -> dict[tuple[str, int], int]:
    asked = ConsumerGroupTopicPartitions(group)
    answer = admin.list_consumer_group_offsets([asked], request_timeout=_GROUP_TIMEOUT_S)[group].result()
    places: list[TopicPartition] = answer.topic_partitions
    return {
        (it.topic, it.partition): original_of(log.offsets, (it.topic, it.partition), it.offset)
        for it in places
        if it.offset >= 0
    }


def _last_trade(log: Log, settings: Settings) -> dict[str, Any] | None:
    last: Trade | None = None
    for partition, end in enumerate(_ends(log, TRADES, settings)):
        for record in log.read((TRADES, partition), (max(end - 1, 0), end)):
            trades = codec.decode(record.value or b"")
            assert isinstance(trades, Trades), "the topic holds nothing else"
            last = max((last, trades.items[-1]), key=lambda it: it.at_ns if it else -1)
    return None if last is None else _shape(last, log, settings)


def _shape(trade: Trade, log: Log, settings: Settings) -> dict[str, Any]:
    row = latest_tables(log, settings.env).instruments[trade.instrument]
    ticks, lots = (Grid(step, "") for step in (row.instrument.tick_size_e9, row.instrument.lot_size_e9))
    return {
        "trade_id": trade.trade_id,
        "instrument": trade.instrument,
        "price": ticks.format(trade.price_ticks),
        "quantity": lots.format(trade.quantity_lots),
        "at": moment(trade.at_ns),
    }


def _table(rows: list[Row]) -> Table:
    table = Table("stage", "reads", "partition", "worker", "place", "lag", "checkpoint", box=SIMPLE_HEAD)
    for row in rows:
        age = row.checkpoint_age_s
        late = "red" if age is not None and age > _LATE_S else ""
        table.add_row(
            Worker((row.stage,), row.replica).name,
            row.topic,
            str(row.partition),
            row.worker.removeprefix("http://") if row.worker else "[red]none[/]",
            "-" if row.next_offset is None else str(row.next_offset),
            str(row.lag),
            "-" if age is None else f"{age:.1f} s ago",
            style=late,
        )
    return table


def _in_words(trade: Mapping[str, Any] | None) -> str:
    if trade is None:
        return "none yet"
    return f"{trade['quantity']} {trade['instrument']} at {trade['price']}, {trade['at']} (id {trade['trade_id']})"
