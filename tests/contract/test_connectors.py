"""The connectors' files agree with schemas/sinks.py, and hold nothing that belongs to one installation."""

import re
from typing import Final

import pytest

from infra.embedded.connect import VARIABLES
from infra.settings import Settings
from infra.sinks.addresses import connector_environment
from infra.sinks.connectors import ARCHIVE, CONTROL_TOPIC, templates, topics_of
from schemas.sinks import SINKS
from schemas.topics import BY_NAME, orders_of

ALL: Final = templates()
FILES: Final = {name: config for name, config in ALL.items() if name != ARCHIVE}  # those of tables
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


@pytest.mark.parametrize("name", ALL)
def test_addresses_and_secrets_are_variables(name: str) -> None:
    """Whatever differs between installations is asked of the environment, under names that Connect lets pass."""
    asked = asked_by(name)
    assert asked <= set(connector_environment(Settings.load()))
    assert all(re.fullmatch(VARIABLES, variable) for variable in asked)
    assert not [value for value in ALL[name].values() if "://" in value]


def test_no_variable_is_for_nobody() -> None:
    """Every variable that the engine gives to Connect is asked for by a connector."""
    assert set().union(*map(asked_by, ALL)) == set(connector_environment(Settings.load()))


def asked_by(name: str) -> set[str]:
    """The variables that a connector's file names."""
    return {variable for value in ALL[name].values() for variable in VARIABLE.findall(value)}


def test_only_what_differs_between_tables_differs() -> None:
    """All connectors are alike but for topic, table and key: what is learnt of one holds for all."""
    own = {"topics", "collection.name.format", "primary.key.fields"}
    rest = [{key: value for key, value in it.items() if key not in own} for it in FILES.values()]
    assert all(it == rest[0] for it in rest)


def test_archive_takes_every_topic_that_is_said_once() -> None:
    """The engine's topics, clients' and the registry's journal are archived; changelogs and servers' own are not."""
    ours = {*BY_NAME, orders_of("acme").name, "kafkasql-journal", "a-topic-of-next-year"}
    others = {
        "__consumer_offsets",
        "local-risk-a-changelog",
        "local-risk-a-__assignor-__leader",
        "local-connect-configs",
        "local-connect-offsets",
        "local-connect-status",
        CONTROL_TOPIC.name,
        "kafkasql-snapshots",
        "registry-events",
        "dlq.somebody",
    }
    assert set(topics_of(ALL[ARCHIVE], ours | others)) == ours


def test_archive_keeps_bytes_as_they_are() -> None:
    """What is archived is the value as it stands in Kafka, with its place, of committed records alone."""
    config = ALL[ARCHIVE]
    assert {config[f"{it}.converter"].rpartition(".")[2] for it in ("key", "value")} == {"ByteArrayConverter"}
    assert config["errors.tolerance"] == "none"
    assert config["consumer.override.isolation.level"] == "read_committed"
    assert config["consumer.override.auto.offset.reset"] == "earliest"
    assert config["iceberg.control.topic"] == CONTROL_TOPIC.name


def test_archive_makes_no_table() -> None:
    """Where its catalogue has none the connector stops: another table at the same place would hide from readers."""
    assert ALL[ARCHIVE]["iceberg.tables.auto-create-enabled"] == "false"
    assert ALL[ARCHIVE]["iceberg.tables.evolve-schema-enabled"] == "false"
