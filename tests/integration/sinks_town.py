"""A broker with the sinks' servers, and trades on their topic: what the tests of the sinks look at."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from confluent_kafka import Message, Producer

from infra import topics_admin
from infra.database import DatabaseError, with_database
from infra.embedded.broker import EmbeddedBroker
from infra.processes import wait_until
from infra.settings import Settings
from infra.sinks.servers import SinkServers
from infra.supervisor import State
from schemas import codec
from schemas.flat import FlatTrade
from schemas.topics import TRADES_FLAT

TIMEOUT_S: Final = 90
PARTITIONS: Final = 2
CONNECTOR: Final = "postgres-trades"


class Town:
    """The servers, and the trades that were written and have to come into the table."""

    def __init__(self, settings: Settings) -> None:
        self.lines: list[str] = []
        self.sinks = SinkServers(settings, self.lines.append)
        self.settings = self.sinks.settings
        self.sent: dict[int, FlatTrade] = {}
        self._producer = Producer(self.settings.kafka())

    def send(self, count: int) -> None:
        """Write that many more trades, to both partitions in turn."""
        for _ in range(count):
            trade = trade_of(len(self.sent) + 1)
            self.sent[trade.trade_id] = trade
            self._producer.produce(TRADES_FLAT, codec.encode(trade), partition=trade.trade_id % PARTITIONS)
            self._producer.poll(0)
        assert self._producer.flush(TIMEOUT_S) == 0

    def write(self, value: bytes, partition: int) -> int:
        """Write one value of any content, and give its offset."""
        written: list[Message] = []
        self._producer.produce(
            TRADES_FLAT, value, partition=partition, on_delivery=lambda _, message: written.append(message)
        )
        assert self._producer.flush(TIMEOUT_S) == 0
        assert written[0].error() is None
        return written[0].offset() or 0

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Step the servers until it holds."""

        def stepped() -> bool:
            self.sinks.step()
            return condition()

        assert wait_until(stepped, TIMEOUT_S), (what, self.lines)

    def until_stored(self) -> None:
        """Step until the table has as many rows as trades were written."""
        self.until(lambda: self.count() >= len(self.sent), f"{self.count()} of {len(self.sent)} rows")

    def until_more_than(self, count: int) -> int:
        """Step until the table has more rows than that, and give how many."""
        self.until(lambda: self.count() > count, f"more than {count} rows")
        return self.count()

    def until_seen_dead(self, server: str) -> None:
        """Step until it is known that a server was killed."""
        self.until(lambda: self.sinks.states()[server] is not State.READY, f"{server} is seen dead")

    def count(self) -> int:
        """How many rows the table has; -1 while Postgres is away."""
        try:
            return int(self._ask("SELECT count(*) AS n FROM trading.trades")[0]["n"])
        except DatabaseError:
            return -1

    def rows(self) -> dict[int, FlatTrade]:
        """What the table has, as records, each trade once."""
        found = [msgspec.convert(dict(row), FlatTrade) for row in self._ask("SELECT * FROM trading.trades")]
        assert len({it.trade_id for it in found}) == len(found)
        return {it.trade_id: it for it in found}

    def until_alarm(self) -> None:
        """Step until it is said, once more than before, that the connector has stopped for good."""
        alarm = f"connector {CONNECTOR} has stopped"

        def alarms() -> int:
            return sum(line.startswith(alarm) for line in self.lines)

        before = alarms()
        self.until(lambda: alarms() > before, "an alarm")

    def _ask(self, query: str) -> list[Any]:
        async def fetch(connection: Any) -> list[Any]:
            rows: list[Any] = await connection.fetch(query)
            return rows

        return with_database(self.settings, fetch)


@contextmanager
def town() -> Iterator[Town]:
    """Run one, with the first trades written before it has a registry, until its connectors are applied."""
    folder = Path(tempfile.mkdtemp(prefix="sinks-"))
    folder.chmod(0o755)  # whoever Postgres runs as has to come in
    broker = EmbeddedBroker(folder / "broker")
    broker.start()
    settings = Settings.load(
        sinks=True,
        data_folder=folder,
        kafka_bootstrap=broker.bootstrap,
        registry_url="http://127.0.0.1:0/apis/ccompat/v7",
        connect_url="http://127.0.0.1:0",
        postgres_url="postgresql://trading@127.0.0.1:0/trading",
        account_partitions=PARTITIONS,
        book_partitions=PARTITIONS,
    )
    topics_admin.ensure(settings)
    running = Town(settings)
    try:
        running.send(1_000)
        running.sinks.start()
        running.until(lambda: running.sinks.all_done, "the sinks are ready")
        yield running
    finally:
        running.sinks.stop()
        broker.stop()
        shutil.rmtree(folder)


def trade_of(number: int) -> FlatTrade:
    """A trade of that id, unlike any other."""
    return FlatTrade(
        epoch=1,
        trade_id=number,
        instrument="BTC-USD",
        price_ticks=7_000_000 + number,
        quantity_lots=number % 97 + 1,
        aggressor_side="BUY" if number % 3 else "SELL",
        maker_order_id=2 * number,
        maker_client_order_id=f"maker-{number}",
        maker_account=f"acct-{number % 7}",
        taker_order_id=2 * number + 1,
        taker_client_order_id=f"taker-{number}",
        taker_account=f"acct-{number % 11}",
        at_ns=1_790_000_000_000_000_000 + number,
    )
