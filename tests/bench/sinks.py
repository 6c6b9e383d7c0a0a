"""What the sinks do: rows into Postgres, records into the archive, and what that costs the engine.

The backlog is real: the engine trades and the projection runs, with no server of the sinks. Then an engine on the
same topics has to store it, first in Postgres alone, then in the archive alone. When each row was committed Postgres
itself knows (``track_commit_timestamp``), so looking costs nothing while it is measured.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import SecretStr

from infra.archive.progress import progress
from infra.auditor.log import KafkaLog, Log
from infra.bench.command import scratch
from infra.bench.load import NS
from infra.bench.meters import cpu_of
from infra.bench.session import Latency, Session, engine_on, load_reference, pids_of, session
from infra.caught_up import archive_ends, are_archived, are_stored, step_until
from infra.database import with_database
from infra.embedded.broker import EmbeddedBroker
from infra.engine import SINK_WORKER, Engine
from infra.settings import Settings
from infra.sinks.servers import SinkServers
from infra.sinks.standing import spans_of
from schemas.sinks import SINKS
from schemas.topics import ACCOUNT_COMMANDS

FIRST_ORDERS: Final = 500
TIMEOUT_S: Final = 600.0
STILL_S: Final = 2.0
US: Final = 1e6
MB: Final = 1e6
QUANTILES: Final = (0.5, 0.99)
COMMIT_S: Final = 5  # as the demo has it: with a minute, most of the time would be waiting
FREE: Final = {
    "archive_commit_interval_s": COMMIT_S,
    "registry_url": "http://127.0.0.1:0/apis/ccompat/v7",
    "connect_url": "http://127.0.0.1:0",
    "postgres_url": SecretStr("postgresql://trading@127.0.0.1:0/trading"),
}
COMMITTED: Final = " UNION ALL ".join(
    f"SELECT pg_xact_commit_timestamp(xmin) AS at FROM trading.{sink.table}"  # noqa: S608 - names of our own
    for sink in SINKS
)
LAGS: Final = """
    SELECT percentile_disc($2::float8[]) WITHIN GROUP (
        ORDER BY extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 - at_ns / 1000000.0
    ) FROM trading.trades WHERE at_ns >= $1
"""


class Drained(NamedTuple):
    """A backlog that went into Postgres: flat records, in so many seconds, and the CPU of each process for one."""

    records: int
    orders: int
    seconds: float
    cpu_us: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


class Stored(NamedTuple):
    """What went into the archive: records, their values' bytes, and the seconds from its connector's start.

    The first commit comes late (the connector joins, finds the topics, waits for its interval): so it is told apart.
    """

    records: int
    size: int
    first_s: float
    seconds: float


@contextmanager
def place() -> Iterator[tuple[Settings, EmbeddedBroker]]:
    """A broker of its own: what other parts traded would be in the backlog."""
    with scratch() as (settings, broker):
        yield settings.model_copy(update={"kafka_bootstrap": broker.bootstrap}), broker


def fill(settings: Settings, broker: EmbeddedBroker, records: int) -> int:
    """Let the engine trade until the flat topics hold so many records; how many orders it took."""
    ours = settings.model_copy(update={"workers": (*settings.workers, SINK_WORKER), "sinks": False})
    with session(ours, broker) as running, closing(KafkaLog(settings.kafka())) as log:
        orders = running.flood(FIRST_ORDERS)
        _until_still(log)
        while (have := _flat_records(log)) < records:
            orders += running.flood(max(FIRST_ORDERS, (records - have) * orders // max(have, 1)))
            _until_still(log)
        return orders


def drain(settings: Settings, broker: EmbeddedBroker, orders: int) -> Drained:
    """Start the sinks without the archive, and wait until every flat record of so many orders is a row."""
    with _sinking(settings.model_copy(update={"archive": False}), broker) as engine:
        pids = pids_of(engine, broker)
        cpu = cpu_of(pids)
        with closing(KafkaLog(settings.kafka())) as log:
            _until(engine, "the rows", lambda: are_stored(engine.settings, log))
            records = _flat_records(log)
        spent = {
            name: (now - cpu[name]) * US / records for name, now in cpu_of(pids).items() if now > cpu[name]
        }
        first, last = with_database(engine.settings, _span)
        return Drained(records, orders, (last - first).total_seconds(), spent)


@contextmanager
def archived(settings: Settings, broker: EmbeddedBroker) -> Iterator[tuple[Engine, Stored]]:
    """An engine with all sinks, once its archive has what stood on the topics when it was asked for."""
    with _sinking(settings, broker) as engine:
        begun_s = time.monotonic()
        ends = archive_ends(engine.settings)
        _until(engine, "the archive's first commit", lambda: _has_begun(engine.settings))
        first_s = time.monotonic() - begun_s
        _until(engine, "the archive", lambda: are_archived(engine.settings, ends))
        took_s = time.monotonic() - begun_s
        with closing(KafkaLog(settings.kafka())) as log:
            sizes = [
                len(record.value or b"")
                for place, end in ends.items()
                for record in log.read(place, (log.bounds(place)[0], end))
            ]
        yield engine, Stored(len(sizes), sum(sizes), first_s, took_s)


def lag_ms(
    engine: Engine, broker: EmbeddedBroker, rate: float, seconds: float, warm_up_s: float
) -> list[float]:
    """From when the order of a trade was due to when the trade's row was committed: p50 and p99, at a rate."""
    running = Session(engine, broker)
    load_reference(engine.settings)
    running.latency(ACCOUNT_COMMANDS, rate, seconds, warm_up_s)
    since_ns = time.time_ns() - int(seconds * NS)
    with closing(KafkaLog(engine.settings.kafka())) as log:
        _until(engine, "the rows", lambda: are_stored(engine.settings, log))

    async def ask(connection: Any) -> list[float]:
        return [float(it) for it in await connection.fetchval(LAGS, since_ns, list(QUANTILES))]

    return with_database(engine.settings, ask)


def cost(rate: float, seconds: float, warm_up_s: float, turns: int) -> Iterator[tuple[bool, Latency]]:
    """The engine's latency without the sinks and with them, in turn, each on a broker of its own."""
    for has_sinks in (False, True) * turns:
        with scratch() as (settings, broker), _engine(settings, broker, has_sinks) as engine:
            load_reference(engine.settings)
            yield has_sinks, Session(engine, broker).latency(ACCOUNT_COMMANDS, rate, seconds, warm_up_s)


def _engine(settings: Settings, broker: EmbeddedBroker, has_sinks: bool) -> AbstractContextManager[Engine]:
    return _sinking(settings, broker) if has_sinks else engine_on(settings, broker)


@contextmanager
def _sinking(settings: Settings, broker: EmbeddedBroker) -> Iterator[Engine]:
    """An engine with its sinks' servers, once its connectors run."""
    with engine_on(settings.model_copy(update={"sinks": True, **FREE}), broker) as engine:
        _until(engine, "the sinks' servers", lambda: _sinks(engine).all_done)
        yield engine


def _sinks(engine: Engine) -> SinkServers:
    assert engine.sinks is not None, "they were asked for"
    return engine.sinks


def _flat_records(log: Log) -> int:
    spans = spans_of(log, [sink.topic for sink in SINKS])
    return sum(end - begin for begin, end in spans.values())


def _until_still(log: Log) -> None:
    """Waits until the projection has nothing left to say."""
    before = -1
    while (now := _flat_records(log)) != before:
        before = now
        time.sleep(STILL_S)


def _has_begun(settings: Settings) -> bool:
    return any(it.archived for it in progress(settings))


def _until(engine: Engine, what: str, condition: Callable[[], bool]) -> None:
    step_until(engine, what, condition, TIMEOUT_S)


async def _span(connection: Any) -> tuple[datetime, datetime]:
    """When the first row was committed that is there now, and the last."""
    row = await connection.fetchrow(f"SELECT min(at), max(at) FROM ({COMMITTED}) AS rows")  # noqa: S608
    return row[0], row[1]
