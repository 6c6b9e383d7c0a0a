"""The connectors' files, and what Connect has of them."""

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from infra.errors import OperatorError
from infra.sinks.connect import Config, Connect
from infra.sinks.locate import sweep

MADE: Final = "made"
CHANGED: Final = "changed"
UNCHANGED: Final = "unchanged"


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


def apply(connect: Connect, wanted: Mapping[str, Config]) -> dict[str, str]:
    """Let Connect have these connectors, and say of each what was done: made, changed or unchanged.

    What an interrupted search for a record has left there is taken away.

    Raises:
        ConnectError: Connect does not answer, or refuses a configuration.

    """
    sweep(connect)
    there = connect.states()
    return {name: _apply(connect, name, config, is_there=name in there) for name, config in wanted.items()}


def topics_of(config: Config) -> tuple[str, ...]:
    """The topics that a connector reads."""
    return tuple(topic.strip() for topic in config.get("topics", "").split(",") if topic.strip())


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
