"""Where the sinks' servers are: ports, the connectors' variables, and what does not fit together."""

import socket

import pytest

from infra.processes import PortError
from infra.settings import Settings
from infra.sinks.addresses import SinksError, check_ports, connector_environment, port_of, with_ports
from infra.sinks.locate import is_in_start, reason

TRACE = """org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.
\tat org.apache.kafka.connect.runtime.WorkerSinkTask.deliverMessages(WorkerSinkTask.java:659)
Caused by: org.apache.kafka.connect.errors.ConnectException: JDBC sink connector failure
\t... 11 more
Caused by: org.postgresql.util.PSQLException: ERROR: invalid byte sequence for encoding "UTF8": 0x00
  Where: unnamed portal parameter $4
\tat org.postgresql.core.v3.QueryExecutorImpl.receiveErrorResponse(QueryExecutorImpl.java:2733)
\t... 20 more
"""


def test_free_ports_are_put_where_none_is_named() -> None:
    """Port 0 of an embedded server becomes a free one, and each gets another; what is named stays."""
    settings = with_ports(
        Settings.load(
            registry_url="http://127.0.0.1:0/apis/ccompat/v7",
            connect_url="http://127.0.0.1:0",
            postgres_url="postgresql://trading@127.0.0.1:15555/trading",
        )
    )
    ports = {port_of(settings.registry_url), port_of(settings.connect_url), 15_555}
    assert len(ports) == 3
    assert settings.registry_url.endswith("/apis/ccompat/v7")
    assert settings.postgres_url.get_secret_value() == "postgresql://trading@127.0.0.1:15555/trading"


@pytest.mark.parametrize("server", ["registry", "connect", "postgres"])
def test_server_elsewhere_is_not_embedded(server: str) -> None:
    """An address that is not this machine's needs to be said to be somebody else's server."""
    scheme = "postgresql" if server == "postgres" else "http"
    address = {f"{server}_url": f"{scheme}://db.example:5555/x"}
    with pytest.raises(SinksError, match=f"TRADING_EMBEDDED_{server.upper()}=false"):
        with_ports(Settings.load(**address))
    settings = with_ports(Settings.load(**address, **{f"embedded_{server}": False}))
    assert "db.example:5555" in str(settings.environment())


def test_secured_kafka_wants_servers_of_its_own() -> None:
    """The embedded servers cannot log in to Kafka: that is said at once, with what to set."""
    with pytest.raises(SinksError, match=r"TRADING_EMBEDDED_CONNECT=false.*TRADING_SINKS=false"):
        with_ports(Settings.load(kafka_security_protocol="SSL"))


def test_port_in_use_is_said() -> None:
    """A taken port is named with its setting and the way to do without."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(PortError, match=r"in use.*TRADING_CONNECT_URL.*--without sinks"):
            check_ports(Settings.load(connect_url=url, embedded_registry=False, embedded_postgres=False))


def test_connectors_get_addresses_as_java_writes_them() -> None:
    """JDBC's address has no user in it; the converter is sent to Apicurio's own API."""
    settings = Settings.load(
        kafka_bootstrap="k1:9092,k2:9092",
        registry_url="http://reg:8080/apis/ccompat/v7",
        archive_url="s3://worm/engine",
        archive_commit_interval_s=5,
        postgres_url="postgresql://owner:hidden@db/trading",
        sink_postgres_password="hunter2",  # noqa: S106
    )
    assert connector_environment(settings) == {
        "TRADING_SINK_REGISTRY_URL": "http://reg:8080/apis/registry/v2",
        "TRADING_SINK_POSTGRES_URL": "jdbc:postgresql://db:5432/trading",
        "TRADING_SINK_POSTGRES_USER": "trading_sink",
        "TRADING_SINK_POSTGRES_PASSWORD": "hunter2",
        "TRADING_SINK_KAFKA_BOOTSTRAP": "k1:9092,k2:9092",
        "TRADING_SINK_ARCHIVE_URL": "s3://worm/engine",
        "TRADING_SINK_ARCHIVE_COMMIT_MS": "5000",
        "TRADING_SINK_ARCHIVE_S3_ENDPOINT": "https://s3.us-east-1.amazonaws.com",
        "TRADING_SINK_ARCHIVE_S3_REGION": "us-east-1",
        "TRADING_SINK_ARCHIVE_S3_ACCESS_KEY": "",
        "TRADING_SINK_ARCHIVE_S3_SECRET_KEY": "",
    }
    assert "hidden" not in repr(settings)


def test_archive_of_your_own_is_told_with_its_keys() -> None:
    """An S3 server of one's own is named with its region and keys, which the settings do not show."""
    settings = Settings.load(
        archive_s3_endpoint="https://s3.example:9000/",
        archive_s3_region="eu-x-1",
        archive_s3_access_key="key",
        archive_s3_secret_key="hunter2",  # noqa: S106
    )
    told = connector_environment(settings)
    assert told["TRADING_SINK_ARCHIVE_URL"] == settings.archive_root
    assert told["TRADING_SINK_ARCHIVE_S3_ENDPOINT"] == "https://s3.example:9000"
    assert told["TRADING_SINK_ARCHIVE_S3_REGION"] == "eu-x-1"
    assert [told[f"TRADING_SINK_ARCHIVE_S3_{it}_KEY"] for it in ("ACCESS", "SECRET")] == ["key", "hunter2"]


def test_reason_is_the_first_cause() -> None:
    """Of a Java trace an operator sees the first cause, in one line."""
    assert reason(TRACE).startswith("org.postgresql.util.PSQLException: ERROR: invalid byte sequence for")
    assert "\n" not in reason(TRACE)
    assert reason("just words") == "just words"
    assert reason("") == "no reason given"


def test_failure_in_the_start_is_no_records() -> None:
    """A task that failed before it took a record is told by its trace."""
    assert not is_in_start(TRACE)
    assert is_in_start(TRACE.replace("WorkerSinkTask.deliverMessages", "WorkerSinkTask.initializeAndStart"))
