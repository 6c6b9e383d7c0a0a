"""The audit of an engine's topics on a real broker."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from infra import engine as running
from infra.auditor.log import AuditError
from infra.auditor.run import run
from infra.cli import main
from infra.embedded.broker import EmbeddedBroker
from infra.processes import wait_until
from infra.settings import Settings
from infra.topics_admin import Wanted, ensure
from schemas import codec
from schemas.commands import Tick
from schemas.topics import ACCOUNT_COMMANDS, CONTROL, TRADES
from tables.checkpointed.changelog import KafkaChangelog
from tables.checkpointed.reader import LogReader
from tables.meta import META_KEY
from tests.unit.infra.auditor.engine import COUNTS, ENV, Engine, open_market, trade_at_random

TIMEOUT_S = 60


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A broker of its own, since the engine's topics have but one name, with an engine's log on it."""
    with_engine = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    with_engine.start()
    settings = Settings.load(
        kafka_bootstrap=with_engine.bootstrap,
        env=ENV,
        account_partitions=COUNTS.accounts,
        book_partitions=COUNTS.books,
    )
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, 1, 500)
    engine.checkpoint()
    trade_at_random(engine, 2, 500, "again")
    engine.checkpoint()
    _write(settings, engine)
    yield settings
    with_engine.stop()


def _write(settings: Settings, engine: Engine) -> None:
    """Copies a log in memory to Kafka, its changelogs in transactions."""
    ensure(settings)
    producer = Producer(settings.kafka())
    reader = LogReader(settings.kafka())
    changelogs = sorted({name for name, _ in engine.log.records if name.endswith("-changelog")})
    counts = {name: sum(place[0] == name for place in engine.log.records) for name in changelogs}
    ensure(settings, [Wanted(name, counts[name], (("cleanup.policy", "compact"),)) for name in changelogs])
    for (topic, partition), records in engine.log.records.items():
        if topic not in counts:
            for record in records:
                producer.produce(topic, record.value, record.key, partition)
        else:
            changelog = KafkaChangelog(settings.kafka(), reader, topic, partition)
            changelog.fence()
            entries = [(record.key or b"", record.value) for record in records]
            for _, part in groupby(entries, key=_counter()):
                changelog.commit(part)
    reader.close()
    assert producer.flush(30) == 0


def _counter() -> Callable[[tuple[bytes, bytes | None]], int]:
    """Numbers entries by the checkpoint they belong to: META ends each."""
    done = 0

    def number(entry: tuple[bytes, bytes | None]) -> int:
        nonlocal done
        done += entry[0] == META_KEY
        return done - (entry[0] == META_KEY)

    return number


def test_sound_engine_passes(settings: Settings, tmp_path: Path) -> None:
    """A sound log on Kafka passes whole, and again from the snapshot that was saved of it."""
    snapshot = tmp_path / "snapshot"
    report = run(settings, save=snapshot)
    assert [(tally.name, tally.examples) for tally in report if tally.breaches] == []
    again = run(settings, start=snapshot)
    assert again.breaches == 0
    first, second = (
        next(it for it in each if it.name == "records can be decoded") for each in (report, again)
    )
    assert first.count > second.count == 0


def test_command_ends_with_its_verdict(settings: Settings) -> None:
    """The command prints a line a check and ends with 0; with one record too many it ends with 1 and names it."""
    runner = CliRunner(env=settings.environment())
    passed = runner.invoke(main, ["check", "--json"])
    assert passed.exit_code == 0, passed.output
    assert json.loads(passed.stdout)["ok"]
    producer = Producer(settings.kafka())
    producer.produce(TRADES, b"garbage", partition=0)
    assert producer.flush(30) == 0
    failed = runner.invoke(main, ["check", "--no-refold"])
    assert failed.exit_code == 1
    assert "records can be decoded: 1 BREACHES" in failed.stdout
    assert "trades 0 at" in failed.stdout


def test_running_engine_passes(tmp_path: Path) -> None:
    """An engine whose clock ticks on passes whole, views and folds among it, after one of its workers was killed."""
    settings = Settings.load(
        data_folder=tmp_path,
        kafka_bootstrap="127.0.0.1:0",
        broker_controller_port=0,
        views_port=0,
        account_partitions=COUNTS.accounts,
        book_partitions=COUNTS.books,
        workers=("control+intake+settlement", "risk+matching"),
    )
    market = Engine()
    open_market(market)
    trade_at_random(market, 3, 300)
    with running.Engine(settings) as engine:

        def is_ready() -> bool:
            engine.step()
            return engine.supervisor.all_ready()

        producer = Producer(engine.settings.kafka())
        _send_edges(producer, market, CONTROL)
        run(engine.settings, with_folds=False)  # it waits for quiet: reference data is there
        _send_edges(producer, market, ACCOUNT_COMMANDS)
        engine.supervisor.kill("risk+matching")
        _send_edges(producer, market, ACCOUNT_COMMANDS)  # again: an edge that is in doubt repeats
        assert wait_until(lambda: not is_ready(), TIMEOUT_S)
        assert wait_until(is_ready, TIMEOUT_S)
        report = run(engine.settings, timeout_s=TIMEOUT_S, views_url=next(iter(engine.views.values())))
        assert [(tally.name, tally.examples) for tally in report if tally.breaches] == []
        assert next(tally for tally in report if "every trade has" in tally.name).count


def _send_edges(producer: Producer, market: Engine, *topics: str) -> None:
    """Sends what came from outside: the records without an origin, all of them as of now."""
    for (topic, partition), records in market.log.records.items():
        for record in records if topic in topics else ():
            envelope: Any = codec.decode(record.value)
            if envelope.origin is None and type(envelope.items[0]) is not Tick:
                items = tuple(msgspec.structs.replace(item, at_ns=time.time_ns()) for item in envelope.items)
                producer.produce(topic, codec.encode(type(envelope)(items=items)), partition=partition)
        assert producer.flush(TIMEOUT_S) == 0


def test_other_engine_is_refused(settings: Settings) -> None:
    """Settings that are not the engine's are refused, naming what differs."""
    with pytest.raises(AuditError, match="topic orders has 2 partitions and the settings say 8"):
        run(settings.model_copy(update={"account_partitions": 8}))


def test_no_broker_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no Kafka answers, the command says so in one line."""
    monkeypatch.setattr("infra.topics_admin.TIMEOUT_S", 1)
    runner = CliRunner(env={"TRADING_KAFKA_BOOTSTRAP": "127.0.0.1:9"})
    failed = runner.invoke(main, ["check", "--timeout", "1"])
    assert failed.exit_code == 1
    assert "Kafka at 127.0.0.1:9 does not answer" in failed.output
