"""The archive's connector on real servers: every record of Kafka comes into the bucket, whatever is killed."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from infra.archive import retention
from infra.archive.progress import progress
from infra.archive.retention import FOREVER, HELD, PROGRAM, in_force, retentions
from infra.archive.watch import Watch
from infra.cli import main
from infra.database import with_database
from infra.processes import free_ports
from infra.sinks.connect import Connect
from infra.sinks.connectors import ARCHIVE, CONTROL_TOPIC
from infra.supervisor import Program, State, Supervisor, answers
from infra.workers import Worker
from schemas import codec
from schemas.audit import Act
from schemas.topics import AUDIT, DAY_MS, ORDERS, TRADES, orders_of
from tests.integration.archive_town import ArchiveTown, archive_town

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def town() -> Iterator[ArchiveTown]:
    """One town that archives into its folder."""
    with archive_town() as it:
        yield it


def test_a_folder_gets_every_record_through_kills(town: ArchiveTown) -> None:
    """Connect is killed by -9 with records on their way, and a topic is made meanwhile: all is archived as it was."""
    town.until_archived()
    town.send(3_000)
    town.kill_connect()
    town.make_topic(orders_of("acme").name)
    town.send(1_000)
    town.send(10, orders_of("acme").name)
    town.until_archived()
    assert town.in_archive() == town.in_kafka()
    assert len(town.in_kafka()) == 4 * 4_100 + 10


def test_the_sinks_role_owns_the_catalogue_alone(town: ArchiveTown) -> None:
    """The connector made its catalogue as the role of the sinks, which has won no right over the engine's tables."""

    async def ask(connection: Any) -> tuple[str, bool, bool]:
        role = town.settings.sink_postgres_user
        owner = await connection.fetchval(
            "SELECT tableowner FROM pg_tables WHERE tablename = 'iceberg_tables'"
        )
        may = "SELECT has_table_privilege($1, 'trading.trades', $2)"
        return (
            owner,
            await connection.fetchval(may, role, "DELETE"),
            await connection.fetchval(may, role, "TRUNCATE"),
        )

    town.until_archived()
    assert with_database(town.settings, ask) == (town.settings.sink_postgres_user, False, False)


def test_progress_is_what_the_bucket_holds(town: ArchiveTown) -> None:
    """What the connector's books say is archived is what a reader of the bucket finds, place by place."""
    town.until_archived()
    found = {(it.topic, it.partition): it for it in progress(town.settings)}
    ends = town.ends_in_archive()
    assert {place: it.archived for place, it in found.items() if it.archived is not None} == ends
    assert {it.behind for it in found.values()} == {0}
    assert {ORDERS, AUDIT, CONTROL_TOPIC.name} & {topic for topic, _ in found} == {ORDERS, AUDIT}


def test_nothing_expires_while_the_archive_has_stopped(town: ArchiveTown) -> None:
    """Looked at twice, a stopped archive is an alarm and a hold; when it has caught up, that is over. Both are acts.

    What somebody set by hand is as it was.
    """
    watch, by_hand = Watch(), {ORDERS: str(30 * DAY_MS), TRADES: FOREVER}
    retention._alter(town.settings, by_hand)
    normal = retentions(town.settings) | by_hand
    town.until_archived()
    assert watch(town.settings) is None
    assert in_force(town.settings) == normal
    with Connect(town.settings.connect_url) as connect:
        connect.stop(ARCHIVE)
        town.send(10, ORDERS)
        assert watch(town.settings) is None  # it may be a restart
        assert "the archive has stopped" in (watch(town.settings) or "")
        held = {name: str(HELD + int(value)) for name, value in normal.items() if value != FOREVER}
        assert in_force(town.settings) == held | {TRADES: FOREVER}
        assert watch(town.settings) is None  # it is said once
        shown = CliRunner(env=town.settings.environment()).invoke(main, ["archive", "status", "--json"])
        assert shown.exit_code == 1
        told = json.loads(shown.stdout)
        assert told["held"] == sorted(held)
        assert sum(it["behind"] for it in told["places"] if it["topic"] == ORDERS) == 20
        connect.resume(ARCHIVE)
    said = list[str | None]()

    def is_over() -> bool:
        said.append(watch(town.settings))
        return in_force(town.settings) == normal

    town.until(is_over, "the hold is over")
    assert [it for it in said if it] == ["the archive is up to date again"]
    assert [(it.action, it.outcome) for it in acts(town)] == [
        ("HOLD_RETENTION", "ASKED"),
        ("HOLD_RETENTION", "APPLIED"),
        ("RELEASE_RETENTION", "ASKED"),
        ("RELEASE_RETENTION", "APPLIED"),
    ]


def acts(town: ArchiveTown) -> list[Act]:
    """The acts of the worker, of all that is on the topic."""
    found = []
    for record in town.log.read((AUDIT, 0), town.log.bounds((AUDIT, 0))):
        try:
            act = codec.decode(record.value or b"")
        except codec.DecodeError:
            continue  # what the town sent
        if isinstance(act, Act) and act.program == PROGRAM:
            found.append(act)
    return found


def test_the_worker_tells_prometheus(town: ArchiveTown) -> None:
    """`trading worker archive` is ready at once and shows how far the archive is behind; it ends by SIGTERM."""
    town.until_archived()
    (port,) = free_ports(1)
    settings, url = town.settings.model_copy(update={"views_port": port}), f"http://127.0.0.1:{port}"
    program = Program(
        "archive", Worker(("archive",)).command(), settings.environment(), answers(f"{url}/health/ready")
    )
    worker = Supervisor([program], settings.data_folder / "logs")
    worker.start()

    def metrics() -> str:
        worker.step()
        if not worker.all_ready():
            return ""
        with urlopen(f"{url}/metrics") as answer:  # noqa: S310 - our own, on loopback
            return str(answer.read(), "utf-8")

    town.until(lambda: "trading_archive_running 1.0" in metrics(), "the worker has looked")
    assert re.search(r'trading_archive_behind_seconds\{partition="0",topic="orders"\} 0.0', metrics())
    worker.stop(10)
    assert worker.states() == {"archive": State.STOPPED}
