"""Command ids: a repeat gets the first outcome again, other content is refused, and ids go in time."""

from typing import Any

import pytest
from msgspec.structs import replace

from agents.rules.risk import outcomes
from agents.rules.risk.desk import kept_until_ns
from schemas.commands import CancelOrder, Deposit, MassCancel, PlaceOrder, ReplaceOrder, Withdraw
from schemas.events import (
    CancelRejected,
    CashDeposited,
    CashWithdrawn,
    CommandRefused,
    MassCancelled,
    OrderAccepted,
    OrderCancelled,
    OrderRejected,
    OrderReplaced,
    OrdersRemoved,
    ReplaceRejected,
)
from schemas.maximums import COMMAND_WINDOW_NS, EVICTIONS_PER_RECORD, NANOSECONDS_PER_DAY
from schemas.record import Record
from tests.unit.agents.rules.risk_world import SECOND_NS, START_NS, World

RESTORED = pytest.mark.parametrize("restored", [False, True], ids=["lived", "restored"])


def again(world: World, command: Record, *, restored: bool) -> list[Any]:
    """Repeats a command a second later, with another time stamped, perhaps after a restart."""
    world.now_ns += SECOND_NS
    if restored:
        world.restore()
    return world.tell(replace(command, at_ns=world.now_ns))


def place(**fields: Any) -> PlaceOrder:
    """An order of 2 lots at 100."""
    content: dict[str, Any] = {
        "account": "a",
        "client_order_id": "1",
        "instrument": "XYZ",
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GTC",
        "quantity_lots": 2,
        "price_ticks": 100,
        "at_ns": START_NS,
    }
    return PlaceOrder(**(content | fields))


@RESTORED
def test_an_order_accepted_is_accepted_again(restored: bool) -> None:
    """The repeat says OrderAccepted as at first, marked as a resend, and enters nothing."""
    world = World(cash=10_000)
    world.tell(place())
    world.accept("1")
    world.fill("1", 2)
    (said,) = again(world, place(), restored=restored)
    assert said == OrderAccepted(
        account="a",
        client_order_id="1",
        instrument="XYZ",
        order_id=world.entered["1"].order_id,
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=2,
        price_ticks=100,
        stop_price_ticks=None,
        at_ns=START_NS,
        possible_resend=True,
    )


@RESTORED
def test_an_order_refused_is_refused_again(restored: bool) -> None:
    """The first refusal stands, though the order would pass by now; matching's names the order id."""
    world = World(cash=1_000)
    (first,) = world.tell(place())
    world.deposit(10_000)
    (said,) = again(world, place(), restored=restored)
    assert (first.reason, said.reason, said.at_ns) == ("insufficient_cash", "insufficient_cash", START_NS)
    assert (said.possible_resend, said.order_id) == (True, None)
    world.tell(place(client_order_id="2"))
    world.reject("2")
    (said,) = again(world, place(client_order_id="2"), restored=restored)
    assert isinstance(said, OrderRejected)
    assert (said.reason, said.order_id) == ("post_only_would_trade", world.entered["2"].order_id)


@RESTORED
def test_a_repeat_before_the_answer_says_nothing(restored: bool) -> None:
    """The answer to come serves both."""
    world = World(cash=10_000)
    world.tell(place())
    assert again(world, place(), restored=restored) == []
    world.accept("1")
    cancel = CancelOrder(account="a", client_order_id="c", original_client_order_id="1", at_ns=world.now_ns)
    world.tell(cancel)
    assert again(world, cancel, restored=restored) == []


@pytest.mark.parametrize(
    "change",
    [
        {"instrument": "ABC"},
        {"side": "SELL"},
        {"order_type": "MARKET"},
        {"time_in_force": "DAY"},
        {"quantity_lots": 3},
        {"price_ticks": 101},
        {"stop_price_ticks": 1},
        {"display_quantity_lots": 1},
        {"minimum_quantity_lots": 1},
        {"post_only": True},
        {"expires_at_ns": 1},
        {"self_trade_prevention": "NONE"},
    ],
    ids=str,
)
def test_other_content_under_one_id_is_refused(change: dict[str, Any]) -> None:
    """Whatever differs but the time makes another command, and the first is untouched."""
    world = World(cash=10_000)
    world.tell(place())
    (said,) = world.tell(place(**change))
    assert isinstance(said, OrderRejected)
    assert (said.reason, said.possible_resend) == ("client_order_id_already_used", False)
    world.accept("1")
    assert isinstance(world.tell(place())[0], OrderAccepted)


def test_ids_are_one_namespace_an_account() -> None:
    """An id of an order names no cancel, replace, mass cancel or deposit of the account, but another's order."""
    world = World(cash=10_000)
    world.define_account("b", account_type="MARGIN")
    world.work("1")
    assert isinstance(world.cancel("1", "1")[0], CancelRejected)
    assert world.reason() == "client_order_id_already_used"
    assert isinstance(world.replace("1", "1", lots=2)[0], ReplaceRejected)
    assert world.reason() == "client_order_id_already_used"
    assert isinstance(world.deposit(5, "1")[0], CommandRefused)
    assert world.reason() == "command_id_already_used"
    assert isinstance(
        world.tell(MassCancel(account="a", command_id="1", at_ns=world.now_ns))[0], CommandRefused
    )
    assert world.reason() == "command_id_already_used"
    world.deposit(10_000, account="b")
    world.place("1", account="b")
    assert world.reason() is None


@RESTORED
def test_a_cancel_is_confirmed_again(restored: bool) -> None:
    """OrderCancelled once more, with the order's name and quantities at that time."""
    world = World(cash=10_000)
    world.work("1", lots=3)
    world.fill("1", 1)
    world.cancel("1")
    world.cancelled("1", by="c")
    command = CancelOrder(account="a", client_order_id="c", original_client_order_id="1")
    (said,) = again(world, command, restored=restored)
    assert said == OrderCancelled(
        account="a",
        client_order_id="1",
        instrument="XYZ",
        order_id=world.entered["1"].order_id,
        reason="requested",
        reason_code=300,
        command_id="c",
        cancelled_quantity_lots=2,
        cum_quantity_lots=1,
        at_ns=START_NS,
        possible_resend=True,
    )


@RESTORED
def test_a_cancel_that_came_too_late_is_rejected_again(restored: bool) -> None:
    """Rejected by matching, or here where the order is closed or was never known."""
    world = World(cash=10_000)
    world.work("1")
    world.cancel("1", "late")
    world.fill("1", 1)
    world.request_rejected(CancelRejected, "late", "1", "order_closed")
    world.cancel("1", "later")
    assert (world.reason(), world.last[0].order_id) == ("order_closed", world.entered["1"].order_id)
    world.cancel("never", "stray")
    assert (world.reason(), world.last[0].order_id) == ("unknown_order", None)
    for name, original, reason in (
        ("late", "1", "order_closed"),
        ("later", "1", "order_closed"),
        ("stray", "never", "unknown_order"),
    ):
        command = CancelOrder(account="a", client_order_id=name, original_client_order_id=original)
        (said,) = again(world, command, restored=restored)
        assert isinstance(said, CancelRejected)
        assert (said.reason, said.possible_resend) == (reason, True)


@RESTORED
def test_a_replace_is_confirmed_again(restored: bool) -> None:
    """OrderReplaced once more as it was, whatever became of the order since."""
    world = World(cash=10_000)
    world.work("1", lots=3)
    world.fill("1", 1)
    world.replace("1", "r", price=90, lots=4)
    world.replaced("1", "r", price=90, lots=4)
    world.fill("1", 3, price=90)
    command = ReplaceOrder(
        account="a", client_order_id="r", original_client_order_id="1", price_ticks=90, quantity_lots=4
    )
    (said,) = again(world, command, restored=restored)
    assert isinstance(said, OrderReplaced)
    assert (said.price_ticks, said.quantity_lots, said.cum_quantity_lots, said.leaves_quantity_lots) == (
        90,
        4,
        1,
        3,
    )
    assert (said.order_id, said.instrument, said.possible_resend) == (
        world.entered["1"].order_id,
        "XYZ",
        True,
    )


@RESTORED
def test_a_replace_refused_is_refused_again(restored: bool) -> None:
    """By risk or by matching, with the order it was for."""
    world = World(cash=10_000)
    world.work("1")
    world.replace("1", "dear", price=200)
    world.replace("1", "cross", price=101)
    world.request_rejected(ReplaceRejected, "cross", "1", "post_only_would_trade")
    for name, price, reason in (
        ("dear", 200, "price_outside_collar"),
        ("cross", 101, "post_only_would_trade"),
    ):
        command = ReplaceOrder(
            account="a", client_order_id=name, original_client_order_id="1", price_ticks=price
        )
        (said,) = again(world, command, restored=restored)
        assert isinstance(said, ReplaceRejected)
        assert (said.reason, said.instrument, said.order_id) == (
            reason,
            "XYZ",
            world.entered["1"].order_id,
        )


@RESTORED
def test_cash_moves_once(restored: bool) -> None:
    """A repeated deposit or withdrawal is answered as at first and moves nothing."""
    world = World()
    deposit = Deposit(account="a", command_id="in", currency="EUR", amount_minor=100, at_ns=START_NS)
    withdraw = Withdraw(account="a", command_id="out", currency="EUR", amount_minor=30, at_ns=START_NS)
    world.tell(deposit)
    world.tell(withdraw)
    (first,) = again(world, deposit, restored=restored)
    (second,) = again(world, withdraw, restored=restored)
    assert isinstance(first, CashDeposited)
    assert isinstance(second, CashWithdrawn)
    assert first.possible_resend
    assert second.possible_resend
    assert world.cash == 70


@RESTORED
def test_a_refused_withdrawal_is_refused_again(restored: bool) -> None:
    """With the detail of the first time."""
    world = World(cash=10)
    withdraw = Withdraw(account="a", command_id="out", currency="EUR", amount_minor=30, at_ns=START_NS)
    (first,) = world.tell(withdraw)
    world.deposit(100)
    (said,) = again(world, withdraw, restored=restored)
    assert (said.reason, said.detail, said.possible_resend) == (first.reason, "10 is free", True)


@RESTORED
def test_a_mass_cancel_is_confirmed_again(restored: bool) -> None:
    """MassCancelled with the count of the first time."""
    world = World(cash=10_000)
    command = MassCancel(account="a", command_id="m", instrument="XYZ", at_ns=START_NS)
    (remove,) = world.tell(command)
    assert again(world, command, restored=restored) == []
    world.tell(
        OrdersRemoved(
            command_id="m", book_partition=0, removed_count=3, at_ns=world.now_ns, sweep_id=remove.sweep_id
        )
    )
    (said,) = again(world, command, restored=restored)
    assert isinstance(said, MassCancelled)
    assert (said.count, said.possible_resend) == (3, True)


def test_an_order_goes_by_its_current_name() -> None:
    """After a replace the old id names no order; one on its way does already, since the book takes turns."""
    world = World(cash=10_000)
    world.work("1")
    world.replace("1", "r1", lots=2)
    (amend,) = world.replace("r1", "r2", lots=3)
    assert amend.order_id == world.entered["1"].order_id
    world.replaced("1", "r1", price=100, lots=2)
    world.cancel("1", "c1")
    assert world.reason() == "unknown_order"
    (remove,) = world.cancel("r2", "c2")
    assert remove.order_id == world.entered["1"].order_id
    world.request_rejected(ReplaceRejected, "r2", "1", "post_only_would_trade")
    world.cancel("r2", "c3")
    assert world.reason() == "unknown_order"
    assert world.cancel("r1", "c4")


def test_an_id_of_a_cancel_names_no_order() -> None:
    """Nor does that of an order refused, nor another account's order."""
    world = World(cash=10_000)
    world.define_account("b")
    world.work("1")
    world.cancel("1", "c")
    world.cancel("c", "c2")
    assert world.reason() == "unknown_order"
    world.place("dear", price_ticks=200)
    world.cancel("dear", "c3")
    assert world.reason() == "unknown_order"
    world.cancel("1", "c4", account="b")
    assert world.reason() == "unknown_order"
    world.cancel("1", "c5", account="nobody")
    assert world.reason() == "unknown_account"


@pytest.mark.parametrize(
    "command",
    [
        place(at_ns=START_NS - COMMAND_WINDOW_NS - 1),
        CancelOrder(
            account="a",
            client_order_id="1",
            original_client_order_id="0",
            at_ns=START_NS - COMMAND_WINDOW_NS - 1,
        ),
        ReplaceOrder(
            account="a",
            client_order_id="1",
            original_client_order_id="0",
            quantity_lots=1,
            at_ns=START_NS - COMMAND_WINDOW_NS - 1,
        ),
        MassCancel(account="a", command_id="1", at_ns=START_NS - COMMAND_WINDOW_NS - 1),
        Deposit(
            account="a",
            command_id="1",
            currency="EUR",
            amount_minor=1,
            at_ns=START_NS - COMMAND_WINDOW_NS - 1,
        ),
    ],
    ids=lambda it: type(it).__name__,
)
def test_a_command_older_than_the_window_is_refused(command: Record) -> None:
    """Nobody can say whether it was seen: refused, with no trace; one just within it is not."""
    world = World(cash=10_000)
    before = list(world.risk.desk.tables.entries())
    world.tell(command)
    assert world.reason() == "command_too_old"
    assert list(world.risk.desk.tables.entries()) == before
    world.tell(replace(command, at_ns=START_NS - COMMAND_WINDOW_NS))
    assert world.reason() != "command_too_old"


@RESTORED
def test_ids_go_at_the_end_of_the_next_session_day(restored: bool) -> None:
    """Closed ids stay through the next session day and go within a quarter of an hour after; open ones stay."""
    world = World(cash=10_000)
    world.work("open")
    world.work("1")
    world.cancel("1")
    world.cancelled("1")
    commands = world.risk.desk.tables.commands
    world.now_ns = START_NS + 2 * NANOSECONDS_PER_DAY - 1
    world.tick()
    assert {"a 1", "a c"} <= set(commands)
    if restored:
        world.restore()
    world.tick(1024)
    assert not world.risk.desk.tables.commands
    assert set(world.risk.desk.names) == {"a open"}


def test_a_repeat_of_a_forgotten_command_is_too_old() -> None:
    """An id is kept so long that what comes after it is older than the window, for every session end."""
    for minute in (0, 1, 60, 1439):
        for late in (0, 1, NANOSECONDS_PER_DAY - 1, 22 * 3600 * SECOND_NS):
            closed = START_NS + late
            assert kept_until_ns("a 1", closed, minute) > closed + COMMAND_WINDOW_NS


def test_a_tick_forgets_a_bounded_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is due beyond the bound goes at the next tick, the same for a state restored in between."""
    monkeypatch.setattr(outcomes, "EVICTIONS_PER_RECORD", 3)
    assert EVICTIONS_PER_RECORD > 3
    lived, restored = World(), World()
    for world in (lived, restored):
        for number in range(10):
            world.deposit(1, f"in-{number}")
        world.tick(3 * 86_400)
    restored.restore()
    left = [list(world.risk.desk.tables.entries()) for world in (lived, restored)]
    assert left[0] == left[1]
    assert len(lived.risk.desk.tables.commands) == 7
    for world in (lived, restored):
        world.tick(1)
    left = [list(world.risk.desk.tables.entries()) for world in (lived, restored)]
    assert left[0] == left[1]
    assert len(lived.risk.desk.tables.commands) == 4
