"""The desk's commands on a running engine: real broker, real workers, one test after the other on the same engine."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from infra.cli import main
from infra.cluster import counts_of, engine_log
from infra.desk import Desk, NoOutcomeError
from infra.engine import Engine
from infra.processes import wait_until
from infra.settings import KafkaConfig, Settings
from infra.supervisor import State
from schemas import codec
from schemas.audit import Act
from schemas.commands import Deposit, Halt
from schemas.control_events import CommandApplied
from schemas.envelopes import AccountCommands
from schemas.events import CashDeposited
from schemas.partitioner import partition_of
from schemas.topics import ACCOUNT_COMMANDS, AUDIT

TIMEOUT_S = 120
WORKERS = ("control+intake+risk+matching+settlement", "risk@b")
INSTRUMENTS = """
currencies: {USD: 4}
instruments:
  - {symbol: X, kind: SPOT, currency: USD, tick_size: 0.01, lot_size: 0.01, maximum_quantity: 1000,
     maximum_notional: 1000000, collar_bps: %d}
"""
ACCOUNTS = """
accounts:
  - {account: alice, account_type: MARGIN, limits: {maximum_open_orders: %d}}
  - {account: bob, account_type: MARGIN}
"""
ORDERS = """account,client_order_id,instrument,side,order_type,time_in_force,price,quantity
alice,1,X,BUY,LIMIT,GTC,100.5,3
bob,1,X,SELL,LIMIT,GTC,100.5,2
bob,2,X,SELL,LIMIT,GTC,101,2
bob,3,X,SELL,LIMIT,GTC,101.005,2
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine of its own, with a hot replica of risk; the commands find it by its environment."""
    settings = Settings.load(
        data_folder=tmp_path_factory.mktemp("desk"),
        kafka_bootstrap="127.0.0.1:0",
        broker_controller_port=0,
        views_port=0,
        account_partitions=2,
        book_partitions=2,
        checkpoint_interval_ms=100,
        workers=WORKERS,
    )
    with Engine(settings) as engine, pytest.MonkeyPatch.context() as patch:
        for name, value in engine.settings.environment().items():
            patch.setenv(name, value)
        yield engine


def quiet(engine: Engine) -> KafkaConfig:
    """Settings of a client that does not mind when the broker ends before it."""
    return engine.settings.kafka() | {"log_level": 0}


def trading(*words: str) -> Result:
    """Run a command of the command line."""
    return CliRunner().invoke(main, words)


def asked(*words: str) -> Any:
    """What a command that succeeds prints with --json."""
    result = trading(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refused(*words: str) -> str:
    """The error of a command that fails."""
    result = trading(*words)
    assert result.exit_code == 1, result.output
    return result.stderr


@pytest.fixture(scope="module")
def traded(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The engine with an instrument, two accounts with cash, one trade and two resting orders."""
    folder = tmp_path_factory.mktemp("files")
    for name, text in (("x.yaml", INSTRUMENTS % 500), ("a.yaml", ACCOUNTS % 5), ("orders.csv", ORDERS)):
        (folder / name).write_text(text)
    asked("instruments", "apply", str(folder / "x.yaml"))
    asked("accounts", "apply", str(folder / "a.yaml"))
    for account in ("alice", "bob"):
        asked("deposit", account, "USD", "100000.0001")
    asked("mark", "X", "100")
    sent = trading("send", str(folder / "orders.csv"), "--json")
    assert json.loads(sent.stdout)["sent"] == 3
    assert sent.exit_code == 1
    assert "line 5: invalid_price: price 101.005 is not a multiple of the tick size 0.01" in sent.stderr
    assert wait_until(lambda: asked("status")["last_trade"] is not None, TIMEOUT_S)
    return engine


@pytest.mark.usefixtures("engine")
def test_reference_data_becomes_what_the_file_says(tmp_path: Path) -> None:
    """Applying a file is idempotent, a change back to what once was is a change, and a refusal is one entry's own."""
    file = tmp_path / "instruments.yaml"

    def applied(text: str) -> list[str]:
        file.write_text(text)
        return [entry["outcome"] for entry in asked("instruments", "apply", str(file))]

    assert applied(INSTRUMENTS % 100) == ["applied"]
    assert applied(INSTRUMENTS % 100) == ["unchanged"]
    assert applied(INSTRUMENTS % 200) == ["applied"]
    assert applied(INSTRUMENTS % 100) == ["applied"]
    assert [it["collar_bps"] for it in asked("instruments", "list") if it["symbol"] == "X"] == [100]
    other = (INSTRUMENTS % 300).partition("instruments:\n")[2].replace("X", "Y")
    file.write_text((INSTRUMENTS % 300).replace("tick_size: 0.01", "tick_size: 0.02") + other)
    result = trading("instruments", "apply", str(file))
    assert result.exit_code == 1
    assert "X: refused, unchangeable_field (405): tick_size_e9 of X is 10000000 for good" in result.stdout
    assert "Y: applied" in result.stdout
    assert "1 of 2 refused: X" in result.stderr


@pytest.mark.usefixtures("traded")
def test_status_shows_stages_replicas_and_the_last_trade() -> None:
    """Every partition of every stage and replica has a worker and a place, and the last trade is in people's units."""
    status = asked("status")
    rows = {(row["stage"], row["replica"], row["partition"]): row for row in status["stages"]}
    stages = {("risk", "a"), ("risk", "b"), ("matching", "a"), ("settlement", "a"), ("intake", "a")}
    assert set(rows) == {
        ("control", "a", 0),
        *((*stage, partition) for stage in stages for partition in (0, 1)),
    }
    assert all(row["worker"].startswith("http://127.0.0.1:") for row in rows.values())
    assert rows["risk", "a", 0]["worker"] != rows["risk", "b", 0]["worker"]
    assert all(row["lag"] >= 0 and row["next_offset"] > 0 for row in rows.values())
    trade = status["last_trade"]
    assert (trade["instrument"], trade["price"], trade["quantity"]) == ("X", "100.5", "2")
    shown = trading("status").stdout
    assert "risk@b" in shown
    assert "last trade: 2 X at 100.5" in shown


@pytest.mark.usefixtures("traded")
def test_cash_moves_once_for_an_id() -> None:
    """A repeated deposit gets its first outcome again; what is not free, or cannot be counted, does not move."""
    first = asked("deposit", "alice", "USD", "7", "--id", "wire-1")
    again = asked("deposit", "alice", "USD", "7", "--id", "wire-1")
    assert (first["possible_resend"], again["possible_resend"]) == (False, True)
    assert "refused, insufficient_free_cash (402)" in refused("withdraw", "bob", "USD", "100000.0002")
    assert "refused, unknown_account (102)" in refused("deposit", "nobody", "USD", "1")
    assert "not a multiple of the minor unit 0.0001" in refused("withdraw", "bob", "USD", "0.00001")
    assert "is not 1 to 64 printable ASCII characters" in refused("deposit", "bø", "USD", "1")
    assert asked("withdraw", "bob", "USD", "1")["outcome"] == "applied"


@pytest.mark.usefixtures("traded")
def test_limits_change_only_what_is_named() -> None:
    """A bound that is not named stays, `none` lifts one, and an unknown account is named."""
    asked("limits", "alice", "--maximum-position-lots", "900")
    limits = asked("limits", "alice", "--maximum-open-orders", "none")["limits"]
    assert (limits["maximum_position_lots"], limits["maximum_open_orders"]) == (900, None)
    assert "account 'nobody' is not defined" in refused("limits", "nobody", "--maximum-open-orders", "1")


@pytest.mark.usefixtures("traded")
def test_kill_waits_until_the_orders_are_gone(tmp_path: Path) -> None:
    """A kill cancels what works and says how many; new orders come after it is lifted; a repeat sweeps no more."""
    killed = asked("kill", "--account", "alice", "--id", "kill-1")
    assert (killed["outcome"], killed["cancelled"]) == ("applied", 1)
    again = asked("kill", "--account", "alice", "--id", "kill-1")
    assert (again["possible_resend"], again["cancelled"]) == (True, None)
    asked("resume", "--account", "alice")
    orders = tmp_path / "orders.csv"
    orders.write_text(ORDERS.splitlines()[0] + "\nalice,after,X,BUY,LIMIT,GTC,99,1\n")
    asked("send", str(orders))
    swept: list[int] = []

    def both_are_swept() -> bool:
        swept.append(asked("mass-cancel", "--instrument", "X")["cancelled"])
        return sum(swept) == 2

    assert wait_until(both_are_swept, TIMEOUT_S), "alice's new order and bob's old one"
    assert asked("kill", "--yes")["cancelled"] == 0
    asked("resume")
    assert "refused, unknown_account" in refused("kill", "--account", "nobody")


def acts(engine: Engine, target: str) -> list[Act]:
    """What `audit` holds of a target, in its order."""
    with engine_log(engine.settings) as log:
        found = [codec.decode(it.value or b"") for it in log.read((AUDIT, 0), log.bounds((AUDIT, 0)))]
    return [it for it in found if isinstance(it, Act) and it.target == target]


def test_every_deed_is_in_audit_before_and_after(traded: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill, its lifting, a limit and a refusal: each is asked for, then has its outcome and both states."""
    monkeypatch.setenv("TRADING_OPERATOR", "olga")
    asked("kill", "--account", "bob", "--allow-reducing", "--id", "kill-bob")
    asked("resume", "--account", "bob")
    asked("limits", "bob", "--maximum-open-orders", "7")
    refused("withdraw", "bob", "USD", "1000000")
    found = acts(traded, "account bob")[-8:]
    assert [(it.action, it.outcome) for it in found] == [
        (action, outcome)
        for action, last in (
            ("KILL", "APPLIED"),
            ("RESUME", "APPLIED"),
            ("SET_LIMITS", "APPLIED"),
            ("WITHDRAW", "REFUSED"),
        )
        for outcome in ("ASKED", last)
    ]
    assert [it.act_id for it in found[::2]] == [it.act_id for it in found[1::2]]
    assert {(it.operator, it.host) for it in found} == {("olga", socket.gethostname())}
    killed, resumed, limited, withdrawn = found[1::2]
    on = {"command_id": "kill-bob", "allow_reducing": True}
    assert json.loads(killed.before or "") == {"halt": None, "kill": None}
    assert json.loads(killed.after or "") == json.loads(resumed.before or "") == {"halt": None, "kill": on}
    assert json.loads(resumed.after or "") == {"halt": None, "kill": None}
    assert json.loads(limited.before or "")["maximum_open_orders"] is None
    assert json.loads(limited.after or "")["maximum_open_orders"] == 7
    assert (withdrawn.after, (withdrawn.reason or "").partition(":")[0]) == (None, "insufficient_free_cash")
    assert (killed.command_id, json.loads(killed.details or "")["account"]) == ("kill-bob", "bob")


@pytest.mark.usefixtures("traded")
def test_trail_tells_an_orders_story_by_either_name() -> None:
    """From the order as it came to its confirmation, each item with its place; the same by the order's id."""
    story = asked("audit", "trail", "--order", "bob/1")
    kinds = [it["item"]["type"] for it in story]
    assert kinds[0] == "PlaceOrder"
    assert {"EnterOrder", "OrderAccepted", "OrderFilled", "Trade", "TradeConfirmed", "Posting"} <= set(kinds)
    assert story[0]["topic"] == "orders"
    order_id = next(it["item"]["order_id"] for it in story if it["item"]["type"] == "OrderAccepted")
    assert asked("audit", "trail", "--order", str(order_id)) == story
    trade_id = next(it["item"]["trade_id"] for it in story if it["item"]["type"] == "Trade")
    told = trading("audit", "trail", "--trade", str(trade_id)).stdout
    assert "TradeConfirmed" in told
    assert "trades/" in told
    assert "the log says nothing of account stranger" in refused("audit", "trail", "--account", "stranger")
    assert "name one of --order" in refused("audit", "trail")


@pytest.mark.usefixtures("traded")
def test_halt_and_mark_name_their_instrument() -> None:
    """A halt and a mark are applied to an instrument that there is, and refused for one that there is not."""
    assert asked("halt", "--instrument", "X")["outcome"] == "applied"
    assert asked("resume", "--instrument", "X")["outcome"] == "applied"
    assert "refused, unknown_instrument (103)" in refused("halt", "--instrument", "Z")
    assert "instrument 'Z' is not defined" in refused("mark", "Z", "1")
    assert "not a multiple of the tick size 0.01" in refused("mark", "X", "1.001")


def test_dead_letters_come_back_byte_for_byte(engine: Engine) -> None:
    """What intake cannot read is listed with its place; a replay sends the same bytes to the same partition."""
    before = len(asked("dead-letters", "list", "--limit", "1000"))
    producer = Producer(quiet(engine))
    for value in (b"no frame \x00", b"\x00\x00\x00\xff\xff"):
        producer.produce("orders", value, b"key", 1)
    producer.flush()

    def letters() -> list[Any]:
        found: list[Any] = asked("dead-letters", "list", "--limit", "1000")
        return found[before:]

    assert wait_until(lambda: len(letters()) == 2, TIMEOUT_S)
    first, second = letters()
    assert (first["reason"], second["reason"]) == ("undecodable", "unknown_schema")
    assert (first["topic"], first["partition"], first["bytes"]) == ("orders", 1, 10)
    assert asked("dead-letters", "show", str(first["number"]))["value"] == b"no frame \x00".hex()
    assert "6e 6f 20 66 72 61 6d 65 20 00" in trading("dead-letters", "show", str(first["number"])).stdout
    page = trading("dead-letters", "list", "--from", str(first["number"]), "--limit", "1").stdout
    assert f"more: trading dead-letters list --from {second['number']}" in page
    asked("dead-letters", "replay", str(first["number"]))
    replayed = acts(engine, f"dead letters {first['number']}")
    assert [(it.action, it.outcome) for it in replayed] == [
        ("REPLAY_DEAD_LETTERS", "ASKED"),
        ("REPLAY_DEAD_LETTERS", "APPLIED"),
    ]
    assert wait_until(lambda: len(letters()) == 3, TIMEOUT_S)
    third = letters()[2]
    assert third["offset"] > second["offset"]
    assert {**third, **{name: first[name] for name in ("number", "offset", "at")}} == first
    assert "there is no dead letter 999999" in refused("dead-letters", "replay", "999999")


def test_skip_is_refused_once_a_replica_has_passed(traded: Engine) -> None:
    """A record that a replica has passed, or that there is not, cannot be skipped; the refusal names the replica."""
    note = ("--note", "test")
    assert "of risk has passed offset 0 of partition 0" in refused("skip", "risk", "0", "0", *note)
    assert "holds offsets from 0 to" in refused("skip", "risk", "0", str(10**9), *note)
    assert "risk has 2 partitions" in refused("skip", "risk", "7", "0", *note)
    assert "has 1 items: --index is too large" in refused("skip", "control", "0", "0", "--index", "1", *note)
    assert traded.supervisor.all_ready()


def test_skipped_record_is_no_op_on_every_replica(traded: Engine) -> None:
    """A deposit that is skipped while the workers are down was never made when they are back."""
    partition = partition_of("alice", 2)
    lost = Deposit(account="alice", command_id="skipped", currency="USD", amount_minor=1, at_ns=1)
    for worker in WORKERS:
        traded.supervisor.kill(worker)
    offsets: list[int] = []
    producer = Producer(quiet(traded))
    value = codec.encode(AccountCommands(items=(lost,)))
    producer.produce(
        ACCOUNT_COMMANDS, value, None, partition, on_delivery=lambda _, it: offsets.append(it.offset() or 0)
    )
    producer.flush()
    skipped = asked("skip", "risk", str(partition), str(offsets[0]), "--index", "0", "--note", "a wrong wire")
    assert skipped["skipped"][0]["command_id"] == "skipped"
    skips = acts(traded, f"inbox risk/{partition}/{offsets[0]}/0")
    assert [(it.outcome, it.note) for it in skips] == [("ASKED", "a wrong wire"), ("APPLIED", "a wrong wire")]
    assert wait_until(lambda: _all_ready(traded), TIMEOUT_S)
    assert asked("deposit", "alice", "USD", "0.0001", "--id", "skipped")["possible_resend"] is False


def test_desk_answers_in_the_order_asked(traded: Engine) -> None:
    """Outcomes come in the order of the commands, of whatever kind and partition."""
    with Desk(quiet(traded), counts_of(traded.settings)) as desk:
        cash = [
            Deposit(account=account, command_id=f"order-{number}", currency="USD", amount_minor=1)
            for number, account in enumerate(("bob", "alice") * 150)
        ]
        outcomes = desk.cash(cash)
        assert [it.command_id for it in outcomes] == [it.command_id for it in cash]
        assert all(isinstance(it, CashDeposited) for it in outcomes)
        halts = [Halt(command_id=f"halt-{number}", instrument="X") for number in range(3)]
        assert [type(it) for it in desk.control(halts)] == [CommandApplied] * 3
    asked("resume", "--instrument", "X")


def test_engine_that_does_not_answer_is_a_line(traded: Engine) -> None:
    """With no worker the desk says that there was no outcome, and with which id to ask again."""
    for worker in WORKERS:
        traded.supervisor.kill(worker)
    with (
        Desk(quiet(traded), counts_of(traded.settings), timeout_s=0.5) as desk,
        pytest.raises(NoOutcomeError, match=r"same id \(late-1\) is safe"),
    ):
        desk.control([Halt(command_id="late-1", instrument="X")])
    assert wait_until(lambda: _all_ready(traded), TIMEOUT_S)


def _all_ready(engine: Engine) -> bool:
    engine.step()
    return set(engine.supervisor.states().values()) == {State.READY}
