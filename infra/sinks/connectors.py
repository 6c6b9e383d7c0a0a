"""The connectors' files, and what Connect has of them."""

import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from infra.errors import OperatorError
from infra.settings import Settings
from infra.sinks.connect import Config, Connect
from infra.sinks.probes import sweep
from infra.topics_admin import Wanted, ensure, refuse_to_archive_a_restored_engine
from schemas.topics import EVENT_RETENTION_MS

MADE: Final = "made"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"
REMOVED: Final = "removed"
ARCHIVE: Final = "archive-raw"
# What its tasks tell each other: files that are written, and not in the table yet, are named here alone.
CONTROL_TOPIC: Final = Wanted(
    "control-iceberg", 1, (("cleanup.policy", "delete"), ("retention.ms", str(EVENT_RETENTION_MS)))
)
_AS_THEY_ARE: Final = "org.apache.kafka.connect.converters.ByteArrayConverter"


class TemplateError(OperatorError):
    """A connector's file cannot be read."""


def templates(folder: Path | None = None) -> dict[str, Config]:
    """Give each connector's configuration by its name, from the engine's own files unless a folder is named.

    Raises:
        TemplateError: a file is no JSON object of strings, or there is none.

    """
    place = folder or files("connectors") / "sinks"
    texts = {it.name: it.read_text() for it in place.iterdir() if it.name.endswith(".json")}
    if not texts:
        raise TemplateError(f"there is no connector's file (*.json) in {place}")
    return {name.removesuffix(".json"): _read(name, text) for name, text in sorted(texts.items())}


def wanted(settings: Settings) -> dict[str, Config]:
    """The engine's own connectors, but for the archive's where there is to be no archive."""
    return {name: config for name, config in templates().items() if name != ARCHIVE or settings.is_archived}


def prepare(settings: Settings) -> str | None:
    """Make what the archive's connector needs, in Kafka and in its catalogue, and say what was done; idempotent.

    Raises:
        OperatorError: Kafka, Postgres or the bucket does not answer, or refuses.

    """
    if not settings.is_archived:
        return None
    from infra.archive.made import ensure_table  # pyiceberg takes half a second to import

    refuse_to_archive_a_restored_engine(settings)
    ensure(settings, [CONTROL_TOPIC])
    return ensure_table(settings)


def apply(connect: Connect, wanted: Mapping[str, Config]) -> dict[str, str]:
    """Let Connect have these connectors, and say of each what was done: made, changed or unchanged.

    An archive that is not wanted is removed: it would go on. What it has committed stays, and if it is wanted again
    it goes on from there. What an interrupted search for a record has left there is taken away.

    Raises:
        ConnectError: Connect does not answer, or refuses a configuration.

    """
    sweep(connect)
    there = connect.states()
    done = {name: _apply(connect, name, config, is_there=name in there) for name, config in wanted.items()}
    if ARCHIVE in there and ARCHIVE not in wanted:
        connect.delete(ARCHIVE)
        done[ARCHIVE] = REMOVED
    return done


def topics_of(config: Config, there: Iterable[str] = ()) -> tuple[str, ...]:
    """The topics that a connector reads; those that are `there`, if it takes them by a pattern.

    Java's patterns and Python's are one language as far as ours go.
    """
    if pattern := config.get("topics.regex"):
        return tuple(sorted(filter(re.compile(pattern).fullmatch, there)))
    return tuple(topic.strip() for topic in config.get("topics", "").split(",") if topic.strip())


def takes_any_record(config: Config) -> bool:
    """Whether it stores bytes as they are: then no record can stop it, but only where it stores them."""
    return config.get("value.converter") == _AS_THEY_ARE


def _apply(connect: Connect, name: str, config: Config, *, is_there: bool) -> str:
    named = {**config, "name": name}  # Connect adds it, too
    if is_there and connect.config(name) == named:
        return UNCHANGED
    connect.configure(name, named)
    return CHANGED if is_there else MADE


def _read(name: str, text: str) -> Config:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise TemplateError(f"{name} is no JSON: {error}") from error
    if not isinstance(config, dict) or not all(isinstance(value, str) for value in config.values()):
        raise TemplateError(f"{name} must be one JSON object whose values are strings")
    return config
