"""Where a setting comes from, and what a bad one says."""

from pathlib import Path

import pytest

from infra.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_environment_goes_before_file_before_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable wins over the file, and the file over the default."""
    (tmp_path / "trading.toml").write_text('env = "filed"\naccount_partitions = 8\n')
    monkeypatch.setenv("TRADING_ACCOUNT_PARTITIONS", "16")
    settings = Settings.load()
    assert (settings.account_partitions, settings.env, settings.book_partitions) == (16, "filed", 4)


def test_config_variable_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRADING_CONFIG is read in place of ./trading.toml."""
    (tmp_path / "trading.toml").write_text("tick_interval_ms = 1\n")
    (tmp_path / "other.toml").write_text("tick_interval_ms = 2\n")
    monkeypatch.setenv("TRADING_CONFIG", "other.toml")
    assert Settings.load().tick_interval_ms == 2


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TRADING_ACCOUNT_PARTITIONS", "0", "greater than or equal to 1"),
        ("TRADING_TICK_INTERVAL_MS", "soon", "valid integer"),
        ("TRADING_ENV", "a-b", "small letters and digits"),
        ("TRADING_KAFKA_BOOTSTRAP", "localhost", "host:port"),
        ("TRADING_KAFKA_SECURITY_PROTOCOL", "TLS", "SASL_SSL"),
        ("TRADING_WORKERS", "risk", "workers"),
        ("TRADING_CLIENTS", '["a.b"]', "64 letters, digits, _ and -"),
        ("TRADING_ARCHIVE_URL", "s3:bucket", "s3://BUCKET/PREFIX"),
        ("TRADING_ARCHIVE_URL", "file://data/archive", "file:///FOLDER"),
        ("TRADING_ARCHIVE_COMMIT_INTERVAL_S", "0", "greater than or equal to 1"),
        ("TRADING_CONFIG", "absent.toml", "no such file"),
    ],
)
def test_bad_value_gets_one_line_naming_it(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad value is refused in one line that names the variable (or the field) and what is allowed."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        Settings.load()
    message = str(refused.value)
    assert "\n" not in message
    assert name.lower().removeprefix("trading_") in message.lower()
    assert said in message


def test_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    """A mistyped name in the file is an error, not a default."""
    (tmp_path / "trading.toml").write_text("acount_partitions = 8\n")
    with pytest.raises(
        SettingsError, match=r"acount_partitions: there is no such setting \(in trading.toml\)"
    ):
        Settings.load()


def test_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    """A broken file is one line, not a traceback."""
    (tmp_path / "trading.toml").write_text("env = local\n")
    with pytest.raises(SettingsError, match=r"^settings \(trading.toml\): Invalid value"):
        Settings.load()


def test_views_elsewhere_than_loopback_need_a_token() -> None:
    """Views that others can reach are refused without a bearer token."""
    with pytest.raises(SettingsError, match="TRADING_VIEWS_TOKEN is needed"):
        Settings.load(views_host="0.0.0.0")  # noqa: S104  (that is what is refused)
    assert Settings.load(views_host="0.0.0.0", views_token="secret").views_token  # noqa: S104, S106


def test_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings printed nor an error shows a password."""
    monkeypatch.setenv("TRADING_KAFKA_SASL_PASSWORD", "hunter2")
    assert "hunter2" not in repr(Settings.load())
    with pytest.raises(SettingsError) as refused:
        Settings.load(kafka_security_protocol="SASL_SSL")
    assert "TRADING_KAFKA_SASL_USERNAME" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_kafka_config_carries_security_and_more() -> None:
    """A client's configuration holds the login, the certificates and what the caller adds."""
    settings = Settings.load(
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_username="u",
        kafka_sasl_password="p",  # noqa: S106
        kafka_ssl_ca="ca.pem",
    )
    config = settings.kafka(group_id="g")
    assert config["sasl.password"] == "p"
    assert config["ssl.ca.location"] == "ca.pem"
    assert config["group.id"] == "g"
    assert "sasl.password" not in Settings.load().kafka()


def test_archive_is_in_the_data_folder_unless_told() -> None:
    """The archive's address is absolute and ends without a slash, whatever it was made of."""
    assert Settings.load().archive_root == f"file://{Path.cwd()}/data/archive"
    for url in ("file:///mnt/worm", "s3://bucket", "s3://bucket/a/b"):
        assert Settings.load(archive_url=f"{url}/").archive_root == url


def test_archive_needs_the_sinks() -> None:
    """An engine without sinks has no archive, as nothing would carry it."""
    assert Settings.load(sinks=True).is_archived
    assert not Settings.load(sinks=True, archive=False).is_archived
    assert not Settings.load(sinks=False).is_archived


def test_keys_of_s3_go_together() -> None:
    """One key without the other is refused; the secret one is not shown."""
    with pytest.raises(
        SettingsError, match="ARCHIVE_S3_ACCESS_KEY and TRADING_ARCHIVE_S3_SECRET_KEY"
    ) as refused:
        Settings.load(archive_s3_secret_key="hunter2")  # noqa: S106
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(Settings.load(archive_s3_access_key="k", archive_s3_secret_key="hunter2"))  # noqa: S106
