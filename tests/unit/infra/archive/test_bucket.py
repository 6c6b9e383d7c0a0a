from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.archive.bucket import ArchiveError, Bucket
from infra.settings import Settings
from tests.s3 import BUCKET, KEY, REGION, SECRET, FaultyServer, client, s3_server

LARGE = bytes(range(256)) * 40_000  # above the 5 MB of one request: it goes in parts


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyServer]:
    """One S3 server for all."""
    with s3_server() as running:
        yield running


def on_s3(server: FaultyServer, url: str = f"s3://{BUCKET}/day/by/day") -> Bucket:
    """An archive on that server."""
    return Bucket.at(url, endpoint=server.url, access_key=KEY, secret_key=SECRET, region=REGION)


@pytest.fixture(params=["folder", "s3"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    """A fresh archive, of either kind."""
    if request.param == "folder":
        return Bucket.at(f"file://{tmp_path / 'archive'}")
    server: FaultyServer = request.getfixturevalue("server")
    return on_s3(server, f"s3://{BUCKET}/{tmp_path.name}")


def test_what_was_written_is_listed_and_read(bucket: Bucket) -> None:
    """Files come back byte for byte, large ones too, in the order of their paths, from below one folder only."""
    files = {
        "state/2026-11-25/b": b"",
        "state/2026-11-25/a": LARGE,
        "state/2026-11-26/c": b"c",
        "other": b"o",
    }
    for path, data in files.items():
        bucket.write_new(path, data)
    assert bucket.list() == sorted(files)
    assert bucket.list("state/2026-11-25") == ["state/2026-11-25/a", "state/2026-11-25/b"]
    assert {path: bucket.read(path) for path in files} == files
    assert bucket.uri("other") == f"{bucket.url}/other"


def test_an_empty_archive_holds_nothing(bucket: Bucket) -> None:
    """Before the first commit there is no folder: that is no error, and no file."""
    assert bucket.list("state") == []
    assert not bucket.holds("state")


def test_nothing_is_overwritten(bucket: Bucket) -> None:
    """A name that is taken is refused, and the file stays as it was."""
    bucket.write_new("a", b"first")
    with pytest.raises(ArchiveError, match=r"/a exists already, and nothing .* is overwritten"):
        bucket.write_new("a", b"second")
    assert bucket.read("a") == b"first"


def test_a_missing_file_is_named(bucket: Bucket) -> None:
    """Who asks for what is not there gets its address."""
    with pytest.raises(ArchiveError, match=r"/nowhere: there is no such file"):
        bucket.read("nowhere")


def test_a_write_that_fails_leaves_no_file(tmp_path: Path) -> None:
    """In a folder a file is there whole or not at all; what was begun and left (a kill) is not listed."""
    bucket = Bucket.at(f"file://{tmp_path}")
    (tmp_path / ".half.0123.part").write_bytes(b"hal")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArchiveError, match="rights and at the room"):
        bucket.write_new("file/below/it", b"a file is no folder")
    assert bucket.list() == ["file"]


def test_a_missing_bucket_is_not_an_empty_one(server: FaultyServer) -> None:
    """No bucket: reading, writing and listing say so, where an empty list would read as an empty archive."""
    bucket = on_s3(server, "s3://nowhere/day")
    with pytest.raises(ArchiveError, match="there is no such bucket"):
        bucket.list("state")
    with pytest.raises(ArchiveError, match="there is no such bucket"):
        bucket.write_new("a", b"a")


def test_a_few_failures_are_tried_away(server: FaultyServer) -> None:
    """A server that fails twice is asked a third time."""
    bucket = on_s3(server)
    bucket.write_new("patient", b"patience")
    server.failures = 2
    assert bucket.read("patient") == b"patience"
    assert server.failures == 0


def test_a_server_that_fails_on_is_named(server: FaultyServer) -> None:
    """After five tries the error says that the server fails, and the archive has no half of the file."""
    bucket = on_s3(server)
    server.failures = 1_000
    try:
        with pytest.raises(ArchiveError, match="the S3 server fails"):
            bucket.write_new("failing", b"f")
    finally:
        server.failures = 0
    assert not bucket.holds("failing")


def test_slow_answers_are_waited_for(server: FaultyServer) -> None:
    """A server that takes its time is not asked again and again."""
    bucket = on_s3(server)
    bucket.write_new("slow", b"s")
    before, server.delay_s = server.requests, 1.0
    try:
        assert bucket.read("slow") == b"s"
    finally:
        server.delay_s = 0.0
    assert server.requests - before <= 2


def test_a_wrong_key_is_named(server: FaultyServer) -> None:
    """An error about the key names the settings to look at, for each verb."""
    bucket = on_s3(server)
    bucket.write_new("locked", b"l")
    with server.refusing_keys():
        for ask in (bucket.list, lambda: bucket.read("locked"), lambda: bucket.write_new("n", b"n")):
            with pytest.raises(ArchiveError, match=r"refuses the key: check TRADING_ARCHIVE_S3_ACCESS_KEY"):
                ask()


def test_an_unreachable_server_is_named() -> None:
    """Nobody there: the error says which setting points there."""
    bucket = Bucket.at("s3://archive", endpoint="http://127.0.0.1:1", access_key=KEY, secret_key=SECRET)
    with pytest.raises(ArchiveError, match=r"cannot be reached.*TRADING_ARCHIVE_S3_ENDPOINT"):
        bucket.list()


@pytest.mark.parametrize("url", ["", "archive", "/archive", "http://host/archive", "s3://", "file://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Only file:///FOLDER and s3://BUCKET/PREFIX are addresses of an archive."""
    with pytest.raises(ArchiveError, match="an archive is at"):
        Bucket.at(url)


def test_the_settings_lead_to_the_archive(server: FaultyServer, tmp_path: Path) -> None:
    """Without a word the archive is a folder below the data folder; told, it is on S3 with the key of the settings."""
    assert Bucket.of(Settings(data_folder=tmp_path)).url == f"file://{tmp_path / 'archive'}"
    settings = Settings(
        archive_url=f"s3://{BUCKET}/told",
        archive_s3_endpoint=server.url,
        archive_s3_access_key=KEY,
        archive_s3_secret_key=SecretStr(SECRET),
    )
    Bucket.of(settings).write_new("a", b"a")
    listed = client(server.url).list_objects_v2(Bucket=BUCKET, Prefix="told/")
    assert [item["Key"] for item in listed["Contents"]] == ["told/a"]
