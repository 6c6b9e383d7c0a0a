"""The peer: the engine's topology and its very rules, as one would write them on stock Faust.

    faust -A tests.bench.stock_faust:risk worker

An agent a stage, one event a record, a table whose values are set through Faust, which logs each to its
changelog; `topic.send` for every output. Rules, rows and codec are the engine's, so that what differs is how
they are driven. Nothing here is slowed on purpose, and two things are kinder than they need be: rules read a
plain dict instead of the table, and a row that an event changes twice is set once. It does less, too: a crash
makes it apply events twice, and nothing would notice.
"""

import time
from functools import cache
from typing import Any, Final

import faust

from agents.control import CONTROL_STAGE
from agents.intake import Intake
from agents.matching import MATCHING_STAGE
from agents.risk import RISK_STAGE
from agents.rules.outbox import Outbox, Place
from agents.settlement import SETTLEMENT_STAGE
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord, Rules, Stage
from infra.settings import Settings
from schemas import codec
from schemas.commands import Tick
from schemas.envelopes import ControlCommands
from schemas.topics import BY_NAME, CHANNELS, CONTROL, ORDERS, PartitionCounts
from tables.section import Tables

PREFIX: Final = "stock-"
SETTINGS: Final = Settings.load()
COUNTS: Final = PartitionCounts(SETTINGS.account_partitions, SETTINGS.book_partitions)


class Avro(faust.Codec):
    """The engine's codec as Faust's."""

    def _dumps(self, record: Any) -> bytes:
        return codec.encode(record)

    def _loads(self, value: bytes) -> Any:
        return codec.decode(value)


AVRO: Final = Avro()


class Partition:
    """One partition's tables and rules, and what ties them to the Faust table that keeps the rows."""

    def __init__(self, stage: Stage, number: int, rows: Any) -> None:
        """Begins with what Faust has recovered."""
        self._number, self._rows = number, rows
        self._prefix = number.to_bytes(2, "big")
        self._now_ns = 0
        self._tables: Tables = stage.tables()
        for key, value in rows.items():
            if key.startswith(self._prefix):
                self._tables.load(key[len(self._prefix) :], value)
        self._rules: Rules = stage.rules[1](self._tables, COUNTS, number)

    def apply(self, item: Any, offset: int) -> Outbox:
        """Applies an event, and sets the rows that it changed."""
        self._now_ns = max(self._now_ns, item.at_ns)
        outbox = Outbox()
        self._rules.apply(item, Place(self._number, offset, 0, self._now_ns), outbox)
        changes = ((it, *change) for it, rows in self._tables.take_dirty() for change in rows.items())
        for section, key, row in changes:
            name, value = section.encode(key, row)
            if value is None:
                del self._rows[self._prefix + name]
            else:
                self._rows[self._prefix + name] = value
        return outbox


def stage_app(stage: Stage) -> faust.App:
    """A stage's app, with its agent and its table."""
    app = new_app(stage.name)
    topic = topics_of(app)
    inbox = BY_NAME[stage.inbox]
    rows = app.Table("rows", key_type=bytes, value_type=bytes, partitions=COUNTS.of(inbox))
    partitions: dict[int, Partition] = {}

    @app.agent(topic(inbox.name))
    async def apply(records: Any) -> None:
        async for event in records.events():
            number = event.message.partition
            if number not in partitions:
                partitions[number] = Partition(stage, number, rows)
            for item in event.value.items:
                outbox = partitions[number].apply(item, event.message.offset)
                for (channel, partition), said in outbox.items.items():
                    envelope: Any = CHANNELS[channel].envelope
                    for one in said:
                        value = envelope(items=(one,))
                        for name in CHANNELS[channel].topics:
                            await topic(name).send(value=value, partition=partition)

    @app.on_partitions_revoked.connect
    async def forget(_app: Any, revoked: Any, **_: Any) -> None:
        del revoked
        partitions.clear()

    return app


def intake_app() -> faust.App:
    """The edge: it checks form, and stamps the broker's time."""
    app = new_app("intake")
    topic = topics_of(app)
    decide = Intake(COUNTS.accounts).decide

    @app.agent(app.topic(PREFIX + ORDERS, partitions=COUNTS.accounts, value_serializer="raw"))
    async def admit(orders: Any) -> None:
        async for event in orders.events():
            message = event.message
            record = InboxRecord(message.offset, int(message.timestamp * 1000), message.key, event.value)
            for output in decide(Batch(ORDERS, message.partition, [record])):
                for name in output.topics:
                    await topic(name).send(value=output.value, partition=output.partition)

    return app


def control_app() -> faust.App:
    """Control, with the clock."""
    app = stage_app(CONTROL_STAGE)
    inbox = topics_of(app)(CONTROL)
    interval_ns = SETTINGS.tick_interval_ms * 1_000_000

    @app.timer(interval=interval_ns / 1e9)
    async def tick() -> None:
        tick_ns = time.time_ns() // interval_ns * interval_ns
        await inbox.send(value=ControlCommands(items=(Tick(tick_ns=tick_ns, at_ns=tick_ns),)), partition=0)

    return app


def new_app(name: str) -> faust.App:
    """An app with Faust's defaults, but for where its broker is and where its tables are."""
    return faust.App(
        PREFIX + name,
        broker=f"kafka://{SETTINGS.kafka_bootstrap}",
        store="memory://",
        topic_replication_factor=SETTINGS.replication_factor,
        topic_partitions=COUNTS.accounts,
    )


def topics_of(app: faust.App) -> Any:
    """Finds a topic of an app by the engine's name for it."""

    @cache
    def topic(name: str) -> Any:
        return app.topic(PREFIX + name, partitions=COUNTS.of(BY_NAME[name]), value_serializer=AVRO)

    return topic


control = control_app()
intake = intake_app()
risk = stage_app(RISK_STAGE)
matching = stage_app(MATCHING_STAGE)
settlement = stage_app(SETTLEMENT_STAGE)
