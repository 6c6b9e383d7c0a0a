"""`trading send`: orders from a file into the topic `orders`, as any in-house producer would."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import click
import msgspec
from confluent_kafka import KafkaError, Message, Producer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from connectors.json_commands import LineError
from connectors.views.reference import Reference
from infra.cluster import connected, engine_log
from infra.commands.in_force import in_force, units_in
from infra.commands.order_lines import Numbered, read_csv, read_ndjson
from infra.errors import OperatorError
from infra.reference_files import read_instruments
from infra.settings import KafkaConfig, Settings
from schemas import codec
from schemas.commands import ClientCommand
from schemas.topics import ORDERS

FLUSH_S: Final = 30  # a broker that takes nothing for so long is gone
FAULTS_SHOWN: Final = 20
SHOWN_EVERY: Final = 500  # lines between two movements of the bar


class Sent(msgspec.Struct):
    """What has become of the lines; ``delivered`` are acknowledged by Kafka."""

    lines: int = 0
    delivered: int = 0
    unreadable: int = 0
    undelivered: int = 0
    last_error: str = ""

    def on_delivery(self, error: KafkaError | None, _: Message) -> None:
        """Counts a delivery report."""
        if error is None:
            self.delivered += 1
        else:
            self.undelivered, self.last_error = self.undelivered + 1, error.str()


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format", "form", type=click.Choice(["ndjson", "csv"]), help="By the file's name unless told."
)
@click.option(
    "--instruments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file with the ticks and lots to count in; the running engine's own unless told.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON object.")
def send(*, file: IO[bytes], form: str | None, instruments: Path | None, as_json: bool) -> None:
    """Send orders from FILE (- is standard input), NDJSON or CSV, into `orders`, and say how fast that was.

    Fields are those of `trading simulate`: PlaceOrder, CancelOrder, ReplaceOrder (with its instrument) and
    MassCancel. A CSV's first row names the fields; without a column `command` every row is a PlaceOrder. Prices and
    quantities are decimals in the instrument's units. Lines that cannot be read are named, the others are sent; the
    exit code is then 1. Sending a file again is safe: the engine knows the ids.

    \b
    Example:
      trading send orders.csv
      echo '{"command":"PlaceOrder","account":"alice","client_order_id":"1","instrument":"BTC-USD","side":"BUY",
        "order_type":"LIMIT","time_in_force":"GTC","price":"236.05","quantity":"0.5"}' | tr -d '\\n' | trading send -
    """  # noqa: D301
    settings = Settings.load()
    units = _units(settings, instruments)
    is_csv = form == "csv" or (form is None and file.name.lower().endswith(".csv"))
    numbered = read_csv(file, units) if is_csv else read_ndjson(file, units)
    sent = Sent()
    with connected(settings) as kafka:
        started = time.monotonic()
        _send_all(kafka, numbered, file, sent)
        seconds = time.monotonic() - started
    rate = sent.delivered / seconds if seconds else 0.0
    if as_json:
        counts = {"sent": sent.delivered, "unreadable": sent.unreadable, "undelivered": sent.undelivered}
        click.echo(json.dumps({**counts, "seconds": round(seconds, 3), "per_second": round(rate)}))
    else:
        click.echo(f"{sent.delivered:,} commands sent to {ORDERS} in {seconds:.1f} s: {rate:,.0f} a second")
    if sent.undelivered:
        raise OperatorError(
            f"Kafka did not take {sent.undelivered} of {sent.lines} commands ({sent.last_error}): see that it runs and"
            " send the file again; what arrived is known by its id and not done twice"
        )
    if sent.unreadable:
        raise OperatorError(f"{sent.unreadable} of {sent.lines} lines were not sent, for the reasons above")


def _units(settings: Settings, instruments: Path | None) -> Reference:
    if instruments is None:
        with engine_log(settings) as log:
            return units_in(in_force(log, settings.env))
    reference = Reference()
    for instrument in read_instruments(instruments):
        reference.define(instrument)
    return reference


def _send_all(kafka: KafkaConfig, numbered: Iterator[Numbered], file: IO[bytes], sent: Sent) -> None:
    producer = Producer(
        {
            **kafka,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 5,
            "message.timeout.ms": FLUSH_S * 1000,
            "queue.buffering.max.messages": 200_000,
        }
    )
    with _bar(file) as (progress, task):
        for number, command in numbered:
            sent.lines += 1
            if fault := _fault(producer, command, sent):
                sent.unreadable += 1
                if sent.unreadable <= FAULTS_SHOWN:
                    progress.console.print(f"line {number}: {fault}", highlight=False, markup=False)
            if not sent.lines % SHOWN_EVERY:
                producer.poll(0)
                _move(progress, task, file, sent)
        sent.undelivered += producer.flush(FLUSH_S + 1)
        _move(progress, task, file, sent)
    if sent.unreadable > FAULTS_SHOWN:
        click.echo(f"... and {sent.unreadable - FAULTS_SHOWN} more", err=True)


def _fault(producer: Producer, command: ClientCommand | LineError, sent: Sent) -> str | None:
    if isinstance(command, LineError):
        return f"{command.reason}: {command}"
    assert command.account is not None, "the reader asks for it"
    try:
        value = codec.encode(command)
    except codec.EncodeError as error:  # a number beyond int64
        return f"number_out_of_range: {error}"
    while True:
        try:
            producer.produce(ORDERS, value, command.account, on_delivery=sent.on_delivery)
        except BufferError:  # the queue is full: Kafka is slower than the file
            producer.poll(0.1)
        else:
            return None


@contextmanager
def _bar(file: IO[bytes]) -> Iterator[tuple[Progress, TaskID]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.fields[sent]:,} sent"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TimeElapsedColumn(),
    )
    total = Path(file.name).stat().st_size if Path(file.name).is_file() else None
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task("orders", total=total, sent=0, rate=0.0)


def _move(progress: Progress, task: TaskID, file: IO[bytes], sent: Sent) -> None:
    rate = sent.delivered / max(progress.tasks[0].elapsed or 0.0, 1e-3)
    done = file.tell() if file.seekable() else None
    progress.update(task, completed=done, sent=sent.delivered, rate=rate)
