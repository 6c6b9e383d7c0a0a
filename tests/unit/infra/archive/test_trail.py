"""The story of an account, an order and a trade is the same from the archive as from the log."""

import json
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from infra.cli import main
from infra.trail import trail_of_account
from schemas import codec
from schemas.topics import BY_NAME, TRADES
from tests.unit.infra.archive.archived import Archive
from tests.unit.infra.auditor.engine import Engine, open_market, trade_at_random


@pytest.fixture(scope="module")
def market() -> Engine:
    """Three days of six accounts."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, seed=11, steps=200)
    return engine


@pytest.fixture(scope="module")
def archive(market: Engine, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Its topics in an archive: commits cut anywhere, some of it twice."""
    archive, random = Archive(tmp_path_factory.mktemp("bucket")), Random(5)
    rows = [
        (place, it) for place, records in market.log.records.items() if place[0] in BY_NAME for it in records
    ]
    for part in range(4):
        archive.commit([row for row in rows if random.random() < 0.3 or row[1].offset % 4 == part])
    return archive


def told(archive: Archive, *words: str) -> Any:
    """What the command says, with nothing at hand but the bucket."""
    call = ["audit", "trail", "--from", "archive", "--archive", f"file://{archive.folder}", "--json", *words]
    result = CliRunner().invoke(main, call, env={"TRADING_KAFKA_BOOTSTRAP": "127.0.0.1:9"})
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_an_account_has_the_same_story(market: Engine, archive: Archive) -> None:
    """Item for item, each with its place."""
    places = [place for place in market.log.records if place[0] in BY_NAME]
    steps = trail_of_account(market.log, places, "alice")
    said = told(archive, "--account", "alice")
    assert len(said) > 50
    assert [(it["topic"], it["partition"], it["offset"], it["index"]) for it in said] == [
        (it.topic, it.partition, it.offset, it.index) for it in steps
    ]


def test_a_trade_has_a_story(market: Engine, archive: Archive) -> None:
    """By its id, from the topic of the trades to the money that moved."""
    trades: Any = codec.decode(market.log.records[TRADES, 0][0].value or b"")
    said = told(archive, "--trade", str(trades.items[0].trade_id))
    assert {"trades", "account-events", "settlement-events"} <= {it["topic"] for it in said}
