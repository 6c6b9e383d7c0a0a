"""The servers' jars: only what was locked is used, and a second fetch goes on where the first stopped."""

import hashlib
import tarfile
from pathlib import Path

import pytest

from infra.embedded.jars import Jar, JarError, cache_folder, fetch, locked, to_download, unpacked

COORDINATE = "org.example:thing:jar:1.0"
PLACE = Path("org/example/thing/1.0/thing-1.0.jar")
CONTENT = b"what was locked"
LOCKED = Jar(hashlib.sha256(CONTENT).hexdigest(), COORDINATE, "kafka", len(CONTENT))


def cached(cache: Path, content: bytes) -> Path:
    """Put a jar into the cache as an earlier fetch would have."""
    path = cache / PLACE
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every connection be refused at once: nothing listens on port 9 of loopback."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def test_lock_holds_the_broker() -> None:
    """The lock names Kafka itself and its 92 companions, each with a sha256."""
    jars = locked("kafka")
    assert len(jars) == 93
    assert any(jar.coordinate.startswith("org.apache.kafka:kafka_2.13:jar:") for jar in jars)
    assert all(len(jar.sha256) == 64 for jar in jars)


@pytest.mark.usefixtures("_offline")
def test_cached_jar_is_kept(tmp_path: Path) -> None:
    """A whole jar of an earlier fetch is used again, with no network, and counted."""
    path = cached(tmp_path, CONTENT)
    seen: list[tuple[int, int]] = []
    assert fetch((LOCKED,), tmp_path, lambda *sizes: seen.append(sizes)) == (path,)
    assert seen == [(len(CONTENT), len(CONTENT))]


def test_what_is_to_be_downloaded_is_said(tmp_path: Path) -> None:
    """What is missing, or has another size, is summed up by what it is for; what is there is left out."""
    big = LOCKED._replace(coordinate="org.example:big:tar.gz:all:1.0", folder="registry", size=151_400_000)
    small = LOCKED._replace(coordinate="org.example:small:jar:1.0", folder="connect/one", size=2_000_000)
    other = small._replace(folder="connect/other")
    assert to_download((LOCKED, big, small, other), tmp_path) == (
        "Kafka 0 MB, the schema registry 151 MB, Connect's connectors 4 MB"
    )
    cached(tmp_path, CONTENT)
    assert to_download((LOCKED, big), tmp_path) == "the schema registry 151 MB"
    assert to_download((LOCKED,), tmp_path) == ""


@pytest.mark.usefixtures("_offline")
def test_archive_is_unpacked_once(tmp_path: Path) -> None:
    """A locked archive is unpacked beside itself, whole or not at all, and then used as it is."""
    archive = tmp_path / "org/example/box/1.0/box-1.0-all.tar.gz"
    archive.parent.mkdir(parents=True)
    (tmp_path / "inside").write_text("content")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "inside", "lib/inside")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    jar = Jar(digest, "org.example:box:tar.gz:all:1.0", "registry", archive.stat().st_size)
    folder = unpacked(jar, tmp_path)
    assert (folder / "lib" / "inside").read_text() == "content"
    (folder / "lib" / "inside").write_text("seen")
    assert (unpacked(jar, tmp_path) / "lib" / "inside").read_text() == "seen"


def test_no_driver_of_another_database_is_locked() -> None:
    """The connector is locked jar by jar, since its archive brings drivers under licences of their own."""
    names = " ".join(jar.coordinate for jar in locked("connect/debezium-jdbc"))
    assert "org.postgresql:postgresql:jar:" in names
    assert not [it for it in ("ojdbc", "mssql", "mysql", "mariadb") if it in names]


@pytest.mark.usefixtures("_offline")
def test_changed_jar_is_never_used(tmp_path: Path) -> None:
    """A cached jar with other content is fetched again; offline that is an error naming the jar."""
    path = cached(tmp_path, b"something else")
    with pytest.raises(JarError, match=f"{COORDINATE} could not be fetched"):
        fetch((LOCKED,), tmp_path)
    assert not path.exists()


def test_fetched_jar_with_another_hash_is_refused(tmp_path: Path) -> None:
    """What comes from the network is refused, and not kept, when its hash is not the locked one."""
    small = next(jar for jar in locked("kafka") if "jspecify" in jar.coordinate)
    with pytest.raises(JarError, match="is refused: its sha256 is"):
        fetch((small._replace(sha256="0" * 64),), tmp_path)
    assert not list(tmp_path.rglob("*.jar"))


def test_cache_is_outside_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """XDG_CACHE_HOME says where jars are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/trading-engine/jars")
