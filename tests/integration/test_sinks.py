"""The sinks on a real registry, Connect and Postgres: rows and topics agree, whatever is killed meanwhile."""

import json
import os
from collections.abc import Iterator

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from infra.cli import main
from infra.cluster import engine_log
from infra.sinks import connectors, watch
from infra.sinks.connect import Connect
from infra.sinks.probes import PROBE
from infra.sinks.registry import (
    Registered,
    RegistryConflictError,
    RegistryError,
    Released,
    register,
    released,
)
from infra.sinks.servers import GIVES_WAY
from schemas import codec
from schemas.audit import Act
from schemas.topics import AUDIT, TRADES_FLAT
from tests.integration.sinks_town import CONNECTOR, Town, town, trade_of

pytestmark = pytest.mark.slow

OTHER = '{"type": "record", "name": "strangers.Other", "fields": [{"name": "a", "type": "long"}]}'


@pytest.fixture(scope="module")
def running() -> Iterator[Town]:
    """One town for all of these tests."""
    with town() as it:
        yield it


@pytest.fixture
def _environment(running: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands find the town."""
    for name, value in running.settings.environment().items():
        monkeypatch.setenv(name, value)


def run(*words: object) -> Result:
    """Run `trading sinks`."""
    return CliRunner().invoke(main, ["sinks", *map(str, words)])


def acts_of_skips(running: Town) -> list[Act]:
    """What `audit` says of records that were skipped."""
    with engine_log(running.settings) as log:
        records = log.read((AUDIT, 0), log.bounds((AUDIT, 0)))
        found = [codec.decode(it.value or b"") for it in records]
    return [it for it in found if isinstance(it, Act) and it.action == "SKIP_SINK_RECORD"]


def test_ids_of_the_registry_are_the_engines(running: Town) -> None:
    """Every schema is registered under the id that records carry, with FULL compatibility, and again changes nothing.

    The records of this town are older than its registry.
    """
    with SchemaRegistryClient({"url": running.settings.registry_url}) as client:
        for schema in released():
            found = client.lookup_schema(schema.subject, Schema(schema.text, "AVRO"))
            assert found.schema_id == schema.id
            assert client.get_compatibility(schema.subject) == "FULL"
        for subject, latest in {
            it.subject: it.id for it in released()
        }.items():  # in the order of their releases
            assert client.get_latest_version(subject).schema_id == latest
    assert register(running.settings) == Registered(len(released()), 0)
    running.until_stored()
    assert running.rows() == running.sent


def test_other_ids_are_refused_with_the_way_out(running: Town) -> None:
    """An id that is another schema's, or a schema that has another id, is a refusal, and nothing is changed."""
    last = released()[-1]
    other = Released("strangers.Other", last.id, OTHER)
    with pytest.raises(
        RegistryConflictError, match=rf"has given id {last.id} to {last.subject}.*registry of its own"
    ):
        register(running.settings, (other,))
    with pytest.raises(RegistryConflictError, match=rf"has registered {last.subject} under id {last.id}"):
        register(running.settings, (last._replace(id=100_000),))
    assert register(running.settings) == Registered(len(released()), 0)


def test_a_new_release_is_held_to_full_compatibility(running: Town) -> None:
    """A later release gets its own id too, if it is compatible both ways; else the registry refuses it."""
    first = Released("strangers.Other", 200_001, OTHER)
    wider = first._replace(
        id=200_005, text=OTHER.replace("]", ', {"name": "b", "type": "long", "default": 0}]')
    )
    assert register(running.settings, (first, wider)) == Registered(2, 2)
    assert register(running.settings, (first, wider)) == Registered(2, 0)
    with pytest.raises(RegistryError, match="ncompatible"):
        register(
            running.settings, (first, wider, first._replace(id=200_009, text=OTHER.replace('"a"', '"c"')))
        )


@pytest.mark.usefixtures("_environment")
def test_apply_is_idempotent(running: Town) -> None:
    """What is applied again is unchanged; no address and no secret stands in what Connect keeps."""
    done = json.loads(run("apply", "--json").output)
    assert done == dict.fromkeys(connectors.templates(), connectors.UNCHANGED)
    with Connect(running.settings.connect_url) as connect:
        config = connect.config(CONNECTOR)
    assert config["connection.url"] == "${env:TRADING_SINK_POSTGRES_URL}"
    assert not [value for value in config.values() if "127.0.0.1" in value]


@pytest.mark.usefixtures("_environment")
def test_what_a_search_left_behind_is_taken_away(running: Town) -> None:
    """A probe whose command was killed is gone, with what it committed, after the next apply."""
    left = f"{PROBE}{CONNECTOR}-12345678"
    with Connect(running.settings.connect_url) as connect:
        connect.make_stopped(left, {**connect.config(CONNECTOR), "name": left})
        connect.move(left, {(TRADES_FLAT, 0): 1})
        connect.resume(left)
        assert left in connect.states()
        assert run("apply").exit_code == 0
        assert connect.states().keys() == connectors.templates().keys()


def test_servers_give_way_to_the_engine(running: Town) -> None:
    """Each has less right to the cores than the workers that trade."""
    for name in running.sinks.states():
        pid = running.sinks.pid(name)
        assert pid is not None
        assert os.getpriority(os.PRIO_PROCESS, pid) == GIVES_WAY


def test_kills_lose_and_double_no_row(running: Town) -> None:
    """Connect, Postgres and the registry are killed by -9 while rows flow: each trade has its one row, as written."""
    before = running.count()
    for victim in ("connect", "postgres", "registry"):
        running.send(4_000)
        before = running.until_more_than(before)
        assert before < len(running.sent), f"{victim} was to be killed in the middle"
        running.sinks.kill(victim)
        running.send(4_000)
        running.until_seen_dead(victim)
    running.until(lambda: running.sinks.all_done, "all are back")
    running.until_stored()
    assert running.rows() == running.sent
    died = [line.split()[0] for line in running.lines if " died (SIGKILL); starts again" in line]
    assert died == ["connect", "postgres", "registry"]


def test_watch_tells_who_is_away(running: Town) -> None:
    """The metrics say that the registry answers and has all schemas, then that it is gone."""
    watch.ask_registry(running.settings)
    assert watch.REGISTRY_UP._value.get() == 1
    assert watch.SCHEMAS_MISSING._value.get() == 0
    running.sinks.kill("registry")
    running.until_seen_dead("registry")
    watch.ask_registry(running.settings)
    assert watch.REGISTRY_UP._value.get() == 0
    running.send(10)
    running.until_stored()  # Connect has the schema in its cache
    running.until(lambda: running.sinks.all_done, "the registry is back")


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (codec.encode(msgspec.structs.replace(trade_of(900_001), taker_account="a\0b")), "0x00"),
        (codec.encode(msgspec.structs.replace(trade_of(1), price_ticks=-1)), "append-only"),
        (b"\0\0\0\0\0garbage", "No content with ID '0'"),
    ],
    ids=["text that Postgres cannot hold", "row that may not be changed", "value that no schema reads"],
)
def test_record_that_cannot_be_stored(running: Town, value: bytes, said: str) -> None:
    """It stops its connector alone; status names it and why, skip steps over it and nothing else."""
    running.send(10)
    place = (TRADES_FLAT, 1, running.write(value, 1))
    running.send(10)
    running.until_alarm()
    stopped = {it["name"]: it for it in json.loads(run("status", "--json").output)["connectors"]}
    assert [name for name, it in stopped.items() if it["state"] == "failed"] == [CONNECTOR]
    why = stopped[CONNECTOR]["stopped"]
    assert (why["topic"], why["partition"], why["offset"]) == place
    assert said in why["reason"]

    topic, partition, offset = place
    refused = run("skip", CONNECTOR, topic, partition, offset + 1, "--note", "not that one")
    assert refused.exit_code == 1
    assert (
        f"failed at {topic} {partition} {offset}, not at {topic} {partition} {offset + 1}" in refused.output
    )
    assert run("skip", CONNECTOR, *place, "--note", "a test").exit_code == 0
    asked, applied = acts_of_skips(running)[-2:]
    assert (asked.outcome, applied.outcome, applied.note) == ("ASKED", "APPLIED", "a test")
    states = [json.loads(it or "") for it in (applied.before, applied.after)]
    assert states == [{"next_offset": offset}, {"next_offset": offset + 1}]
    running.until_stored()
    assert running.rows() == running.sent
    assert run("skip", CONNECTOR, *place, "--note", "again").output.strip().endswith("has not failed")
