from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.archive.bucket import Bucket
from infra.archive.restored_config import PORTS, VIEWS, overridden, secrets_of, write_config
from infra.archive.state import Manifest, State
from infra.processes import is_free
from infra.settings import CONFIG_VARIABLE, Settings, SettingsError
from infra.sinks.addresses import with_ports

CLUSTER = {
    "embedded_broker": False,
    "kafka_bootstrap": "kafka1:9092,kafka2:9092",
    "replication_factor": 3,
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "SCRAM-SHA-256",
    "kafka_sasl_username": "engine",
    "kafka_ssl_ca": Path("ca.pem"),
    "archive_s3_endpoint": "https://s3.example:9000",
    "archive_s3_region": "eu-central-1",
    "archive_s3_access_key": "public-half",
}
PASSWORDS = {"kafka_sasl_password": "first-secret", "archive_s3_secret_key": "second-secret"}


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A day of an engine with counts and clients of its own."""
    manifest = Manifest(
        format=1,
        day="2026-11-25",
        start_ms=0,
        taken_at_ms=0,
        env="prod",
        epoch=7,
        account_partitions=3,
        book_partitions=5,
        clients=("acme",),
        schemas={},
        begins=(),
        states=(),
        key_id="",
    )
    return State(Bucket.at(f"file://{tmp_path}/bucket"), "state", manifest)


def loaded(config: Path, patch: pytest.MonkeyPatch) -> Settings:
    """The settings of a command that is given this file."""
    patch.setenv(CONFIG_VARIABLE, str(config))
    return Settings.load()


def test_cluster_and_archive_are_reached_by_the_file_and_the_secrets(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is no secret is in the file, paths from anywhere; without the secrets the settings say what lacks."""
    base = Settings.load(data_folder=tmp_path, archive=False, **CLUSTER, **PASSWORDS)
    config = write_config(tmp_path, base, state)
    text = config.read_text()
    assert not [it for it in (*PASSWORDS.values(), "public-half") if it in text]
    names = secrets_of(base)
    assert names == [
        "TRADING_KAFKA_SASL_PASSWORD",
        "TRADING_ARCHIVE_S3_ACCESS_KEY",
        "TRADING_ARCHIVE_S3_SECRET_KEY",
    ]
    with pytest.raises(SettingsError, match="TRADING_KAFKA_SASL_PASSWORD are needed"):
        loaded(config, monkeypatch)
    for name, value in zip(names, ("first-secret", "public-half", "second-secret"), strict=True):
        monkeypatch.setenv(name, value)
    settings = loaded(config, monkeypatch)
    expected = base.model_copy(update={"kafka_ssl_ca": Path("ca.pem").absolute()})
    told = [*CLUSTER, *PASSWORDS, "data_folder", "archive"]
    assert {it: getattr(settings, it) for it in told} == {it: getattr(expected, it) for it in told}
    facts = settings.env, settings.epoch, settings.account_partitions, settings.book_partitions
    assert facts == ("prod", 7, 3, 5)
    assert settings.clients == ("acme",)


def test_no_server_of_it_is_at_an_address_of_the_first(
    tmp_path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the first engine's settings are, the restored one's servers fit beside it, its views in a row."""
    usual = Settings.load(data_folder=tmp_path)
    first = Settings.load(data_folder=tmp_path, kafka_bootstrap="127.0.0.1:9192", views_port=8_700)
    settings = loaded(write_config(tmp_path, first, state), monkeypatch)
    for other in (first, usual):
        assert not [it for it in PORTS if getattr(settings, it) == getattr(other, it)]
    with_ports(settings)  # embedded servers take these addresses
    urls = settings.registry_url, settings.connect_url, settings.postgres_url.get_secret_value()
    views = range(settings.views_port, settings.views_port + VIEWS)
    ports = [
        settings.broker_port,
        settings.broker_controller_port,
        *(urlsplit(it).port or 0 for it in urls),
        *views,
    ]
    assert len(set(ports)) == len(ports)
    assert all(map(is_free, ports))
    assert settings.registry_url.endswith("/apis/ccompat/v7")
    assert settings.postgres_url.get_secret_value().startswith("postgresql://trading@127.0.0.1:")


def test_variables_that_go_before_the_file_are_named() -> None:
    """Those of servers of one's own are no mistake."""
    kafka, postgres = "TRADING_KAFKA_BOOTSTRAP", "TRADING_POSTGRES_URL"
    there = {kafka: "a:1", postgres: "", "TRADING_EPOCH": "2", "TRADING_LOG_LEVEL": "INFO"}
    assert overridden(Settings.load(), there) == ["TRADING_EPOCH", kafka, postgres]
    assert overridden(Settings.load(embedded_broker=False), there) == ["TRADING_EPOCH", postgres]
    assert overridden(Settings.load(embedded_postgres=False), there) == ["TRADING_EPOCH", kafka]


def test_defaults_are_not_written(tmp_path: Path, state: State) -> None:
    """An engine with its own broker and a folder as its archive needs none of it, and no secret."""
    base = Settings.load(data_folder=tmp_path)
    text = write_config(tmp_path, base, state).read_text()
    assert "kafka_s" not in text
    assert "s3" not in text
    assert "replication_factor" not in text
    assert secrets_of(base) == []
