"""``python -m tests.bench.sealing [--kafka]``: what sealing and verifying cost.

Without ``--kafka`` the rules alone, in this process; with it a worker that seals a backlog on a broker of its own,
and then the verification of that.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import click
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from agents.rules.audit import Chain, seal_text
from infra.auditor.log import LogRecord
from infra.cluster import engine_log
from infra.engine import Engine
from infra.errors import OperatorError
from infra.processes import wait_until
from infra.sealing.keys import generate, key_file, private, trusted
from infra.sealing.verify import verify
from infra.settings import Settings
from schemas import codec
from schemas.audit import Seal
from schemas.topics import SEALS, TRADES

RECORDS: Final = 1_000_000
ALONE: Final = 200_000
VALUE: Final = bytes(250)  # an order's answers: the most of what the engine writes
SEALS_SIGNED: Final = 2_000
TIMEOUT_S: Final = 180
MB: Final = 1e6
GB: Final = 1e9
HOUR_MS: Final = 3_600_000
Row = tuple[str, str]


def alone() -> Iterator[Row]:
    """The rules in this process."""
    with TemporaryDirectory() as folder:
        settings = Settings(data_folder=Path(folder))
        generate(key_file(settings))
        key, trust = private(settings), trusted(settings)
    records = [LogRecord(offset, offset, None, VALUE) for offset in range(ALONE)]
    chain = Chain("account-events", 0, 0, None, key)
    begun_s = time.perf_counter()
    sealed = list(chain.take(records))
    took_s = time.perf_counter() - begun_s
    yield (
        "seal, rules alone",
        f"{took_s / ALONE * 1e6:.2f} us a record, {ALONE * len(VALUE) / MB / took_s:.0f} MB/s",
    )
    text = seal_text(sealed[0].seal)
    begun_s = time.perf_counter()
    signatures = [key.sign(text) for _ in range(SEALS_SIGNED)]
    yield "sign a seal", f"{(time.perf_counter() - begun_s) / SEALS_SIGNED * 1e6:.0f} us"
    begun_s = time.perf_counter()
    assert all(trust[key.key_id].has_signed(text, it) for it in signatures)
    yield "check a signature", f"{(time.perf_counter() - begun_s) / SEALS_SIGNED * 1e6:.0f} us"


class Sealing(NamedTuple):
    """A backlog of so many records and bytes: the seconds to produce it, to seal it meanwhile, and to verify it."""

    records: int
    size: int
    produced_s: float
    sealed_s: float
    verified_s: float

    @property
    def gb_a_minute(self) -> float:
        """How fast it is verified."""
        return self.size / GB / self.verified_s * 60


def measure(records: int = RECORDS) -> Sealing:
    """A backlog sealed by a worker on a broker of its own, and verified."""
    with TemporaryDirectory(prefix="trading-bench-") as folder:
        settings = Settings.load(
            data_folder=Path(folder),
            kafka_bootstrap="127.0.0.1:0",
            broker_controller_port=0,
            views_port=0,
            account_partitions=1,
            book_partitions=1,
            workers=("audit",),
            sinks=False,
        )
        with Engine(settings) as engine:
            begun_s = time.perf_counter()
            _produce(engine, records)
            produced_s = time.perf_counter() - begun_s
            if not wait_until(lambda: _sealed_to(engine) >= records - 1, TIMEOUT_S):
                raise OperatorError("the backlog was not sealed in time")
            sealed_s = time.perf_counter() - begun_s
            with engine_log(engine.settings) as log:
                begun_s = time.perf_counter()
                found = verify(log, trusted(engine.settings), [(TRADES, 0)], now_ms=time.time_ns() // 10**6)
                verified_s = time.perf_counter() - begun_s
            assert not found.count, found.findings
    return Sealing(records, records * len(VALUE), produced_s, sealed_s, verified_s)


def on_kafka() -> Iterator[Row]:
    """The same as rows of the table."""
    it = measure()
    yield "produce the backlog", f"{it.size / MB / it.produced_s:.0f} MB/s"
    yield (
        "seal it by a worker meanwhile",
        f"{it.records / it.sealed_s:,.0f} records/s, {it.size / MB / it.sealed_s:.0f} MB/s, to its end",
    )
    yield "verify it", f"{it.records / it.verified_s:,.0f} records/s, {it.gb_a_minute:.1f} GB/min"


def _produce(engine: Engine, records: int) -> None:
    """An hour of log time, and one record more than a minute behind it, which closes the last segment."""
    producer = Producer(engine.settings.kafka(linger_ms=50))
    base_ms = (int(time.time()) // 60 - 120) * 60_000
    for number in range(records):
        at_ms = base_ms + number * HOUR_MS // records
        while True:
            try:
                producer.produce(TRADES, VALUE, None, 0, timestamp=at_ms)
                break
            except BufferError:
                producer.poll(0.1)
    producer.produce(TRADES, b"later", None, 0, timestamp=base_ms + HOUR_MS + 120_000)
    producer.flush()


def _sealed_to(engine: Engine) -> int:
    engine.step()
    with engine_log(engine.settings) as log:
        last = -1
        for record in log.read((SEALS, 0), log.bounds((SEALS, 0))):
            seal = codec.decode(record.value or b"")
            if isinstance(seal, Seal) and seal.topic == TRADES:
                last = seal.last_offset
    return last


@click.command()
@click.option("--kafka", is_flag=True, help="Measure a worker on a broker too.")
def main(*, kafka: bool) -> None:
    """Measure."""
    table = Table("what", "cost")
    for row in alone():
        table.add_row(*row)
    for row in on_kafka() if kafka else ():
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
