"""`trading bench`: throughput and latency of the whole engine, in one run, as one table."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from infra.bench.session import Latency, Session, Throughput, session
from infra.embedded.broker import EmbeddedBroker
from infra.settings import Settings
from schemas.topics import ACCOUNT_COMMANDS, ORDERS

COLUMNS = ("what", "orders/s", "p50 ms", "p99 ms", "p99.9 ms", "note")


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
    """Measure how fast the engine is on this machine, in a folder and on a broker of its own.

    `make bench`, in a checkout, measures more: peers, parts, restarts.

    \b
    Example:
      trading bench --seconds 20 --rates 2000,5000
    """  # noqa: D301
    with scratch() as (settings, broker), session(settings, broker) as running:
        rows = list(_measure(running, seconds, warm_up, [float(it) for it in rates.split(",")]))
    if as_json:
        click.echo(json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in rows]))
        return
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


@contextmanager
def scratch(**overrides: object) -> Iterator[tuple[Settings, EmbeddedBroker]]:
    """A broker on free ports in a folder that goes afterwards, and settings for engines beside it.

    A partition each, unless the settings say so: on one machine more of them only make more records.
    """
    with tempfile.TemporaryDirectory(prefix="trading-bench-") as folder:
        Path(folder).chmod(0o755)  # whoever Postgres runs as has to come in
        known = Settings.load(data_folder=Path(folder), views_port=0, **{"sinks": False, **overrides})
        counts = {"account_partitions", "book_partitions"} - known.model_fields_set
        settings = known.model_copy(update=dict.fromkeys(counts, 1))
        broker = EmbeddedBroker(
            settings.data_folder / "broker", heap_mb=settings.broker_heap_mb, java_home=settings.java_home
        )
        broker.start(settings.start_timeout_s)
        try:
            yield settings, broker
        finally:
            broker.stop()


def _measure(running: Session, seconds: float, warm_up: float, rates: list[float]) -> Iterator[list[object]]:
    for topic in (ACCOUNT_COMMANDS, ORDERS):
        for rate in rates:
            yield _latency_row(running.latency(topic, rate, seconds, warm_up))
    yield _throughput_row(running.throughput(seconds))


def _latency_row(it: Latency) -> list[object]:
    note = f"{it.rejected} rejected, sender at most {it.late_ms:.1f} ms late"
    quantiles = [round(ms, 2) for ms in it.quantiles_ms]
    return [f"{it.topic} to execution report", round(it.rate), *quantiles, note]


def _throughput_row(it: Throughput) -> list[object]:
    note = f"{it.orders} orders, {it.trades} trades in {it.seconds:.1f} s"
    return ["orders to settled positions", round(it.rate), "", "", "", note]
