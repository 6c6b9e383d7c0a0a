"""The archive on S3: on moto, and on versitygw with real keys and every object locked, with faults of the server."""

import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from infra.commands.archive_status import status as status_command
from infra.sinks.connectors import ARCHIVE
from tests.integration.archive_town import ArchiveTown, archive_town
from tests.integration.s3 import BUCKET, PREFIX, S3, Faults, faults, moto, versitygw, versitygw_program

pytestmark = pytest.mark.slow

PROGRAM = versitygw_program()
needs_versitygw = pytest.mark.skipif(
    PROGRAM is None, reason="versitygw is not here: .ci/run builds it where there is Go"
)


def status(town: ArchiveTown) -> Result:
    """Run `trading archive status --json`."""
    return CliRunner(env=town.settings.environment()).invoke(status_command, ["--json"])


def test_moto_gets_every_record_through_a_kill() -> None:
    """The same connector's file archives to S3; Connect killed by -9 in between loses and changes nothing."""
    with moto() as s3, archive_town(**s3.settings()) as town:
        town.until_archived()
        town.send(2_000)
        town.kill_connect()
        town.until_archived()
        assert town.in_archive() == town.in_kafka()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One versitygw for all of these tests."""
    assert PROGRAM is not None
    with versitygw(PROGRAM, tmp_path_factory.mktemp("s3")) as it:
        yield it


@pytest.fixture(scope="module")
def proxy(server: S3) -> Iterator[Faults]:
    """What stands before it."""
    with faults(server) as it:
        yield it


@pytest.fixture(scope="module")
def town(proxy: Faults, server: S3) -> Iterator[ArchiveTown]:
    """One town that archives there, through the proxy."""
    with archive_town(**server.settings(archive_s3_endpoint=proxy.endpoint)) as it:
        yield it


@needs_versitygw
def test_what_is_archived_is_locked(town: ArchiveTown, server: S3) -> None:
    """A kill loses nothing; no version of any object can be deleted, not even by the key that wrote it."""
    town.until_archived()
    town.send(1_000)
    town.kill_connect()
    town.until_archived()
    assert town.in_archive() == town.in_kafka()
    versions = server.client().list_object_versions(Bucket=BUCKET, Prefix=f"{PREFIX}/archive/raw/data/")[
        "Versions"
    ]
    one = versions[0]
    with pytest.raises(ClientError, match="AccessDenied"):
        server.client().delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])


@needs_versitygw
def test_a_slow_server_is_waited_for(town: ArchiveTown, proxy: Faults) -> None:
    """Each answer a second late: commits take longer, nothing fails."""
    proxy.delay_s = 1.0
    town.send(500)
    town.until_archived()
    proxy.delay_s = 0.0
    assert proxy.delayed
    assert town.in_archive() == town.in_kafka()


@needs_versitygw
def test_a_failing_server_is_tried_again(town: ArchiveTown, proxy: Faults) -> None:
    """While it answers 503 the status says what stops it and ends with 1; then the archive goes on by itself."""
    proxy.failing_writes = True
    town.send(500)
    town.until(town.has_failed, "the task has failed")
    failed = status(town)
    assert failed.exit_code == 1
    assert f"connector {ARCHIVE} failed" in json.loads(failed.stdout)["stopped"]
    assert "503" in json.loads(failed.stdout)["stopped"]
    proxy.failing_writes = False
    town.until(lambda: status(town).exit_code == 0, "it goes on")
    town.until_archived()
    assert proxy.failed
    assert town.in_archive() == town.in_kafka()


@needs_versitygw
def test_a_wrong_key_is_said(server: S3) -> None:
    """Connect's task fails with the server's word, and the bucket says in one line which settings to check."""
    wrong = server.settings(archive_url=f"s3://{BUCKET}/other", archive_s3_secret_key="wrong")  # noqa: S106
    with archive_town(**wrong) as town:
        town.until(town.has_failed, "the task has failed")
        stopped = json.loads(status(town).stdout)["stopped"]
    assert f"connector {ARCHIVE} failed" in stopped
    assert "\n" not in stopped
    assert "signature" in stopped.lower()
