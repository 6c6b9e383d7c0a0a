"""The `trading.toml` of a restored engine: what its log stands on, how to reach Kafka and the archive; no secret.

The servers that it starts itself get ports of their own, whether the usual ones are in use now or later: with those
its commands would act on the first engine, wherever that runs on the same machine.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from infra.archive.restore import settings_of
from infra.archive.state import State
from infra.processes import LOOPBACK, free_span
from infra.settings import DEFAULT_CONFIG, Settings, variable

FACTS: Final = ("env", "epoch", "account_partitions", "book_partitions", "clients")
REACH: Final = (
    "replication_factor",
    "kafka_security_protocol",
    "kafka_sasl_mechanism",
    "kafka_sasl_username",
    "kafka_ssl_ca",
    "kafka_ssl_cert",
    "kafka_ssl_key",
    "archive_s3_endpoint",
    "archive_s3_region",
)
VIEWS: Final = 16  # ports for the views: as many workers, those of the sinks too, fit behind the first
PORTS: Final = (
    "kafka_bootstrap",
    "broker_controller_port",
    "registry_url",
    "connect_url",
    "postgres_url",
    "views_port",
)
SECRETS: Final = ("kafka_sasl_password", "archive_s3_access_key", "archive_s3_secret_key")


def write_config(folder: Path, base: Settings, state: State) -> Path:
    """The settings that go with the log: what is not here is the operator's own choice."""
    settings = settings_of(state, base)
    values: dict[str, object] = {"data_folder": folder}
    values |= {name: getattr(settings, name) for name in FACTS}
    values |= {"archive": False}
    values |= {name: getattr(settings, name) for name in REACH if _is_told(settings, name)}
    values |= _addresses()
    if not settings.embedded_broker:
        values |= {"embedded_broker": False, "kafka_bootstrap": settings.kafka_bootstrap}
    lines = [
        "# Written by `trading archive restore`: what the restored log stands on. The archive is off, since a restored",
        "# engine may never write to the one that it came from. Secrets are not here: they come from the environment.",
        "# Its ports are its own, so that no command of it reaches the first engine on the same machine.",
        *(f"{name} = {_toml(value)}" for name, value in values.items()),
    ]
    path = folder / DEFAULT_CONFIG
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def overridden(settings: Settings, environment: Mapping[str, str]) -> list[str]:
    """The variables of an environment that would go before what was written, and may say something else.

    The address of a server of one's own is no such thing: it is the operator's choice.
    """
    own = {
        "kafka_bootstrap": not settings.embedded_broker,
        "registry_url": not settings.embedded_registry,
        "connect_url": not settings.embedded_connect,
        "postgres_url": not settings.embedded_postgres,
    }
    names = ("data_folder", "archive", "archive_url", *FACTS, *(it for it in PORTS if not own.get(it)))
    return [variable(name) for name in names if variable(name) in environment]


def secrets_of(settings: Settings) -> list[str]:
    """The variables that must be in the environment of every command on the restored engine."""
    return [variable(name) for name in SECRETS if getattr(settings, name) is not None]


def _addresses() -> dict[str, object]:
    """The usual addresses, at ports that nobody has."""
    broker, controller, registry, connect, postgres, views, *_ = free_span(len(PORTS) - 1 + VIEWS)
    default = {name: Settings.model_fields[name].default for name in PORTS}
    return {
        "kafka_bootstrap": f"{LOOPBACK}:{broker}",
        "broker_controller_port": controller,
        "registry_url": _at(default["registry_url"], registry),
        "connect_url": _at(default["connect_url"], connect),
        "postgres_url": _at(default["postgres_url"].get_secret_value(), postgres),
        "views_port": views,
    }


def _at(url: str, port: int) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.netloc.rpartition(':')[0]}:{port}"))


def _is_told(settings: Settings, name: str) -> bool:
    return bool(getattr(settings, name) != Settings.model_fields[name].default)


def _toml(value: object) -> str:
    """Strings, numbers and lists are written in TOML as in JSON."""
    return json.dumps(str(value.absolute()) if isinstance(value, Path) else value, ensure_ascii=False)
