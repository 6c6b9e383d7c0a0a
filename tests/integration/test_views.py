"""The views of a running engine: real workers on a real broker, every one of them asked for everything."""

import json
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer

from infra.engine import Engine
from infra.processes import wait_until
from infra.settings import Settings
from infra.supervisor import State
from schemas import codec
from schemas.commands import ControlCommand, DefineAccount, DefineInstrument, Deposit, PlaceOrder, SetMark
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.partitioner import partition_of
from schemas.record import Side
from schemas.reference import Account, Instrument
from schemas.topics import ACCOUNT_COMMANDS, CONTROL, ORDERS

TIMEOUT_S = 30
ACCOUNT_PARTITIONS = 2
X = Instrument(
    symbol="BTC/USD",
    kind="SPOT",
    currency="USD",
    currency_exponent=2,
    tick_size_e9=500_000_000,
    lot_size_e9=1_000_000_000,
    multiplier=1,
    minor_per_tick_lot=50,
    maximum_quantity_lots=1_000,
    maximum_notional_minor=10**12,
)
NAMES = ("alice", "bob")
PATHS = (
    "/accounts/alice",
    "/accounts/bob/orders",
    "/accounts/alice/positions",
    "/books/BTC%2FUSD",
    "/books/BTC%2FUSD/top",
    "/instruments/BTC%2FUSD",
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, driver: str) -> Iterator[Engine]:
    """Three workers, none of which has all stages; two accounts with cash, one trade, one resting order."""
    settings = Settings.load(
        data_folder=tmp_path_factory.mktemp("engine"),
        kafka_bootstrap="127.0.0.1:0",
        broker_controller_port=0,
        views_port=0,
        account_partitions=ACCOUNT_PARTITIONS,
        book_partitions=2,
        session_timeout_ms=2_000,
        stage_driver=driver,
        workers=("control+intake+settlement", "risk", "matching"),
    )
    with Engine(settings) as engine:
        producer = Producer(engine.settings.kafka())
        _define(producer)
        first = next(iter(engine.views.values()))
        until(engine, lambda: [ask(first, f"/accounts/{it}")[0] for it in NAMES] == [200, 200])
        _trade(producer)
        until(engine, lambda: ask(first, "/accounts/bob/orders")[1].get("orders", []) != [])
        until(engine, lambda: ask(first, "/accounts/alice/positions")[1].get("positions", []) != [])
        yield engine


def test_every_worker_answers_for_all(engine: Engine) -> None:
    """Whoever is asked, the owner answers: the answers differ by no more than the clock's ticks."""
    for path in PATHS:
        answers = [ask(address, path) for address in engine.views.values()]
        assert [status for status, _ in answers] == [200, 200, 200], (path, answers)
        for _, body in answers:
            assert body.pop("as_of")["time_ns"] > 0
            assert body == answers[0][1]


def test_what_the_state_is(engine: Engine) -> None:
    """A trade of 4 at 101 is in the accounts, the positions and the book, to the last cent."""
    address = next(iter(engine.views.values()))
    (cash,) = ask(address, "/accounts/alice")[1]["balances"]
    (position,) = ask(address, "/accounts/alice/positions")[1]["positions"]
    assert (cash["cash"], cash["held"]) == ("9596", "0")
    assert (position["quantity"], position["open_cost"], position["average_price"]) == ("4", "404", "101")
    (order,) = ask(address, "/accounts/bob/orders")[1]["orders"]
    assert (order["state"], order["leaves_quantity"], order["price"]) == ("PARTIALLY_FILLED", "2", "101")
    assert ask(address, f"/orders/{order['order_id']}")[1]["client_order_id"] == "b1"
    book = ask(address, "/books/BTC%2FUSD")[1]
    assert book["asks"] == [{"price": "101", "quantity": "2", "order_count": 1}]
    assert (book["bids"], book["last_trade_price"]) == ([], "101")


def test_stages_say_how_far_they_are(engine: Engine) -> None:
    """Each worker lists its own partitions with a lag that Kafka was asked for; all are ready."""
    partitions = {}
    for address in engine.views.values():
        for stage in ask(address, "/stages")[1]["stages"]:
            assert (stage["is_ready"], stage["missing"]) == (True, None)
            partitions[stage["stage"]] = stage["partitions"]
    assert {stage: len(rows) for stage, rows in partitions.items()} == {
        "control": 1,
        "intake": 2,
        "risk": 2,
        "matching": 2,
        "settlement": 2,
    }
    for stage, rows in partitions.items():
        assert stage == "intake" or all(row["next_offset"] for row in rows)
        for row in rows:
            assert row["end_offset"] >= row["next_offset"]
            assert row["lag"] == row["end_offset"] - row["next_offset"]


def test_a_killed_worker_is_asked_again_when_it_is_back(engine: Engine) -> None:
    """While matching is dead others say 503; once it is ready they show the same book as before."""
    other = engine.views["risk"]
    before = ask(other, "/books/BTC%2FUSD")[1]
    engine.supervisor.kill("matching")
    assert wait_until(lambda: ask(other, "/books/BTC%2FUSD")[0] == HTTPStatus.SERVICE_UNAVAILABLE, TIMEOUT_S)
    until(engine, lambda: engine.supervisor.states()["matching"] is not State.READY)
    until(engine, engine.supervisor.all_ready)
    until(engine, lambda: {**ask(other, "/books/BTC%2FUSD")[1], "as_of": None} == {**before, "as_of": None})


def ask(address: str, path: str) -> tuple[int, Any]:
    """The status and the JSON of a view; 0 where nobody listens."""
    try:
        with urlopen(f"{address}{path}", timeout=TIMEOUT_S) as answer:  # noqa: S310 - an address of our own
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)
    except (URLError, ConnectionError):
        return 0, {}


def until(engine: Engine, condition: Callable[[], bool]) -> None:
    """Step the engine until something holds."""

    def holds() -> bool:
        engine.step()
        return condition()

    assert wait_until(holds, TIMEOUT_S), engine.supervisor.states()


def _define(producer: Producer) -> None:
    at_ns = time.time_ns()
    accounts = (Account(account="alice"), Account(account="bob", account_type="MARGIN"))
    items: tuple[ControlCommand, ...] = (
        DefineInstrument(command_id="i", instrument=X, at_ns=at_ns),
        *(DefineAccount(command_id=it.account, account=it, at_ns=at_ns) for it in accounts),
        SetMark(command_id="m", instrument=X.symbol, price_ticks=200, at_ns=at_ns),
    )
    producer.produce(CONTROL, codec.encode(ControlCommands(items=items)), partition=0)
    assert producer.flush(TIMEOUT_S) == 0


def _trade(producer: Producer) -> None:
    for name in NAMES:
        cash = Deposit(
            account=name, command_id="d", currency="USD", amount_minor=1_000_000, at_ns=time.time_ns()
        )
        partition = partition_of(name, ACCOUNT_PARTITIONS)
        producer.produce(ACCOUNT_COMMANDS, codec.encode(AccountCommands(items=(cash,))), partition=partition)
    assert producer.flush(TIMEOUT_S) == 0
    _order(producer, "bob", "b1", "SELL", 6)
    _order(producer, "alice", "a1", "BUY", 4)


def _order(producer: Producer, account: str, client_order_id: str, side: Side, lots: int) -> None:
    order = PlaceOrder(
        account=account,
        client_order_id=client_order_id,
        instrument=X.symbol,
        side=side,
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=lots,
        price_ticks=202,
    )
    producer.produce(ORDERS, codec.encode(order), account)
    assert producer.flush(TIMEOUT_S) == 0
