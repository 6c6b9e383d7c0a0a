"""The archive on S3: on moto, and on versitygw with real keys and every object locked, with faults of the server."""

import json
from collections.abc import Iterator

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result
from pydantic import SecretStr

from infra.archive.bucket import ArchiveError, Bucket
from infra.cli import main
from infra.sinks import connectors
from infra.sinks.connectors import ARCHIVE
from schemas.topics import ORDERS
from tests.integration.archive_town import ArchiveTown, archive_town
from tests.integration.s3 import (
    ACCESS_KEY,
    BUCKET,
    PREFIX,
    S3,
    SECRET_KEY,
    Faults,
    faults,
    moto,
    versitygw,
    versitygw_program,
)

pytestmark = pytest.mark.slow

PROGRAM = versitygw_program()
needs_versitygw = pytest.mark.skipif(
    PROGRAM is None, reason="versitygw is not here: .ci/run builds it where there is Go"
)


def run(town: ArchiveTown, *words: str) -> Result:
    """Run `trading`."""
    return CliRunner(env=town.settings.environment()).invoke(main, words)


def status(town: ArchiveTown) -> Result:
    """Run `trading archive status --json`."""
    return run(town, "archive", "status", "--json")


def test_moto_gets_every_record() -> None:
    """The same connector's file archives to S3."""
    with moto() as s3, archive_town(**s3.settings()) as town:
        town.send(2_000)
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
        it.bucket = Bucket.at(
            server.url, endpoint=server.endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY
        )
        yield it


@needs_versitygw
def test_what_is_archived_is_locked(town: ArchiveTown, server: S3) -> None:
    """No version of an object can be deleted, not even by the key that wrote it."""
    town.until_archived()
    assert town.in_archive() == town.in_kafka()
    data = f"{PREFIX}/archive/raw/data/"
    one = server.client().list_object_versions(Bucket=BUCKET, Prefix=data)["Versions"][0]
    with pytest.raises(ClientError, match="AccessDenied"):
        server.client().delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])


@needs_versitygw
def test_a_slow_server_is_waited_for(town: ArchiveTown, proxy: Faults) -> None:
    """With each answer late, and Connect killed by -9 meanwhile, commits take longer and nothing is lost or changed."""
    proxy.delay_s = 0.5
    town.send(1_000)
    town.kill_connect()
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
    refused = run(town, "sinks", "skip", ARCHIVE, ORDERS, "0", "0", "--note", "a test")
    assert f"connector {ARCHIVE} failed at no record, it stores any" in refused.output
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
def test_a_wrong_key_is_said(town: ArchiveTown) -> None:
    """At once, and in one line with the settings to check, whether something is made ready or looked at."""
    town.until_archived()
    wrong = town.settings.model_copy(update={"archive_s3_secret_key": SecretStr("wrong")})
    said = "refuses the key: check TRADING_ARCHIVE_S3_ACCESS_KEY, TRADING_ARCHIVE_S3_SECRET_KEY"
    with pytest.raises(ArchiveError, match=said):
        connectors.prepare(wrong)
    looked = CliRunner(env=wrong.environment()).invoke(main, ["archive", "status", "--json"])
    assert looked.exit_code == 1
    stopped = json.loads(looked.stdout)["stopped"]
    assert said in stopped
    assert "\n" not in stopped
