"""The connectors' files agree with schemas/sinks.py, and hold nothing that belongs to one installation."""

import re
from typing import Final

import pytest

from infra.settings import Settings
from infra.sinks.addresses import connector_environment
from infra.sinks.connectors import templates
from schemas.sinks import SINKS

FILES: Final = templates()
VARIABLE: Final = re.compile(r"\$\{env:(\w+)\}")


def test_each_table_has_its_connector() -> None:
    """Each table is filled from its topic by its key, by one connector, and there is no other."""
    filled = {
        (it["topics"], it["collection.name.format"], tuple(it["primary.key.fields"].split(",")))
        for it in FILES.values()
    }
    assert filled == {(sink.topic, f"trading.{sink.table}", sink.key) for sink in SINKS}
    assert set(FILES) == {f"postgres-{sink.table.replace('_', '-')}" for sink in SINKS}


@pytest.mark.parametrize("name", FILES)
def test_connector_loses_nothing(name: str) -> None:
    """It stops at what it cannot store, upserts by fields of the value, and changes no table."""
    config = FILES[name]
    assert config["errors.tolerance"] == "none"
    assert (config["insert.mode"], config["primary.key.mode"]) == ("upsert", "record_value")
    assert (config["delete.enabled"], config["schema.evolution"]) == ("false", "none")
    assert config["consumer.override.auto.offset.reset"] == "earliest"


@pytest.mark.parametrize("name", FILES)
def test_addresses_and_secrets_are_variables(name: str) -> None:
    """Whatever differs between installations is asked of the environment, under the names that the engine gives."""
    config = FILES[name]
    asked = {variable for value in config.values() for variable in VARIABLE.findall(value)}
    assert asked == set(connector_environment(Settings.load()))
    assert not [value for value in config.values() if "://" in value]


def test_only_what_differs_between_tables_differs() -> None:
    """All connectors are alike but for topic, table and key: what is learnt of one holds for all."""
    own = {"topics", "collection.name.format", "primary.key.fields"}
    rest = [{key: value for key, value in it.items() if key not in own} for it in FILES.values()]
    assert all(it == rest[0] for it in rest)
