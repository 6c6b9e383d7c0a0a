"""Measurements of a running engine: latency at a rate, throughput, and what they cost its processes."""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

import click
import msgspec

from infra.bench.flow import accounts, deposits, instruments
from infra.bench.load import NS, PROCESSES, Load, Progress, send, start_ns
from infra.bench.meters import batch_times, cpu_of, quantile_bound
from infra.bench.probe import Seen, watch
from infra.bench.settled import SettledWatch
from infra.desk import Desk
from infra.embedded.broker import EmbeddedBroker
from infra.engine import Engine
from infra.errors import OperatorError
from infra.settings import Settings
from schemas.commands import DefineAccount, DefineInstrument
from schemas.topics import ORDERS, PartitionCounts

PATIENCE_S: Final = 30.0
ORDERS_A_COMMAND: Final = 0.75  # a cancel for every third order
FIRST_RATE: Final = 5_000  # commands a second that any engine here is thought to do, before it was measured
CODEC_VARIABLE: Final = "TRADING_CODEC"
Pids = Mapping[str, int | None]
MS: Final = 1000
US: Final = 1e6

Costs = dict[str, float]
"""CPU microseconds an order, by process."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """``quantiles_ms`` are p50, p99 and p99.9; ``late_ms`` says how far the sender itself fell behind at worst.

    ``batch_p99_ms`` bounds the time that a stage took for a batch, by stage.
    """

    topic: str
    rate: float
    quantiles_ms: tuple[float, ...]
    rejected: int
    late_ms: float
    batch_p99_ms: dict[str, float]
    cpu_us: Costs


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Orders that were settled, of so many commands, in so many seconds."""

    orders: int
    commands: int
    trades: int
    seconds: float
    cpu_us: Costs

    @property
    def rate(self) -> float:
        """Orders a second."""
        return self.orders / self.seconds


def run(load: Load, warm_up_s: float = 0.0) -> tuple[float, Seen]:
    """Sends a load and waits until every order has its report; how late the sender was (s), and what was seen.

    Raises:
        OperatorError: reports are missing.

    """
    progress = Progress()
    from_probe, probe_end = PROCESSES.Pipe(duplex=False)
    from_sender, sender_end = PROCESSES.Pipe(duplex=False)
    words = (load, progress, warm_up_s, PATIENCE_S, probe_end)
    prober = PROCESSES.Process(target=watch, args=words, daemon=True)
    sender = PROCESSES.Process(target=_send, args=(load, progress, sender_end), daemon=True)
    prober.start()
    from_probe.recv_bytes()
    sender.start()
    seen = msgspec.msgpack.decode(from_probe.recv_bytes(), type=Seen)
    if not progress.is_complete:
        sender.kill()
        raise OperatorError(
            f"{progress.unanswered} orders have no report after {PATIENCE_S:.0f} s of silence"
        )
    late_s = msgspec.msgpack.decode(from_sender.recv_bytes(), type=float)
    prober.join()
    sender.join()
    return late_s, seen


def sustained(make: Callable[..., Load], seconds: float, first_rate: float, pids: Pids) -> Throughput:
    """Throughput of whatever reads the loads that ``make`` makes, for so long, after a load a quarter as long.

    The first load also says how many commands the second needs.
    """
    first = _settle(make(count=max(100, int(first_rate * seconds / 4))), {})
    return _settle(make(count=int(first.commands / first.seconds * seconds)), pids)


def _settle(load: Load, pids: Pids) -> Throughput:
    load = msgspec.structs.replace(load, start_ns=start_ns(load.count), prefix=_prefix())
    settled_watch, cpu = SettledWatch.of(load), cpu_of(pids)
    _, seen = run(load)
    orders = seen.accepted + seen.rejected
    costs = _costs(cpu, pids, orders)
    settled = settled_watch.wait(PATIENCE_S)
    return Throughput(
        orders=orders,
        commands=load.count,
        trades=settled.fills // 2,
        seconds=settled.at_ms / MS - load.start_ns / NS,
        cpu_us=costs,
    )


class Session:
    """An engine that has the accounts and instruments of the flow, on a broker."""

    def __init__(self, engine: Engine, broker: EmbeddedBroker) -> None:
        self._engine, self._broker = engine, broker
        self._make = partial(
            Load,
            kafka=engine.settings.kafka(),
            partitions=engine.settings.account_partitions,
            start_ns=0,
            prefix="",
            pace_s=engine.settings.edge_pace_ms / MS,
        )

    def latency(self, topic: str, rate: float, seconds: float, warm_up_s: float) -> Latency:
        """From a command's intended time to its order's report, at so many orders a second."""
        commands = rate / ORDERS_A_COMMAND
        count = int(commands * (warm_up_s + seconds))
        load = self._make(topic=topic, count=count, start_ns=start_ns(count), rate=commands, prefix=_prefix())
        addresses, pids = list(self._engine.views.values()), self._pids()
        times, cpu = batch_times(addresses), cpu_of(pids)
        late_s, seen = run(load, warm_up_s)
        orders = seen.accepted + seen.rejected
        p99 = {it: quantile_bound(times[it], after, 0.99) for it, after in batch_times(addresses).items()}
        return Latency(
            topic=topic,
            rate=rate,
            quantiles_ms=tuple(seen.quantiles_ms()),
            rejected=seen.rejected,
            late_ms=late_s * MS,
            batch_p99_ms={stage: bound_s * MS for stage, bound_s in p99.items()},
            cpu_us=_costs(cpu, pids, orders),
        )

    def throughput(self, seconds: float) -> Throughput:
        """As fast as the engine goes, from ``orders`` to settled positions."""
        return sustained(partial(self._make, topic=ORDERS), seconds, FIRST_RATE, self._pids())

    def flood(self, orders: int) -> int:
        """Sends about so many orders as fast as they are answered; how many it were."""
        return _settle(self._make(topic=ORDERS, count=int(orders / ORDERS_A_COMMAND)), {}).orders

    def _pids(self) -> Pids:
        return pids_of(self._engine, self._broker)


def pids_of(engine: Engine, broker: EmbeddedBroker) -> Pids:
    """The engine's processes, those of its sinks' servers and the broker."""
    supervisor, sinks = engine.supervisor, engine.sinks
    servers = {name: sinks.pid(name) for name in sinks.states()} if sinks else {}
    return {name: supervisor.pid(name) for name in supervisor.states()} | servers | {"broker": broker.pid}


@contextmanager
def engine_on(settings: Settings, broker: EmbeddedBroker, codec: str = "") -> Iterator[Engine]:
    """The engine's workers on a broker that runs; ``codec`` "fastavro" takes the compiled one from them."""
    ours = settings.model_copy(update={"embedded_broker": False, "kafka_bootstrap": broker.bootstrap})
    engine = Engine(ours, partial(click.echo, err=True))
    before = os.environ.get(CODEC_VARIABLE, "")
    os.environ[CODEC_VARIABLE] = codec or before  # the workers' codec is chosen by their environment
    try:
        engine.start()
    finally:
        os.environ[CODEC_VARIABLE] = before
    try:
        yield engine
    finally:
        engine.stop()


@contextmanager
def session(settings: Settings, broker: EmbeddedBroker, codec: str = "") -> Iterator[Session]:
    """The same, with the accounts and instruments of the flow."""
    with engine_on(settings, broker, codec) as engine:
        load_reference(engine.settings)
        yield Session(engine, broker)


def load_reference(settings: Settings) -> None:
    """Defines what the flow trades, and who; a second time it changes nothing."""
    counts = PartitionCounts(settings.account_partitions, settings.book_partitions)
    with Desk(settings.kafka(), counts) as desk:
        desk.control([DefineInstrument(command_id=f"i-{it.symbol}", instrument=it) for it in instruments()])
        desk.control([DefineAccount(command_id=f"a-{it.account}", account=it) for it in accounts()])
        desk.cash(deposits())


def _send(load: Load, progress: Progress, done: Connection) -> None:
    done.send_bytes(msgspec.msgpack.encode(send(load, progress)))


def _costs(before: dict[str, float], pids: Pids, orders: int) -> Costs:
    after = cpu_of(pids)
    return {name: (after[name] - cpu) * US / max(orders, 1) for name, cpu in before.items()}


def _prefix() -> str:
    """Ids of one load are those of no other."""
    return f"b{time.time_ns()}-"
