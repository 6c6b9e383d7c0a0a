"""A client's own topic on a running engine: a real broker, all stages, and the audit at the end."""

import time
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest
from confluent_kafka import Producer

from infra.auditor.log import KafkaLog
from infra.auditor.run import run
from infra.engine import Engine
from infra.settings import Settings
from infra.supervisor import State
from schemas import codec
from schemas.commands import ControlCommand, DefineAccount, DefineInstrument, Deposit, PlaceOrder, SetMark
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.partitioner import partition_of
from schemas.reference import Account
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, CONTROL, DEAD_LETTERS, ORDERS, orders_of
from tests.integration.test_views import X, ask, until

ACME = orders_of("acme").name
WORKER = "control+intake+risk+matching+settlement"
PARTITIONS = 2


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, driver: str) -> Iterator[Engine]:
    """One worker with all stages. The account alice lists the client acme, bob does not; both have cash."""
    settings = Settings.load(
        data_folder=tmp_path_factory.mktemp("engine"),
        kafka_bootstrap="127.0.0.1:0",
        broker_controller_port=0,
        views_port=0,
        account_partitions=PARTITIONS,
        book_partitions=PARTITIONS,
        session_timeout_ms=2_000,
        stage_driver=driver,
        clients=("acme", "quiet"),
        workers=(WORKER,),
    )
    with Engine(settings) as engine:
        accounts = (
            Account(account="alice", account_type="MARGIN", clients=("acme",)),
            Account(account="bob", account_type="MARGIN", clients=("quiet",)),
        )
        at_ns = time.time_ns()
        items: tuple[ControlCommand, ...] = (
            DefineInstrument(command_id="i", instrument=X, at_ns=at_ns),
            *(DefineAccount(command_id=it.account, account=it, at_ns=at_ns) for it in accounts),
            SetMark(command_id="m", instrument=X.symbol, price_ticks=200, at_ns=at_ns),
        )
        send(engine, CONTROL, codec.encode(ControlCommands(items=items)), 0)
        until(
            engine,
            lambda: [ask(address(engine), f"/accounts/{it.account}")[0] for it in accounts] == [200, 200],
        )
        for name in "alice", "bob":
            cash = Deposit(
                account=name, command_id="d", currency="USD", amount_minor=10**6, at_ns=time.time_ns()
            )
            value = codec.encode(AccountCommands(items=(cash,)))
            send(engine, ACCOUNT_COMMANDS, value, partition_of(name, PARTITIONS))
        yield engine


def test_a_client_trades_by_his_topic_for_his_accounts_alone(engine: Engine) -> None:
    """Orders for alice work; one for bob is refused, and bob's own order of that id works; the audit is clean.

    In between the worker is killed: the edge goes on where each topic was.
    """
    send(engine, ACME, b"garbage", 0)
    place(engine, ACME, "alice", "1")
    place(engine, ACME, "bob", "1", client="quiet")
    until(engine, lambda: outcomes(engine).keys() == {("alice", "1"), ("bob", "1")})
    assert outcomes(engine) == {("alice", "1"): ["OrderAccepted"], ("bob", "1"): ["not_your_account"]}

    engine.supervisor.kill(WORKER)
    until(engine, lambda: engine.supervisor.states()[WORKER] is not State.READY)
    until(engine, engine.supervisor.all_ready)
    place(engine, ORDERS, "bob", "1")
    place(engine, ACME, "alice", "2")
    until(engine, lambda: len(outcomes(engine)[("bob", "1")]) == 2 and ("alice", "2") in outcomes(engine))
    assert outcomes(engine) == {
        ("alice", "1"): ["OrderAccepted"],
        ("alice", "2"): ["OrderAccepted"],
        ("bob", "1"): ["not_your_account", "OrderAccepted"],
    }
    assert ask(address(engine), "/accounts/bob/orders")[1]["orders"][0]["client_order_id"] == "1"
    letters = {(it.topic, it.partition, it.offset, it.reason) for it in read(engine, DEAD_LETTERS)}
    assert letters == {(ACME, 0, 0, "undecodable")}  # said again, if the kill came before the commit
    report = run(engine.settings)
    assert report.breaches == 0, [(it.name, it.examples) for it in report if it.breaches]


def test_the_views_show_each_topic_of_the_edge(engine: Engine) -> None:
    """`/stages` and `/metrics` tell intake's place in every topic, and what came to nothing, by topic and reason."""
    quiet = orders_of("quiet").name
    send(engine, quiet, b"garbage", 1)
    said = {"topic": quiet, "reason": "undecodable", "count": 1}
    until(engine, lambda: said in edge(engine)["dead_letters"])
    with urlopen(f"{address(engine)}/metrics") as metrics:  # noqa: S310 - an address of our own
        assert (
            f'trading_dead_letters_total{{reason="undecodable",topic="{quiet}"}} 1.0'
            in metrics.read().decode()
        )
    rows = {(it["topic"], it["partition"]): it for it in edge(engine)["partitions"]}
    topics = (ORDERS, ACME, quiet)
    assert rows.keys() == {(topic, partition) for topic in topics for partition in range(PARTITIONS)}
    assert (rows[quiet, 0]["next_offset"], rows[quiet, 1]["next_offset"]) == (0, 1)
    assert {it["lag"] for it in rows.values()} == {0}


def edge(engine: Engine) -> Any:
    """Intake as its worker shows it."""
    return next(it for it in ask(address(engine), "/stages")[1]["stages"] if it["stage"] == "intake")


def address(engine: Engine) -> str:
    """Where the worker's views are."""
    return engine.views[WORKER]


def place(engine: Engine, topic: str, account: str, client_order_id: str, client: str | None = None) -> None:
    """Sends a limit order."""
    order = PlaceOrder(
        account=account,
        client_order_id=client_order_id,
        instrument=X.symbol,
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=1,
        price_ticks=200,
        client=client,
    )
    send(engine, topic, codec.encode(order), partition_of(account, PARTITIONS))


def send(engine: Engine, topic: str, value: bytes, partition: int) -> None:
    """Produces one record and waits until the broker has it."""
    producer = Producer(engine.settings.kafka())
    producer.produce(topic, value, partition=partition)
    assert producer.flush(30) == 0


def outcomes(engine: Engine) -> dict[tuple[str, str], list[str]]:
    """What was said to orders, once each: accepted, or the reason why not."""
    said: dict[tuple[str, str], dict[str, None]] = {}
    for envelope in read(engine, ACCOUNT_EVENTS):
        for it in envelope.items:
            if hasattr(it, "client_order_id"):
                outcome = getattr(it, "reason", type(it).__name__)
                said.setdefault((it.account, it.client_order_id), {})[outcome] = None
    return {key: list(found) for key, found in said.items()}


def read(engine: Engine, topic: str) -> list[Any]:
    """All records of a topic."""
    log = KafkaLog(engine.settings.kafka())
    try:
        places = [(topic, partition) for partition in range(log.topics()[topic])]
        return [
            codec.decode(it.value or b"") for place in places for it in log.read(place, log.bounds(place))
        ]
    finally:
        log.close()
