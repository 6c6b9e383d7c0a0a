"""The story of one order, account or trade: whole, in order, and of nobody else."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from infra.acts import Deed
from infra.auditor.log import Place
from infra.errors import OperatorError
from infra.trail import Step, trail_of_account, trail_of_order, trail_of_trade
from schemas import codec
from schemas.commands import CancelOrder, Kill, MassCancel, PlaceOrder, ReplaceOrder, Resume
from schemas.events import OrderAccepted
from schemas.record import Record
from schemas.topics import AUDIT, FINGERPRINTS, SEALS, TOPICS
from tests.unit.infra.auditor.engine import ACCOUNTS, COUNTS, STEP_NS, Engine, open_market, trade_at_random
from tests.unit.infra.test_acts import ACTOR

PLACES: list[Place] = [
    (topic.name, partition)
    for topic in TOPICS
    if topic.name not in {SEALS, FINGERPRINTS}
    for partition in range(COUNTS.of(topic))
]


@pytest.fixture(scope="module")
def engine() -> Engine:
    """A market of six accounts over three days, and a kill of everyone with its act."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, seed=7, steps=400)
    engine.account(resting_order(engine.now_ns))
    engine.pump()
    engine.now_ns += STEP_NS
    kill = Kill(command_id="kill-all", at_ns=engine.now_ns)
    deed = Deed(action="KILL", target="everyone", command_id="kill-all")
    engine.append((AUDIT, 0), codec.encode(ACTOR.act(deed, "ASKED")))
    engine.control(kill)
    engine.pump()
    engine.append((AUDIT, 0), codec.encode(ACTOR.act(deed, "APPLIED")))
    engine.control(Resume(command_id="resume-all", at_ns=engine.now_ns))
    engine.pump()
    return engine


def resting_order(at_ns: int) -> PlaceOrder:
    """A limit order that nobody takes."""
    return PlaceOrder(
        account="alice",
        client_order_id="resting",
        instrument="BTC",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=2,
        price_ticks=90,
        at_ns=at_ns,
    )


def everything(engine: Engine) -> Iterator[tuple[tuple[str, int, int, int], Record]]:
    """Every item of the log with its place."""
    for place in PLACES:
        for record in engine.log.records[place]:
            decoded: Any = codec.decode(record.value or b"")
            for index, item in enumerate(getattr(decoded, "items", (decoded,))):
                yield (*place, record.offset, index), item


def places(steps: list[Step]) -> set[tuple[str, int, int, int]]:
    """Where the steps stand."""
    found = [(it.topic, it.partition, it.offset, it.index) for it in steps]
    assert len(set(found)) == len(found), "each item is told once"
    return set(found)


def words(item: Record) -> set[Any]:
    """All values of an item, however deep: names of others are found without knowing any field."""

    def walk(value: Any) -> Iterator[Any]:
        match value:
            case dict():
                for it in value.values():
                    yield from walk(it)
            case list():
                for it in value:
                    yield from walk(it)
            case _:
                yield value

    return set(walk(json.loads(msgspec.json.encode(item))))


@pytest.mark.parametrize("account", ACCOUNTS)
def test_account_trail_is_all_that_names_it(engine: Engine, account: str) -> None:
    """Each item in which the account's name stands is told, and beyond them only the commands that swept it."""
    steps = trail_of_account(engine.log, PLACES, account)
    named = {place for place, item in everything(engine) if account in words(item)}
    assert len(named) > 100
    assert named <= places(steps)
    own = {it.item.command_id for it in steps if isinstance(it.item, MassCancel)}
    more: set[Any] = {getattr(it.item, "command_id", None) for it in steps if account not in words(it.item)}
    assert more <= own | {"kill-all"}


def orders_of(engine: Engine) -> dict[int, tuple[str, str]]:
    """Every accepted order with the name that it came by."""
    known: dict[int, tuple[str, str]] = {}
    for _, item in everything(engine):
        if isinstance(item, OrderAccepted):
            known.setdefault(item.order_id, (item.account, item.client_order_id))
    return known


def test_order_trail_is_its_life_and_no_other_orders(engine: Engine) -> None:
    """All that bears the order's id, its commands before it had one, and nothing that bears another's id alone."""
    known = orders_of(engine)
    assert len(known) > 100
    for order_id, name in list(known.items())[::9]:
        steps = trail_of_order(engine.log, PLACES, order_id)
        bearing = {place for place, item in everything(engine) if _bears(item, order_id)}
        assert bearing <= places(steps)
        assert all(_bears(it.item, order_id) or not _bears_any(it.item) for it in steps)
        first: Any = steps[0].item
        assert (type(first), (first.account, first.client_order_id)) == (PlaceOrder, name)
        assert places(trail_of_order(engine.log, PLACES, name)) == places(steps)


def test_order_trail_has_replaces_and_cancels_before_they_were_answered(engine: Engine) -> None:
    """A replace and a cancel name the order by its client order id only; they are part of its story."""
    for kind in (ReplaceOrder, CancelOrder):
        answers = {ReplaceOrder: "OrderReplaced", CancelOrder: "OrderCancelled"}
        answered = [item for _, item in everything(engine) if type(item).__name__ == answers[kind]]
        commands = {(it.account, it.client_order_id) for _, it in everything(engine) if isinstance(it, kind)}
        seen = 0
        for answer in answered:
            it: Any = answer
            command = it.client_order_id if kind is ReplaceOrder else it.command_id
            if (it.account, command) in commands:
                steps = trail_of_order(engine.log, PLACES, it.order_id)
                told = [step.item for step in steps if isinstance(step.item, kind)]
                assert command in {getattr(step, "client_order_id", None) for step in told}
                seen += 1
            if seen == 5:
                break
        assert seen


def test_order_that_a_kill_cancelled_tells_who_killed(engine: Engine) -> None:
    """The kill, its act before and after, stand in the story of the order that it cancelled; in that order."""
    steps = trail_of_order(engine.log, PLACES, ("alice", "resting"))
    kinds = [type(it.item).__name__ for it in steps]
    for kind in ("Act", "Kill", "KillActivated", "OrderCancelled"):
        assert kind in kinds
    assert kinds.index("Act") < kinds.index("Kill") < kinds.index("KillActivated")
    assert kinds.index("PlaceOrder") == 0
    assert "Resume" not in kinds


def test_trade_trail_has_both_sides_and_their_money(engine: Engine) -> None:
    """Both orders, both fills, both confirmations, the postings of both; and no other trade."""
    trades = [item for _, item in everything(engine) if type(item).__name__ == "Trade"]
    assert len(trades) > 20
    for trade in trades[::7]:
        it: Any = trade
        steps = trail_of_trade(engine.log, PLACES, it.trade_id)
        kinds = [type(step.item).__name__ for step in steps]
        assert kinds.count("Trade") == 1
        assert kinds.count("TradeConfirmed") == 2
        assert {step.item.account for step in steps if type(step.item).__name__ == "PlaceOrder"} >= {  # type: ignore[attr-defined]
            it.maker_account,
            it.taker_account,
        }
        assert {getattr(step.item, "trade_id", it.trade_id) for step in steps} == {it.trade_id}
        posted = {
            place
            for place, item in everything(engine)
            if getattr(item, "source_id", None) == str(it.trade_id)
        }
        assert posted
        assert posted <= places(steps)


def test_each_partition_is_told_in_its_order(engine: Engine) -> None:
    """Within a partition the log's order stands, whatever the times say."""
    steps = trail_of_account(engine.log, PLACES, "bob")
    for place in PLACES:
        offsets = [(it.offset, it.index) for it in steps if (it.topic, it.partition) == place]
        assert offsets == sorted(offsets)


def test_unknown_names_are_said(engine: Engine) -> None:
    """What the log does not know is an error of one line."""
    with pytest.raises(OperatorError, match="nothing of account nobody"):
        trail_of_account(engine.log, PLACES, "nobody")
    with pytest.raises(OperatorError, match="nothing of trade 999999"):
        trail_of_trade(engine.log, PLACES, 999_999)
    with pytest.raises(OperatorError, match="nothing of order alice/never"):
        trail_of_order(engine.log, PLACES, ("alice", "never"))


_IDS = ("order_id", "maker_order_id", "taker_order_id")


def _bears(item: Record, order_id: int) -> bool:
    return any(getattr(item, name, None) == order_id for name in _IDS)


def _bears_any(item: Record) -> bool:
    return any(getattr(item, name, None) is not None for name in _IDS)
