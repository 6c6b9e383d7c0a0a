"""The archive's connector on real servers: every record of Kafka comes into the bucket, whatever is killed."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.commands.db import with_database
from schemas.topics import orders_of
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
