"""A broker, Postgres and Connect that archives: what the tests of the archive's connector look at."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from confluent_kafka import Producer

from connectors.sql.migrate import migrate
from infra import topics_admin
from infra.archive.bucket import Bucket
from infra.archive.log import ArchiveLog
from infra.archive.progress import progress
from infra.auditor.log import KafkaLog, Log, Place
from infra.database import with_database
from infra.embedded.broker import EmbeddedBroker
from infra.errors import OperatorError
from infra.processes import wait_until
from infra.settings import Settings
from infra.sinks import connectors
from infra.sinks.addresses import with_ports
from infra.sinks.connect import Connect, ConnectorState
from infra.sinks.servers import _programs
from infra.supervisor import State, Supervisor
from schemas.topics import AUDIT, ORDERS

TIMEOUT_S: Final = 60
PARTITIONS: Final = 2
CONNECT: Final = "connect"
JOURNAL: Final = "kafkasql-journal"

Records = dict[tuple[Place, int], tuple[int, bytes | None]]
"""Time and value of each record, by its place."""


class ArchiveTown:
    """The servers, and what is in Kafka and has to come into the archive."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bucket = Bucket.of(settings)  # what a test looks into: another's, where a proxy stands before it
        self.lines: list[str] = []
        self.log = KafkaLog(settings.kafka())
        self.servers = Supervisor(
            list(_programs(settings)), settings.data_folder / "logs", report=self.lines.append
        )
        self._producer = Producer(settings.kafka())
        self._count = 0

    def send(self, count: int, *topics: str) -> None:
        """Write that many records to each partition of some topics, each unlike any other; some are tombstones."""
        for topic in topics or (ORDERS, AUDIT, JOURNAL):
            for partition in range(self.log.topics()[topic]):
                for _ in range(count):
                    self._count += 1
                    value = (
                        None if self._count % 10 == 0 else f"record {self._count} \0\xff".encode("latin-1")
                    )
                    self._producer.produce(topic, value, partition=partition)
                    self._producer.poll(0)
        assert self._producer.flush(TIMEOUT_S) == 0

    def make_topic(self, name: str) -> None:
        """Make a topic of one partition."""
        topics_admin.ensure(self.settings, [topics_admin.Wanted(name, 1, ())])

    def until(self, condition: Callable[[], bool], what: str, timeout_s: float = TIMEOUT_S) -> None:
        """Step the servers until it holds."""

        def stepped() -> bool:
            self.servers.step()
            return condition()

        assert wait_until(stepped, timeout_s), (what, self.lines, self.state())

    def until_archived(self, timeout_s: float = TIMEOUT_S) -> None:
        """Step until the archive ends where Kafka does."""
        self.until(self._is_archived, "all is archived", timeout_s)

    def kill_connect(self) -> None:
        """End Connect by kill -9, and step until that is seen."""
        self.servers.kill(CONNECT)
        self.until(lambda: self.servers.states()[CONNECT] is not State.READY, "Connect is seen dead")

    def state(self) -> ConnectorState | None:
        """What the archive's connector does, None while Connect does not know."""
        with Connect(self.settings.connect_url, 5) as connect:
            return connect.states().get(connectors.ARCHIVE)

    def has_failed(self) -> bool:
        """Whether the archive's task has failed."""
        state = self.state()
        return state is not None and state.failure is not None

    def records(self, log: Log) -> Records:
        """All that a log has of the topics that are to be archived."""
        return {
            (place, it.offset): (it.timestamp_ms, it.value)
            for place in self._places(log)
            for it in log.read(place, log.bounds(place))
        }

    def in_kafka(self) -> Records:
        """What Kafka has."""
        return self.records(self.log)

    def in_archive(self) -> Records:
        """What the bucket has, repeats dropped."""
        return self.records(ArchiveLog(self.bucket))

    def ends_in_archive(self) -> dict[Place, int]:
        """The offset behind the last record of each place that the bucket has."""
        log = ArchiveLog(self.bucket)
        return {place: end for place in self._places(log) if (end := log.bounds(place)[1])}

    def _is_archived(self) -> bool:
        try:
            return not any(it.behind for it in progress(self.settings))
        except OperatorError:  # the server's fault, which the test wills
            return False

    def _places(self, log: Log) -> list[Place]:
        topics = log.topics()
        archived = connectors.topics_of(connectors.templates()[connectors.ARCHIVE], topics)
        return [(topic, partition) for topic in archived for partition in range(topics[topic])]


@contextmanager
def archive_town(**settings: object) -> Iterator[ArchiveTown]:
    """Run one, until its connector is applied; the first records are older than it."""
    folder = Path(tempfile.mkdtemp(prefix="archive-"))
    folder.chmod(0o755)  # whoever Postgres runs as has to come in
    broker = EmbeddedBroker(folder / "broker")
    broker.start()
    usual = {
        "sinks": True,
        "data_folder": folder,
        "kafka_bootstrap": broker.bootstrap,
        "embedded_registry": False,
        "connect_url": "http://127.0.0.1:0",
        "postgres_url": "postgresql://trading@127.0.0.1:0/trading",
        "account_partitions": PARTITIONS,
        "book_partitions": PARTITIONS,
        "archive_commit_interval_s": 1,
    }
    chosen = with_ports(Settings.load(**(usual | settings)))
    topics_admin.ensure(chosen)
    town = ArchiveTown(chosen)
    try:
        town.make_topic(JOURNAL)
        town.send(100)
        town.servers.start()
        town.until(town.servers.all_ready, "the servers are ready")
        with_database(chosen, lambda connection: migrate(connection, writers=(chosen.sink_postgres_user,)))
        connectors.prepare(chosen)
        with Connect(chosen.connect_url) as connect:
            connectors.apply(connect, {connectors.ARCHIVE: connectors.wanted(chosen)[connectors.ARCHIVE]})
        yield town
    finally:
        town.servers.stop(5)
        town.log.close()
        broker.stop()
        shutil.rmtree(folder)
