"""`trading bench`: throughput and latency of the whole engine, in one run, as one table."""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from confluent_kafka import Consumer, TopicPartition
from rich.console import Console
from rich.table import Table

from infra.bench.flow import accounts, deposits, instruments
from infra.bench.load import Load, send
from infra.bench.probe import Seen, watch
from infra.desk import Desk
from infra.engine import Engine
from infra.settings import Settings
from schemas.commands import DefineAccount, DefineInstrument
from schemas.topics import ACCOUNT_COMMANDS, ORDERS, SETTLEMENT_EVENTS, PartitionCounts

PATIENCE_S: Final = 15.0
ORDERS_OF_COMMANDS: Final = 0.75
START_DELAY_NS: Final = 3_000_000_000
QUIET_S: Final = 1.0
POLL_S: Final = 0.05
_PROCESSES: Final = multiprocessing.get_context("spawn")


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Length of each measurement.")
@click.option(
    "--warm-up", default=20.0, show_default=True, help="Load before each latency is measured, in seconds."
)
@click.option(
    "--rates", default="2000,5000,10000", show_default=True, help="Orders a second of the open loops."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def bench(*, seconds: float, warm_up: float, rates: str, as_json: bool) -> None:
    """Measure how fast the engine is on this machine, in a folder of its own.

    \b
    Example:
      trading bench --seconds 20 --rates 2000,5000
    """  # noqa: D301
    with tempfile.TemporaryDirectory(prefix="trading-bench-") as folder, _engine(Path(folder)) as engine:
        rows = list(_measure(engine, seconds, warm_up, [float(it) for it in rates.split(",")]))
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table("what", "orders/s", "p50 ms", "p99 ms", "p99.9 ms", "note")
    for row in rows:
        table.add_row(
            *(str(row.get(name, "")) for name in ("what", "orders_per_s", "p50", "p99", "p999", "note"))
        )
    Console().print(table)


@contextmanager
def _engine(folder: Path) -> Iterator[Engine]:
    settings = Settings.load(data_folder=folder)
    with Engine(settings, lambda line: click.echo(line, err=True)) as engine:
        counts = PartitionCounts(settings.account_partitions, settings.book_partitions)
        with Desk(engine.settings.kafka(), counts) as desk:
            desk.control(
                [DefineInstrument(command_id=f"i-{it.symbol}", instrument=it) for it in instruments()]
            )
            desk.control([DefineAccount(command_id=f"a-{it.account}", account=it) for it in accounts()])
            desk.cash(deposits())
        yield engine


def _measure(engine: Engine, seconds: float, warm_up: float, rates: list[float]) -> Iterator[dict[str, Any]]:
    for topic in (ACCOUNT_COMMANDS, ORDERS):
        for rate in rates:
            yield _latency(engine, topic, rate, seconds, warm_up)
    yield _throughput(engine, seconds)


def _latency(engine: Engine, topic: str, rate: float, seconds: float, warm_up: float) -> dict[str, Any]:
    commands_rate = rate / ORDERS_OF_COMMANDS
    load = _load(engine, topic, int(commands_rate * (warm_up + seconds)), commands_rate)
    late_s, seen = _run(load, warm_up)
    p50, p99, p999 = (round(it, 2) for it in seen.quantiles_ms())
    note = f"{seen.rejected} rejected, sender at most {late_s * 1000:.1f} ms late"
    what = f"{topic} to execution report"
    return {"what": what, "orders_per_s": rate, "p50": p50, "p99": p99, "p999": p999, "note": note}


def _throughput(engine: Engine, seconds: float) -> dict[str, Any]:
    """As fast as the engine goes: all is sent at once, and the clock stops when the last is settled."""
    count = int(seconds * 20_000)
    load = _load(engine, ORDERS, count, 0.0)
    started = time.monotonic()
    _run(load, 0.0)
    took = _settled_at(engine) - started - START_DELAY_NS / 1e9
    rate = round(count * ORDERS_OF_COMMANDS / took)
    note = f"{count} commands in {took:.1f} s"
    return {"what": "orders to settled positions", "orders_per_s": rate, "note": note}


def _load(engine: Engine, topic: str, count: int, rate: float) -> Load:
    return Load(
        kafka=engine.settings.kafka(),
        topic=topic,
        partitions=engine.settings.account_partitions,
        count=count,
        start_ns=time.time_ns() + START_DELAY_NS,
        rate=rate,
        prefix=f"b{time.time_ns()}-",
    )


def _run(load: Load, warm_up: float) -> tuple[float, Seen]:
    here, there = _PROCESSES.Pipe()
    prober = _PROCESSES.Process(target=watch, args=(load, warm_up, PATIENCE_S, there))
    prober.start()
    here.recv_bytes()
    sender = _PROCESSES.Process(target=_send, args=(load, there))
    sender.start()
    late_s = msgspec.msgpack.decode(here.recv_bytes(), type=float)
    seen = msgspec.msgpack.decode(here.recv_bytes(), type=Seen)
    sender.join()
    prober.join()
    return late_s, seen


def _send(load: Load, done: Connection) -> None:
    late_s = send(load)
    done.send_bytes(msgspec.msgpack.encode(late_s))


def _settled_at(engine: Engine) -> float:
    """When settlement said its last word (monotonic): it has nothing to say to ticks."""
    consumer = Consumer({**engine.settings.kafka(), "group.id": "bench-settled"})
    places = [TopicPartition(SETTLEMENT_EVENTS, it) for it in range(engine.settings.account_partitions)]
    ends: list[int] = []
    grown_at = time.monotonic()
    while time.monotonic() - grown_at < QUIET_S:
        now = [consumer.get_watermark_offsets(place, timeout=10)[1] for place in places]
        if now != ends:
            ends, grown_at = now, time.monotonic()
        time.sleep(POLL_S)
    consumer.close()
    return grown_at
