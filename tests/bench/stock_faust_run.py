"""Runs the peer on a broker that is there, and measures it by the flow and the end of the engine's own run."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from infra import topics_admin
from infra.bench.flow import accounts, deposits, instruments
from infra.bench.load import Load, produce
from infra.bench.session import Throughput, sustained
from infra.errors import OperatorError
from infra.settings import Settings
from infra.supervisor import Program, Supervisor
from infra.topics_admin import Wanted
from schemas import codec
from schemas.commands import DefineAccount, DefineInstrument
from schemas.control_events import AccountDefined
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.partitioner import partition_of
from schemas.settlement_events import BalanceChanged
from schemas.topics import ACCOUNT_COMMANDS, CONTROL, INBOXES, ORDERS, SETTLEMENT_EVENTS

PREFIX: Final = "stock-"
STAGES: Final = ("control", "intake", "risk", "matching", "settlement")
START_TIMEOUT_S: Final = 120.0
FIRST_RATE: Final = 300.0  # commands a second that it is thought to do, before it was measured
WINDOW: Final = 1_000


def measure(settings: Settings, seconds: float, broker_pid: int) -> Throughput:
    """The peer's throughput; ``settings`` name the broker."""
    make = partial(
        Load,
        kafka=settings.kafka(),
        topic=ORDERS,
        partitions=settings.account_partitions,
        start_ns=0,
        window=WINDOW,
        namespace=PREFIX,
    )
    with workers(settings) as supervisor:
        load_reference(settings)
        pids = {stage: supervisor.pid(stage) for stage in STAGES} | {"broker": broker_pid}
        return sustained(make, seconds, FIRST_RATE, pids)


@contextmanager
def workers(settings: Settings) -> Iterator[Supervisor]:
    """A `faust worker` for each stage, on topics of their own."""
    engines = {it.name: it for it in topics_admin.wanted(settings)}
    own = [it._replace(name=PREFIX + name) for name, it in engines.items()]
    # Faust makes its changelogs itself, but a stage that has one event at once finds it without partitions.
    changelogs = [
        Wanted(f"{PREFIX}{stage}-rows-changelog", engines[inbox].partitions, (("cleanup.policy", "compact"),))
        for stage, inbox in INBOXES.items()
    ]
    topics_admin.ensure(settings, [*own, *changelogs])
    folder = settings.data_folder / "stock"
    programs = [Program(stage, _command(stage, folder), settings.environment()) for stage in STAGES]
    supervisor = Supervisor(programs, folder / "logs", report=partial(click.echo, err=True))
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop(settings.stop_timeout_s)


def _command(stage: str, folder: Path) -> tuple[str, ...]:
    app = ("-A", f"tests.bench.stock_faust:{stage}", "--loop", "uvloop", "--datadir", str(folder / stage))
    return (sys.executable, "-m", "faust", *app, "worker", "--without-web")


def load_reference(settings: Settings) -> None:
    """Defines what the flow trades and who, one event a record, and waits until all of it has gone through."""
    producer = Producer({**settings.kafka(), "acks": "all", "enable.idempotence": True})
    now_ns = time.time_ns()
    commands: list[Any] = [
        *(DefineInstrument(command_id=it.symbol, instrument=it, at_ns=now_ns) for it in instruments()),
        *(DefineAccount(command_id=it.account, account=it, at_ns=now_ns) for it in accounts()),
    ]
    for command in commands:
        produce(producer, PREFIX + CONTROL, codec.encode(ControlCommands(items=(command,))), 0)
    # Risk reads its inbox in order, so a deposit that stands behind the definition finds its account.
    producer.flush()
    _wait_for(settings, ACCOUNT_COMMANDS, AccountDefined)
    for deposit in deposits():
        stamped = msgspec.structs.replace(deposit, at_ns=now_ns)
        partition = partition_of(deposit.account, settings.account_partitions)
        value = codec.encode(AccountCommands(items=(stamped,)))
        produce(producer, PREFIX + ACCOUNT_COMMANDS, value, partition)
    producer.flush()
    _wait_for(settings, SETTLEMENT_EVENTS, BalanceChanged)


def _wait_for(settings: Settings, topic: str, kind: type[AccountDefined | BalanceChanged]) -> None:
    """Waits until every account has an event of a kind in a topic."""
    consumer = Consumer({**settings.kafka(), "group.id": "bench-stock", "enable.auto.commit": False})
    places = range(settings.account_partitions)
    consumer.assign([TopicPartition(PREFIX + topic, it, OFFSET_BEGINNING) for it in places])
    missing = {it.account for it in accounts()}
    until = time.monotonic() + START_TIMEOUT_S
    while missing and time.monotonic() < until:
        for message in consumer.consume(500, 0.2):
            envelope: Any = codec.decode(message.value())
            for item in envelope.items:
                if type(item) is kind:
                    missing.discard(item.account.account if type(item) is AccountDefined else item.account)
    consumer.close()
    if missing:
        folder = settings.data_folder / "stock" / "logs"
        raise OperatorError(f"{len(missing)} accounts have no {kind.__name__}: see {folder}")
