"""`trading simulate`: commands in, events out, the same whatever way the bytes come."""

import io
import json
import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import IO, Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.errors import OperatorError
from infra.simulate import run, simulate
from infra.simulated_books import SimulatedBooks
from infra.simulated_engine import SimulatedEngine

Json = dict[str, Any]


def order(name: str, side: str, quantity: str, price: str | None = None, **more: Any) -> Json:
    """A new order of account a in X, GTC."""
    fields = {
        "command": "PlaceOrder",
        "account": "a",
        "client_order_id": name,
        "instrument": "X",
        "side": side,
        "order_type": "MARKET" if price is None else "LIMIT",
        "time_in_force": "GTC",
        "quantity": quantity,
    }
    return fields | ({} if price is None else {"price": price}) | more


def cancel(name: str, original: str, **more: Any) -> Json:
    """A cancel by account a."""
    fields = {"account": "a", "client_order_id": name, "original_client_order_id": original}
    return {"command": "CancelOrder", **fields, **more}


def replace(name: str, original: str, **more: Any) -> Json:
    """A replace by account a."""
    return cancel(name, original, **more) | {"command": "ReplaceOrder"}


def events(*commands: Json | str, simulator: SimulatedBooks | SimulatedEngine | None = None) -> list[Json]:
    """All events of these commands, without risk unless told."""
    text = "\n".join(it if isinstance(it, str) else json.dumps(it) for it in commands)
    sink = io.BytesIO()
    run(simulator or SimulatedBooks(), io.BytesIO(text.encode()), sink)
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def brief(said: list[Json]) -> list[str]:
    """Each event in one word or two."""
    return [f"{it['event']} {it.get('client_order_id', it.get('command_id', ''))}".strip() for it in said]


def test_the_example_of_the_issue_is_accepted() -> None:
    """Every field stands as given, decimals without trailing zeros, what has no value left out."""
    line = (
        '{"command":"PlaceOrder","account":"a","client_order_id":"1","instrument":"X","side":"BUY",'
        '"order_type":"LIMIT","time_in_force":"GTC","price":"100.50","quantity":"3"}'
    )
    assert events(line) == [
        {
            "event": "OrderAccepted",
            "account": "a",
            "client_order_id": "1",
            "instrument": "X",
            "order_id": 4096,
            "side": "BUY",
            "order_type": "LIMIT",
            "time_in_force": "GTC",
            "quantity": "3",
            "price": "100.5",
        }
    ]


def test_a_trade_names_both_sides() -> None:
    """A trade stands between the acceptance and the end of the order that made it."""
    said = events(
        order("1", "SELL", "1.5", "100"), order("2", "BUY", "2", "101", account="b", time_in_force="IOC")
    )
    assert brief(said) == ["OrderAccepted 1", "OrderAccepted 2", "Trade", "OrderCancelled 2"]
    assert said[2] == {
        "event": "Trade",
        "trade_id": 0,
        "instrument": "X",
        "price": "100",
        "quantity": "1.5",
        "aggressor_side": "BUY",
        "maker_order_id": said[0]["order_id"],
        "maker_client_order_id": "1",
        "maker_account": "a",
        "taker_order_id": said[1]["order_id"],
        "taker_client_order_id": "2",
        "taker_account": "b",
    }
    assert (said[3]["reason"], said[3]["reason_code"]) == ("immediate_or_cancel", 303)
    assert (said[3]["cancelled_quantity"], said[3]["cum_quantity"]) == ("0.5", "1.5")


def test_json_numbers_are_exact() -> None:
    """A number is taken as the text that it was written in, not as a float."""
    line = (
        json.dumps(order("1", "BUY", "3", "100")).replace('"100"', "0.1").replace('"3"', "123456789.00000001")
    )
    (accepted,) = events(line)
    assert (accepted["price"], accepted["quantity"]) == ("0.1", "123456789.00000001")


def test_every_event_of_matching_has_its_line() -> None:
    """Replace, reduce, cancel, expire, trigger, the rejections and the mass cancel are all written."""
    said = events(
        order("1", "BUY", "5", "99"),
        replace("2", "1", quantity="4"),
        replace("3", "1", quantity="4"),  # goes by "2" now
        order("4", "SELL", "3", "99", self_trade_prevention="DECREMENT"),
        cancel("5", "2"),
        cancel("6", "2"),
        order("7", "BUY", "1", "90", time_in_force="GTD", expires_at=50, timestamp_ns=10),
        {"command": "Tick", "tick_ns": 50},
        order("8", "BUY", "1", order_type="STOP", stop_price="100"),
        order("9", "SELL", "1", "100"),
        order("10", "BUY", "1", "100", account="b"),
        order("11", "BUY", "1", "80"),
        {"command": "MassCancel", "account": "a", "command_id": "m", "side": "BUY"},
        order("12", "BUY", "1", "80", post_only=True, time_in_force="IOC"),
    )
    assert brief(said) == [
        "OrderAccepted 1",
        "OrderReplaced 2",
        "ReplaceRejected 3",
        "OrderAccepted 4",
        "OrderReduced 2",
        "OrderReduced 4",
        "OrderCancelled 4",
        "OrderCancelled 2",
        "CancelRejected 6",
        "OrderAccepted 7",
        "OrderExpired 7",
        "OrderAccepted 8",
        "OrderAccepted 9",
        "OrderAccepted 10",
        "Trade",
        "OrderTriggered 8",
        "OrderCancelled 8",
        "OrderAccepted 11",
        "OrderCancelled 11",
        "MassCancelled m",
        "OrderRejected 12",
    ]
    assert said[-2] == {
        "event": "MassCancelled",
        "command_id": "m",
        "count": 1,
        "account": "a",
        "side": "BUY",
    }
    assert said[-1]["reason"] == "post_only_not_allowed"


def test_a_repeat_gets_the_first_outcome_again() -> None:
    """The same id with the same content, however its numbers are written, changes nothing."""
    first = order("1", "BUY", "5", "99")
    said = events(
        first,
        first | {"price": "99.0", "timestamp_ns": 7},
        cancel("2", "1"),
        cancel("2", "1"),
        first,
        {"command": "MassCancel", "account": "a", "command_id": "m"},
        order("3", "BUY", "1", "9"),
        {"command": "MassCancel", "account": "a", "command_id": "m"},
    )
    assert said[0] == said[1] == said[4]
    assert said[2] == said[3]
    assert said[5] == said[7]
    assert len(said) == 8


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (order("1", "BUY", "6", "99"), "OrderRejected"),
        (order("1", "BUY", "5", "99", instrument="Y"), "OrderRejected"),
        (cancel("1", "1"), "CancelRejected"),
        (replace("1", "1", price="5"), "ReplaceRejected"),
    ],
)
def test_an_id_is_used_once(command: Json, event: str) -> None:
    """Orders, cancels and replaces of an account share one namespace; the first order is untouched."""
    said = events(order("1", "BUY", "5", "99"), command, cancel("9", "1"))
    assert (said[1]["event"], said[1]["reason"], said[1]["reason_code"]) == (
        event,
        "client_order_id_already_used",
        100,
    )
    assert said[2]["event"] == "OrderCancelled"


def test_ids_are_an_accounts_own() -> None:
    """Two accounts may use the same id, and neither touches the other's order."""
    said = events(
        order("1", "BUY", "5", "99"), order("1", "BUY", "5", "98", account="b"), cancel("2", "1", account="c")
    )
    assert brief(said) == ["OrderAccepted 1", "OrderAccepted 1", "CancelRejected 2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("oops", "undecodable"),
        ("[]", "undecodable"),
        ('{"command":"Buy"}', "unknown_type"),
        ('{"account":"a"}', "unknown_type"),
        ('{"command":"CancelOrder","account":"a","client_order_id":"1"}', "undecodable"),
        ('{"command":"Tick"}', "undecodable"),
        ('{"command":"Tick","tick_ns":-1}', "undecodable"),
        ('{"command":"SetMark","instrument":"X","price":"0"}', "number_out_of_range"),
        ('{"command":"SetMark","instrument":"X","price":"y"}', "undecodable"),
        ('{"command":"Halt","instrument":"a b"}', "invalid_identifier"),
        ('{"command":"Deposit","account":"a","currency":"USD","amount":"1"}', "invalid_command"),
        ('{"command":"Resume","account":"a"}', "invalid_command"),
        ('{"command":"MassCancel","side":"BOTH"}', "unknown_value"),
        ("[" * 100_000, "undecodable"),
        ("\x00", "undecodable"),
    ],
)
def test_a_line_that_is_no_good_is_refused_by_number(line: str, reason: str) -> None:
    """The line's number is named, and the lines around it are taken; a blank line is nothing."""
    said = events("", order("1", "BUY", "1", "1"), line, order("2", "BUY", "1", "1"))
    assert brief([said[0], said[2]]) == ["OrderAccepted 1", "OrderAccepted 2"]
    assert (said[1]["event"], said[1]["line"], said[1]["reason"]) == ("CommandRefused", 3, reason)
    assert said[1]["detail"]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (order("1", "BUY", "1", "0.000000001"), "invalid_price"),
        (order("1", "BUY", "0.000000001", "1"), "invalid_quantity"),
        (order("1", "BUY", "0", "1"), "number_out_of_range"),
        (order("1", "HOLD", "1", "1"), "unknown_value"),
        (order("1 2", "BUY", "1", "1"), "invalid_identifier"),
        (order("1", "BUY", "1", "1", order_type="MARKET"), "price_not_allowed"),
        (order("1", "BUY", "1", "1", stop_price="1e-9"), "invalid_price"),
        (replace("1", "0", price="1e-9"), "invalid_price"),
        (replace("1", "0", price="1"), "unknown_order"),
        (replace("1", "0"), "nothing_to_replace"),
        (cancel("", "0"), "invalid_identifier"),
    ],
)
def test_a_command_of_bad_form_is_rejected(command: Json, reason: str) -> None:
    """What is an order, a cancel or a replace gets the rejection of one, with its reason and a detail."""
    (said,) = events(command)
    assert said["event"] == command["command"].replace("Order", "", 1).replace("Place", "Order") + "Rejected"
    assert said["reason"] == reason
    assert said["detail"]


def test_a_halt_stops_orders_until_the_resume() -> None:
    """New orders are refused, cancels work; halts of one and of all are apart."""
    said = events(
        order("1", "BUY", "1", "1"),
        {"command": "Halt"},
        order("2", "BUY", "1", "1"),
        cancel("3", "1"),
        {"command": "Resume"},
        order("4", "BUY", "1", "1"),
    )
    assert brief(said) == ["OrderAccepted 1", "OrderRejected 2", "OrderCancelled 1", "OrderAccepted 4"]


class Cut(io.BytesIO):
    """Gives so many bytes at a time, over and over."""

    def __init__(self, whole: bytes, sizes: list[int]) -> None:
        """Sizes are above zero."""
        super().__init__(whole)
        self._sizes = cycle(sizes)

    def read1(self, size: int | None = -1) -> bytes:  # noqa: ARG002  (the next size is ours to choose)
        """The next piece."""
        return self.read(next(self._sizes))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(20, 400), min_size=1, max_size=5), st.sampled_from([b"", b"\n"]))
def test_the_output_is_the_same_however_the_input_is_cut(sizes: list[int], end: bytes) -> None:
    """Where one read ends and the next begins is nothing to the result."""
    commands = [order(str(n), "BUY" if n % 2 else "SELL", "1", str(100 + n % 3)) for n in range(12)]
    whole = "\n".join(map(json.dumps, commands)).encode() + end
    outputs = []
    for source in (io.BytesIO(whole), Cut(whole, sizes)):
        sink = io.BytesIO()
        run(SimulatedBooks(), source, sink)
        outputs.append(sink.getvalue())
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"Trade") == 5


def test_an_answer_is_written_before_the_next_line_is_awaited() -> None:
    """A program at the other end of the pipe can wait for each answer in turn."""
    command = [sys.executable, "-c", "from infra.simulate import simulate; simulate()", "--no-risk"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        source, sink = pipe(process.stdin), pipe(process.stdout)
        for number in range(3):
            source.write(json.dumps(order(str(number), "BUY", "1", "1")).encode() + b"\n")
            source.flush()
            assert json.loads(sink.readline())["client_order_id"] == str(number)
        source.close()
        assert sink.read() == b""
    assert process.returncode == 0


def pipe(end: IO[bytes] | None) -> IO[bytes]:
    """An end of a pipe that is there."""
    assert end is not None
    return end


REFERENCE = """
currencies: {USD: 2}
instruments:
  - {symbol: X, kind: SPOT, currency: USD, tick_size: 0.01, lot_size: 1, maximum_quantity: 10000,
     maximum_notional: 100000000, collar_bps: 1000}
accounts:
  - {account: a, fees: {default: {maker_bps: 5, taker_bps: 10}}}
  - {account: b, account_type: MARGIN, fees: {default: {maker_bps: -1, taker_bps: 10}}}
"""


@pytest.fixture
def engine(tmp_path: Path) -> SimulatedEngine:
    """All stages, with instrument X, cash account a and margin account b."""
    path = tmp_path / "reference.yaml"
    path.write_text(REFERENCE)
    return SimulatedEngine(path, path)


def deposit(account: str, amount: str) -> Json:
    """Cash comes in."""
    return {"command": "Deposit", "account": account, "command_id": "d", "currency": "USD", "amount": amount}


def test_from_deposit_to_settled_position(engine: SimulatedEngine) -> None:
    """A deposit, an order, a trade, both positions and every balance, in the order in which they happen."""
    said = events(
        deposit("a", "1000.50"),
        deposit("b", "1000"),
        order("s", "SELL", "5", "10.01", account="b"),
        order("1", "BUY", "3", "10.02"),
        replace("s2", "s", account="b", price="10.05", quantity="7"),
        simulator=engine,
    )
    shown = [
        " ".join(
            str(it[field]) for field in ("event", "account", "quantity", "cash", "open_cost") if field in it
        )
        for it in said
    ]
    assert shown == [
        "BalanceChanged a 1000.5",
        "BalanceChanged b 1000",
        "OrderAccepted b 5",
        "OrderAccepted a 3",
        "Trade 3",
        "PositionChanged b -3 -30.03",
        "BalanceChanged clearing:0 -30.03",
        "BalanceChanged b 1030.03",
        "PositionChanged a 3 30.03",
        "BalanceChanged a 970.43",  # the fee of 3.003 cents is 4
        "BalanceChanged clearing:0 0",
        "BalanceChanged house:0 0.04",
        "OrderReplaced b 7",
    ]
    assert said[-1]["leaves_quantity"] == "4"


def test_a_futures_variation_follows_the_tick_that_ends_its_session(tmp_path: Path) -> None:
    """The first tick at or after the session end posts it, at once and once."""
    path = tmp_path / "reference.yaml"
    future = REFERENCE.replace("kind: SPOT", 'kind: FUTURE, session_end: "17:30"')
    path.write_text(future.replace("account: a,", "account: a, account_type: MARGIN,"))
    end_ns = (17 * 60 + 30) * 60 * 10**9
    simulator = SimulatedEngine(path, path)
    events(
        deposit("a", "1000"),
        deposit("b", "1000"),
        order("s", "SELL", "3", "10", account="b"),
        order("1", "BUY", "3", "10"),
        {"command": "SetMark", "command_id": "m", "instrument": "X", "price": "10.5"},
        simulator=simulator,
    )
    ticks = [{"command": "Tick", "tick_ns": end_ns + number} for number in (-1, 0, 1)]
    before, said, after = (events(tick, simulator=simulator) for tick in ticks)
    assert [f"{it['event']} {it['account']} {it.get('cash', it.get('open_cost'))}" for it in said] == [
        "PositionChanged a 31.5",
        "PositionChanged b -31.5",
        "BalanceChanged clearing:0 0",
        "BalanceChanged a 1001.47",  # the fee of 3 cents came off before
        "BalanceChanged b 998.5",
    ]
    assert not before + after


def test_what_risk_and_control_refuse_is_written(engine: SimulatedEngine) -> None:
    """Refusals name the reason; those of commands that are no orders name the line, too."""
    said = events(
        deposit("a", "100"),
        order("1", "BUY", "30", "10"),
        order("2", "BUY", "1", "10.001"),
        order("3", "BUY", "1", "10", instrument="Y"),
        order("4", "BUY", "1", "10", account="z"),
        {"command": "Withdraw", "account": "a", "currency": "USD", "amount": "100.01"},
        {"command": "Deposit", "account": "a", "currency": "USD", "amount": "0.001"},
        {"command": "Deposit", "account": "a b", "currency": "USD", "amount": "1"},
        {"command": "Halt", "instrument": "Y"},
        {"command": "SetLimits", "account": "a", "limits": {"maximum_open_orders": 0}},
        order("5", "BUY", "1", "10"),
        {"command": "SetLimits", "account": "a", "limits": {"most": 0}},
        "{",
        simulator=engine,
    )
    assert [(it["event"], it["reason"], it.get("line")) for it in said[1:]] == [
        ("OrderRejected", "insufficient_cash", None),
        ("OrderRejected", "invalid_price", None),
        ("OrderRejected", "unknown_instrument", None),
        ("OrderRejected", "unknown_account", None),
        ("CommandRefused", "insufficient_free_cash", 6),
        ("CommandRefused", "invalid_amount", 7),
        ("CommandRefused", "invalid_identifier", 8),
        ("CommandRefused", "unknown_instrument", 9),
        ("OrderRejected", "open_orders_exceed_maximum", None),
        ("CommandRefused", "undecodable", 12),
        ("CommandRefused", "undecodable", 13),
    ]


def test_a_kill_cancels_and_refuses_until_the_resume(engine: SimulatedEngine) -> None:
    """A kill's feedback runs to its end before the next line; a repeat of the id does nothing."""
    kill = {"command": "Kill", "account": "b", "command_id": "k"}
    said = events(
        deposit("b", "1000"),
        order("1", "BUY", "1", "10", account="b"),
        kill,
        order("2", "BUY", "1", "10", account="b"),
        {"command": "Resume", "account": "b"},
        kill,
        order("3", "BUY", "1", "10", account="b"),
        simulator=engine,
    )
    assert brief(said[1:]) == [
        "OrderAccepted 1",
        "OrderCancelled 1",
        "MassCancelled k",
        "OrderRejected 2",
        "OrderAccepted 3",
    ]


def test_engine_time_is_the_greatest_seen(engine: SimulatedEngine) -> None:
    """A DAY order lives to the session end by the time that lines and ticks give."""
    day_ns = 86_400 * 10**9
    said = events(
        deposit("a", "1000"),
        order("1", "BUY", "1", "10", time_in_force="DAY", timestamp_ns=day_ns + 5),
        {"command": "Tick", "timestamp_ns": day_ns + 6},
        order("2", "BUY", "1", "10", time_in_force="DAY"),
        {"command": "Tick", "tick_ns": 2 * day_ns - 1},
        {"command": "Tick", "tick_ns": 2 * day_ns},
        simulator=engine,
    )
    assert brief(said[1:]) == ["OrderAccepted 1", "OrderAccepted 2", "OrderExpired 1", "OrderExpired 2"]


def test_a_reference_file_with_a_fault_stops_the_command(tmp_path: Path) -> None:
    """The error names the file before any line is read."""
    path = tmp_path / "instruments.yaml"
    path.write_text("instruments: 5")
    with pytest.raises(OperatorError, match=r"instruments\.yaml"):
        SimulatedEngine(path)


def test_the_command_line_takes_it_all(tmp_path: Path) -> None:
    """Files, standard input and standard output, and --help with an example."""
    path = tmp_path / "reference.yaml"
    path.write_text(REFERENCE)
    lines = json.dumps(deposit("a", "5")) + "\n"
    arguments = ["--instruments", str(path), "--accounts", str(path)]
    result = CliRunner().invoke(simulate, arguments, input=lines, catch_exceptions=False)
    assert json.loads(result.stdout)["cash"] == "5"
    assert "trading simulate --no-risk <" in CliRunner().invoke(simulate, ["--help"]).stdout
