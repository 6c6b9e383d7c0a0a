"""Where the sinks' servers are: free ports for the embedded ones, and what the connectors are told."""

from typing import Final
from urllib.parse import SplitResult, urlsplit, urlunsplit

from pydantic import SecretStr

from infra.errors import OperatorError
from infra.processes import LOOPBACK, PortError, free_ports, is_free
from infra.settings import Settings, variable
from infra.sinks.registry import api_root

POSTGRES_PORT: Final = 5432


class SinksError(OperatorError):
    """The settings of the sinks do not fit together."""


def with_ports(settings: Settings) -> Settings:
    """Put a free port wherever an embedded server's address has port 0.

    Raises:
        SinksError: the address of an embedded server is not this machine's, or Kafka asks for more than they give.

    """
    _refuse_security(settings)
    urls = _embedded(settings)
    bound = {
        field: _bound(field, urlsplit(url), port)
        for (field, url), port in zip(urls.items(), free_ports(len(urls)), strict=True)
    }
    secret = {field: SecretStr(url) for field, url in bound.items() if field == "postgres_url"}
    return settings.model_copy(update=bound | secret)


def check_ports(settings: Settings) -> None:
    """Refuse ports that are in use.

    Raises:
        PortError: one is; the message names its setting.

    """
    for field, url in _embedded(settings).items():
        if not is_free(port := port_of(url)):
            raise PortError(
                f"port {port} is in use: stop what listens there, set {variable(field)} to another,"
                " or leave the sinks out (`trading up --without sinks`, TRADING_SINKS=false)"
            )


def port_of(url: str) -> int:
    """The port of an embedded server, which `with_ports` has put into its address."""
    port = urlsplit(url).port
    assert port, url
    return port


def postgres(settings: Settings) -> SplitResult:
    """The address of Postgres in its parts."""
    return urlsplit(settings.postgres_url.get_secret_value())


def connector_environment(settings: Settings) -> dict[str, str]:
    """The variables that the connectors' files name; a Connect cluster of your own needs the same."""
    place = postgres(settings)
    root = api_root(settings) or settings.registry_url
    return {
        "TRADING_SINK_REGISTRY_URL": f"{root}/apis/registry/v2",
        "TRADING_SINK_POSTGRES_URL": f"jdbc:postgresql://{place.hostname}:{place.port or POSTGRES_PORT}{place.path}",
        "TRADING_SINK_POSTGRES_USER": settings.sink_postgres_user,
        "TRADING_SINK_POSTGRES_PASSWORD": settings.sink_postgres_password.get_secret_value(),
        "TRADING_SINK_KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        **_archive(settings),
    }


def _archive(settings: Settings) -> dict[str, str]:
    """Where the archive is. Without keys Amazon's client looks for what the machine has."""
    secret, region = settings.archive_s3_secret_key, settings.archive_s3_region
    return {
        "TRADING_SINK_ARCHIVE_URL": settings.archive_root,
        "TRADING_SINK_ARCHIVE_COMMIT_MS": str(settings.archive_commit_interval_s * 1000),
        "TRADING_SINK_ARCHIVE_S3_ENDPOINT": settings.archive_s3_endpoint
        or f"https://s3.{region}.amazonaws.com",
        "TRADING_SINK_ARCHIVE_S3_REGION": region,
        "TRADING_SINK_ARCHIVE_S3_ACCESS_KEY": settings.archive_s3_access_key or "",
        "TRADING_SINK_ARCHIVE_S3_SECRET_KEY": secret.get_secret_value() if secret else "",
    }


def _embedded(settings: Settings) -> dict[str, str]:
    """The addresses of the embedded ones, by the setting that has each."""
    urls = {
        "registry_url": settings.registry_url if settings.embedded_registry else "",
        "connect_url": settings.connect_url if settings.embedded_connect else "",
        "postgres_url": settings.postgres_url.get_secret_value() if settings.embedded_postgres else "",
    }
    return {field: url for field, url in urls.items() if url}


def _bound(field: str, url: SplitResult, free: int) -> str:
    if url.hostname not in {LOOPBACK, "localhost"}:
        raise SinksError(
            f"{variable(field)} is not this machine ({url.hostname}): set"
            f" TRADING_EMBEDDED_{field.removesuffix('_url').upper()}=false to use that server"
        )
    user, at, _ = url.netloc.rpartition("@")
    return urlunsplit(url._replace(netloc=f"{user}{at}{LOOPBACK}:{url.port or free}"))


def _refuse_security(settings: Settings) -> None:
    is_plain = settings.kafka_security_protocol == "PLAINTEXT"
    if not is_plain and (settings.embedded_registry or settings.embedded_connect):
        raise SinksError(
            "the embedded registry and Connect speak to Kafka in plain text, but TRADING_KAFKA_SECURITY_PROTOCOL is"
            f" {settings.kafka_security_protocol}: name your own by TRADING_EMBEDDED_REGISTRY=false,"
            " TRADING_REGISTRY_URL, TRADING_EMBEDDED_CONNECT=false and TRADING_CONNECT_URL, or set TRADING_SINKS=false"
        )
