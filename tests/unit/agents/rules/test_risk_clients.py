"""A client's own topic: who may speak for an account, and that a stranger leaves no trace in it."""

from typing import Any

import pytest
from msgspec.structs import replace

from schemas.commands import CancelOrder, ClientCommand, MassCancel, ReplaceOrder
from schemas.events import OrderAccepted, OrderRejected
from schemas.topics import BOOK_COMMANDS
from tests.unit.agents.rules.risk_world import START_NS, World

CANCEL = CancelOrder(account="a", client_order_id="new", original_client_order_id="1", at_ns=START_NS)
REPLACE = ReplaceOrder(
    account="a", client_order_id="new", original_client_order_id="1", quantity_lots=2, at_ns=START_NS
)
MASS_CANCEL = MassCancel(account="a", command_id="new", at_ns=START_NS)
KINDS = ("place", "cancel", "replace", "mass cancel")


def shared(*clients: str) -> World:
    """An account that lists these clients, with cash and a working order "1"."""
    world = World(cash=10_000)
    world.define_account(clients=clients)
    world.work("1", lots=1)
    return world


def command(world: World, kind: str, **changes: Any) -> ClientCommand:
    """A command under the id "new", about the order "1" if about any."""
    commands = (world.order("new"), CANCEL, REPLACE, MASS_CANCEL)
    return replace(commands[KINDS.index(kind)], **changes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_speaks_for_the_accounts_that_list_him(kind: str) -> None:
    """A command by the topic of a client that the account lists goes to the book as one by `orders` does."""
    by_orders, by_client = shared("other", "acme"), shared("other", "acme")
    by_orders.tell(command(by_orders, kind))
    by_client.tell(command(by_client, kind, client="acme"))
    assert by_client.last == by_orders.last != []
    assert by_client.said[BOOK_COMMANDS] == by_orders.said[BOOK_COMMANDS]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clients", [(), ("other",)])
def test_a_stranger_is_refused_and_leaves_no_trace(kind: str, clients: tuple[str, ...]) -> None:
    """Refused as not_your_account, with no row changed: the id is free for its owner."""
    world = shared(*clients)
    world.risk.desk.tables.take_dirty()
    (refused,) = world.tell(command(world, kind, client="acme"))
    assert (refused.reason, refused.reason_code, refused.possible_resend) == ("not_your_account", 18, False)
    assert world.risk.desk.tables.take_dirty() == []
    (passed,) = {type(it).__name__ for it in world.tell(command(world, kind))}
    assert passed in {"EnterOrder", "RemoveOrder", "AmendOrder", "RemoveOrders"}


def test_a_stranger_learns_nothing_of_ids() -> None:
    """He gets the same answer for an id that was used, with whatever content, for a free one, and when too old."""
    world = shared()
    assert isinstance(world.place("2", lots=2_000)[0], OrderRejected)
    answers = set()
    for it in (
        world.order("1", client="acme"),
        world.order("1", lots=7, client="acme"),
        world.order("2", lots=2_000, client="acme"),
        world.order("free", client="acme"),
        world.order("free", client="acme", at_ns=0),
    ):
        (refused,) = world.tell(it)
        answers.add(replace(refused, client_order_id=""))
    assert {it.reason for it in answers} == {"not_your_account"}
    assert len(answers) == 1


def test_a_stranger_cannot_use_up_the_rate_of_messages() -> None:
    """His messages do not count against the account's limit a second."""
    world = shared()
    world.limit(maximum_messages_per_second=2)
    for number in range(5):
        world.tell(world.order(f"s{number}", client="acme"))
    world.work("mine")


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_can_use_up_ids_of_an_account_to_come(kind: str) -> None:
    """A client's command for an account that is not defined yet is refused as such, and its id stays free."""
    world = World()
    (refused,) = world.tell(command(world, kind, account="later", client="acme"))
    assert refused.reason == "unknown_account"
    assert len(world.risk.desk.tables.commands) == 0


@pytest.mark.parametrize(("first", "then"), [("acme", None), (None, "acme"), ("acme", "other")])
def test_the_way_is_no_part_of_the_content(first: str | None, then: str | None) -> None:
    """A command that comes again by another way of its owner's is the same command: its first outcome is said again."""
    world = shared("acme", "other")
    world.tell(world.order("2", client=first))
    world.accept("2")
    (again,) = world.tell(world.order("2", client=then))
    assert isinstance(again, OrderAccepted)
    assert again.possible_resend
    (refused,) = world.tell(world.order("2", lots=3, client=then))
    assert refused.reason == "client_order_id_already_used"
