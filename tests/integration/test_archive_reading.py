"""What the real connector writes, read by the engine's own commands beside the Kafka that it came from."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from infra.archive.bucket import Bucket
from infra.archive.catalogue import catalogue, load
from infra.archive.compact import compact, tasks
from infra.archive.holdings import holdings
from infra.archive.log import ArchiveLog
from infra.cli import main
from infra.sealing.keys import generate, key_file
from schemas.topics import ORDERS
from tests.integration.archive_town import ArchiveTown, archive_town
from tests.unit.infra.archive.archived import as_table, rewrite, rows_of

pytestmark = pytest.mark.slow
EVERY_DAY = range(100_000)


@pytest.fixture(scope="module")
def town() -> Iterator[ArchiveTown]:
    """One town that archives into its folder, and has a key of seals, though it seals nothing."""
    with archive_town() as it, pytest.MonkeyPatch.context() as patch:
        generate(key_file(it.settings))
        for name, value in it.settings.environment().items():
            patch.setenv(name, value)
        yield it


def verified() -> tuple[int, Any]:
    """The exit code, and what `trading archive verify` says."""
    result = CliRunner().invoke(main, ["archive", "verify", "--kafka", "--json"])
    assert result.exit_code in {0, 1}, result.output
    return result.exit_code, json.loads(result.stdout)


def test_the_archive_equals_kafka(town: ArchiveTown) -> None:
    """Each record that both have is compared, and is the same; the list counts them."""
    town.send(500)
    town.until_archived()
    code, said = verified()
    assert (code, said["findings"]) == (0, [])
    assert sum(it["records"] for it in said["overlaps"]) == len(town.in_kafka())
    listed = list(holdings(ArchiveLog(Bucket.of(town.settings))))
    assert sum(it.records for it in listed) == len(town.in_kafka())


def test_compaction_goes_between_the_connectors_commits(town: ArchiveTown) -> None:
    """The connector, which commits each second, goes on upon what compaction has committed."""
    for _ in range(3):
        town.send(200)
        town.until_archived()
    bucket = Bucket.of(town.settings)
    before = len(ArchiveLog(bucket).files(ORDERS))
    with catalogue(town.settings) as catalog:
        for task in tasks(bucket, load(catalog), EVERY_DAY):
            town.send(20)
            assert compact(catalog, bucket, task) is not None
    assert len(ArchiveLog(bucket).files(ORDERS)) < before
    town.send(200)
    town.until_archived()
    assert town.in_archive() == town.in_kafka()
    town.kill_connect()
    town.send(200)
    town.until_archived()
    assert town.in_archive() == town.in_kafka()


def test_a_changed_record_is_named_by_kafka(town: ArchiveTown) -> None:
    """No seal covers it yet, and Kafka still has it."""
    town.until_archived()
    folder = Path(town.settings.archive_root.removeprefix("file://"))
    file = next(it for it in ArchiveLog(Bucket.of(town.settings)).files(ORDERS))
    rows = rows_of(folder / file.path)
    place, record = rows[5]
    rewrite(folder / file.path, as_table([*rows[:5], (place, record._replace(value=b"changed")), *rows[6:]]))
    code, said = verified()
    assert code == 1
    assert [(it["kind"], it["topic"], it["partition"], it["offset"]) for it in said["findings"]] == [
        ("unlike_kafka", *place, record.offset)
    ]
