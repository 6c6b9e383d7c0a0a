"""A stage's Faust tables over live partitions: what they show, what they do not know, and what they refuse."""

from collections.abc import Callable
from typing import Any

import faust
import pytest
from faust.types import TP

from agents.stage.partitions import Partitions
from schemas.partitioner import partition_of
from tables.checkpointed.faust_table import CheckpointedTable, CheckpointedTables
from tables.checkpointed.rows import NotOwned
from tables.declared import declare
from tables.risk import CashRow, OrderRow, pair
from tests.unit.connectors.views.town import COUNTS, Town, X

CHANGELOG = "town-risk-a-changelog"
HOMES = {name: partition_of(name, COUNTS.accounts) for name in ("alice", "bob")}


def app_of(worker: Partitions) -> Any:
    """The Faust app of a worker; it is not started."""
    app = faust.App(
        "town-risk-a",
        broker="kafka://127.0.0.1:9",
        store="memory://",
        topic_allow_declare=False,
        Table=CheckpointedTable,
        TableManager=CheckpointedTables,
    )
    declare(app, worker.stage.tables(), worker, CHANGELOG)
    return app


@pytest.fixture
def town() -> Town:
    """Risk has two workers, each with a partition; alice and bob have cash, and an order each that rests."""
    town = Town({"risk": [[0], [1]]})
    town.order("alice", "a1", "BUY", 190, 3)
    town.order("bob", "b1", "SELL", 210, 2)
    return town


@pytest.fixture
def whole() -> Town:
    """The same with one worker for both partitions."""
    town = Town()
    town.order("alice", "a1", "BUY", 190, 3)
    town.order("bob", "b1", "SELL", 210, 2)
    return town


def risk_of(town: Town, name: str) -> Any:
    """The tables of the worker that has an account."""
    return app_of(town.workers["risk"][HOMES[name]]).tables


def test_every_section_is_a_table(whole: Town) -> None:
    """Each stage has a table for each of its sections, by its name, with as many partitions as its inbox."""
    for stage, (worker,) in whole.workers.items():
        tables = app_of(worker).tables
        sections = {it.name for it in worker.stage.tables().sections.values()}
        assert tables.keys() == sections
        assert {it.partitions for it in tables.values()} == {1 if stage == "control" else 2}
        assert {it.changelog_topic_name for it in tables.values()} == {CHANGELOG}


def test_a_table_is_declared_once(whole: Town) -> None:
    """A second table of a name is refused."""
    app = app_of(whole["risk"])
    with pytest.raises(ValueError, match="there is a table 'instruments' already"):
        declare(app, whole["risk"].stage.tables(), whole["risk"], CHANGELOG)


def test_a_lookup_gives_the_live_row(whole: Town) -> None:
    """What the fold has made by now is there at once, in whichever partition it is."""
    tables = app_of(whole["risk"]).tables
    assert tables["cash"][pair("alice", "USD")] == CashRow(1_000_000, 0)
    orders = tables["orders"]
    assert {row.client_order_id for row in orders.values()} == {"a1", "b1"}
    for order_id in orders:
        assert order_id in orders
        assert isinstance(orders[order_id], OrderRow)
        assert orders.get(order_id) is orders[order_id]
    whole.order("alice", "a2", "BUY", 210, 2)
    assert [row.client_order_id for row in orders.values()] == ["a1"]


def test_a_missing_key_is_a_key_error(whole: Town) -> None:
    """Where all partitions are here, what is in none of them is missing, as in a dict."""
    cash = app_of(whole["risk"]).tables["cash"]
    with pytest.raises(KeyError, match="nobody USD"):
        cash["nobody USD"]
    assert cash.get("nobody USD", 7) == 7
    assert "nobody USD" not in cash


@pytest.mark.parametrize(
    "ask",
    [lambda cash, key: cash[key], lambda cash, key: cash.get(key), lambda cash, key: key in cash],
    ids=["[]", "get", "in"],
)
def test_what_may_be_elsewhere_is_not_called_missing(town: Town, ask: Callable[..., Any]) -> None:
    """A worker with some partitions answers for its own keys; of others it says that it does not know."""
    cash = risk_of(town, "alice")["cash"]
    assert ask(cash, pair("alice", "USD"))
    with pytest.raises(NotOwned, match="cash has no 'bob USD' in the 1 of 2 partitions that are here"):
        ask(cash, pair("bob", "USD"))


def test_what_was_given_back_is_not_here(whole: Town) -> None:
    """After a release a table is empty, and knows nothing."""
    cash = app_of(whole["risk"]).tables["cash"]
    whole["risk"].release()
    assert list(cash) == []
    with pytest.raises(NotOwned, match="in the 0 of 2 partitions"):
        cash[pair("alice", "USD")]


def test_iteration_is_of_what_is_here(town: Town, whole: Town) -> None:
    """Keys, values, items and length cover the partitions of this worker, and a key of each of them counts once."""
    cash = risk_of(town, "bob")["cash"]
    assert list(cash) == [pair("bob", "USD")]
    assert len(cash) == 1
    assert cash.copy() == dict(cash.items()) == {pair("bob", "USD"): CashRow(1_000_000, 0)}
    tables = app_of(whole["risk"]).tables
    assert sorted(tables["cash"]) == [pair("alice", "USD"), pair("bob", "USD")]
    instruments = tables["instruments"]
    assert (list(instruments), len(instruments), list(instruments.values())) == ([X.symbol], 1, [X])


def test_the_fold_goes_on_under_an_iteration(whole: Town) -> None:
    """Rows that come and go while somebody iterates disturb neither."""
    orders = app_of(whole["risk"]).tables["orders"]
    keys, items = iter(orders), iter(orders.items())
    next(keys), next(items)
    whole.order("alice", "a2", "BUY", 210, 2)
    assert len([*keys, *items]) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda table, key: table.__setitem__(key, None),
        lambda table, key: table.__delitem__(key),
        lambda table, key: table.pop(key),
        lambda table, key: table.update({key: None}),
        lambda table, _: table.clear(),
        lambda table, _: table.setdefault("new", None),
        lambda table, key: table.data.__setitem__(key, None),
        lambda table, key: table.data.__delitem__(key),
    ],
)
def test_a_table_is_read_only(whole: Town, change: Callable[..., Any]) -> None:
    """However it is tried, nobody but the rules changes a row."""
    cash = app_of(whole["risk"]).tables["cash"]
    before = cash.copy()
    with pytest.raises(TypeError, match=r"table cash is read only|does not support item"):
        change(cash, pair("alice", "USD"))
    assert cash.copy() == before


async def test_faust_neither_logs_nor_recovers(whole: Town) -> None:
    """Faust knows of no changelog and nothing to recover; what it would do to a store of its own is refused."""
    app = app_of(whole["risk"])
    assert app.tables.changelog_topics == set()
    assert not app.tables
    table = app.tables["orders"]
    tp = TP(CHANGELOG, 0)
    for refused in (
        table.reset_state,
        lambda: table.apply_changelog_batch([]),
        lambda: table.data.set_persisted_offset(tp, 5),
        lambda: table.data.restore_backup(tp),
    ):
        with pytest.raises(NotImplementedError, match="table orders "):
            refused()
    with pytest.raises(NotImplementedError, match="its changelog as its backup"):
        await table.data.backup_partition(tp)
    assert not await table.need_active_standby_for(tp)


def test_the_persisted_offset_is_the_last_checkpoints(whole: Town) -> None:
    """It moves by checkpoints to the changelog's last record, and is not known of what is not here."""
    worker = whole["risk"]
    table, tp = app_of(worker).tables["orders"], TP(CHANGELOG, 0)
    before = table.persisted_offset(tp)
    worker.checkpoint()
    after = table.persisted_offset(tp)
    assert before < after == len(whole.log.changes["risk-a", 0]) - 1
    worker.release()
    assert table.persisted_offset(tp) is None
