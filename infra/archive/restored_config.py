"""The `trading.toml` of a restored engine: what its log stands on, how to reach Kafka and the archive; no secret."""

import json
from pathlib import Path
from typing import Final

from infra.archive.restore import settings_of
from infra.archive.state import State
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
SECRETS: Final = ("kafka_sasl_password", "archive_s3_access_key", "archive_s3_secret_key")


def write_config(folder: Path, base: Settings, state: State) -> Path:
    """The settings that go with the log: what is not here is the operator's own choice."""
    settings = settings_of(state, base)
    values: dict[str, object] = {"data_folder": folder}
    values |= {name: getattr(settings, name) for name in FACTS}
    values |= {"archive": False}
    if not settings.embedded_broker:
        values |= {"embedded_broker": False, "kafka_bootstrap": settings.kafka_bootstrap}
    values |= {name: getattr(settings, name) for name in REACH if _is_told(settings, name)}
    lines = [
        "# Written by `trading archive restore`: what the restored log stands on. The archive is off, since a restored",
        "# engine may never write to the one that it came from. Secrets are not here: they come from the environment.",
        *(f"{name} = {_toml(value)}" for name, value in values.items()),
    ]
    path = folder / DEFAULT_CONFIG
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def secrets_of(settings: Settings) -> list[str]:
    """The variables that must be in the environment of every command on the restored engine."""
    return [variable(name) for name in SECRETS if getattr(settings, name) is not None]


def _is_told(settings: Settings, name: str) -> bool:
    return bool(getattr(settings, name) != Settings.model_fields[name].default)


def _toml(value: object) -> str:
    """Strings, numbers and lists are written in TOML as in JSON."""
    return json.dumps(str(value.absolute()) if isinstance(value, Path) else value, ensure_ascii=False)
