"""Kills, mass cancels and their sweeps over the books."""

from typing import Any

import pytest

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk
from schemas.book_commands import RemoveOrders
from schemas.commands import MassCancel
from schemas.control_events import AccountDefined, KillActivated, KillLifted, MassCancelOrdered
from schemas.events import MassCancelled, OrdersRemoved
from schemas.partitioner import partition_of
from schemas.record import Record
from schemas.reference import Account
from schemas.topics import BOOK_COMMANDS, PartitionCounts
from tables.risk import RiskTables
from tests.unit.agents.rules.risk_world import COUNTS, START_NS, World


def kill(account: str | None = None, instrument: str | None = None) -> KillActivated:
    """A kill switch."""
    return KillActivated(
        command_id="k", account=account, instrument=instrument, allow_reducing=False, at_ns=0
    )


def removed(remove: Any, partition: int, count: int) -> Record:
    """One book's answer to a sweep."""
    return OrdersRemoved(
        command_id=remove.command_id,
        book_partition=partition,
        removed_count=count,
        at_ns=0,
        sweep_id=remove.sweep_id,
    )


@pytest.mark.parametrize(
    ("account", "instrument", "books"),
    [(None, None, [0, 1, 2]), ("a", None, [0, 1, 2]), (None, "XYZ", [partition_of("XYZ", COUNTS.books)])],
)
def test_a_kill_sweeps_the_books_and_says_how_many(
    account: str | None, instrument: str | None, books: list[int]
) -> None:
    """Each book that may hold an order is asked, and the last answer makes one MassCancelled of all."""
    world = World(cash=10_000)
    asked = world.tell(kill(account, instrument))
    assert len(asked) == len(books)
    assert asked[0] == RemoveOrders(
        command_id="k",
        account_partition=0,
        account=account,
        instrument=instrument,
        side=None,
        reason="killed",
        at_ns=START_NS,
        sweep_id=asked[0].sweep_id,
    )
    world.place("1")
    assert world.reason() in {"trading_killed", "account_killed", "instrument_killed"}
    for partition in books[:-1]:
        assert world.tell(removed(asked[0], partition, 2)) == []
        world.restore()
    (said,) = world.tell(removed(asked[0], books[-1], 1))
    assert isinstance(said, MassCancelled)
    assert (said.account, said.instrument, said.count) == (account, instrument, 2 * len(books) - 1)
    assert not world.risk.desk.tables.sweeps


def test_a_sweep_goes_behind_the_orders_that_were_let_through() -> None:
    """To one book and from one origin: the order first, then the sweep, and after it no order."""
    world = World(cash=10_000)
    world.place("1")
    world.tell(kill())
    world.place("2")
    said = [type(it).__name__ for it in world.said[BOOK_COMMANDS]]
    assert said == ["EnterOrder"] + ["RemoveOrders"] * COUNTS.books


def test_only_its_own_scope_lifts_a_kill() -> None:
    """Resuming an account leaves everyone's kill, and the other way round."""
    world = World(cash=10_000)
    world.tell(kill())
    world.tell(kill("a"))
    world.tell(KillLifted(account=None, instrument=None, at_ns=0))
    world.place("1")
    assert world.reason() == "account_killed"
    world.tell(KillLifted(account="a", instrument=None, at_ns=0))
    world.place("2")
    assert world.reason() is None


def test_cancels_pass_a_kill_and_replaces_do_not() -> None:
    """A kill refuses what could trade more."""
    world = World(cash=10_000)
    world.work("1")
    world.tell(kill())
    world.replace("1", lots=2)
    assert world.reason() == "trading_killed"
    assert world.cancel("1")


def test_a_mass_cancel_passes_its_filters_on() -> None:
    """Account, instrument and side go to the instrument's book."""
    world = World(cash=10_000)
    command = MassCancel(account="a", command_id="m", instrument="XYZ", side="SELL", at_ns=START_NS)
    (remove,) = world.tell(command)
    assert (remove.account, remove.instrument, remove.side, remove.reason) == (
        "a",
        "XYZ",
        "SELL",
        "mass_cancel",
    )
    (said,) = world.tell(removed(remove, 0, 0))
    assert (said.command_id, said.side, said.count) == ("m", "SELL", 0)


def test_sweeps_of_one_name_are_told_apart() -> None:
    """Two accounts' mass cancels may bear the same id, and be answered in any order."""
    world = World(cash=10_000)
    world.define_account("b")
    commands = [MassCancel(account=name, command_id="m", instrument="XYZ", at_ns=START_NS) for name in "ab"]
    first, second = (world.tell(command)[0] for command in commands)
    assert world.tell(removed(second, 0, 7))[0].account == "b"
    assert world.tell(removed(first, 0, 5))[0].account == "a"
    assert [world.tell(command)[0].count for command in commands] == [5, 7]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"account": "nobody"}, "unknown_account"), ({"instrument": "NOTHING"}, "unknown_instrument")],
)
def test_a_mass_cancel_of_nothing_known(fields: dict[str, Any], reason: str) -> None:
    """Refused, and refused again to a repeat."""
    world = World()
    content: dict[str, Any] = {"account": "a", "command_id": "m", "at_ns": START_NS}
    command = MassCancel(**(content | fields))
    world.tell(command)
    assert world.reason() == reason
    assert world.tell(command)[0].possible_resend


def test_an_operators_mass_cancel_is_everyones() -> None:
    """It sweeps without an account, and its id is no account's."""
    world = World()
    asked = world.tell(MassCancelOrdered(command_id="m", account=None, instrument="XYZ", side="BUY", at_ns=0))
    assert [(it.account, it.side, it.reason) for it in asked] == [(None, "BUY", "mass_cancel")]
    (said,) = world.tell(removed(asked[0], 0, 4))
    assert (said.account, said.count) == (None, 4)
    assert not world.risk.desk.tables.commands


def test_what_concerns_another_partitions_account_passes_by() -> None:
    """A kill and a mass cancel of an account are done by the partition that owns it, and by no other."""
    counts = PartitionCounts(accounts=2, books=2)
    other = 1 - partition_of("a", 2)
    risk, outbox = Risk(RiskTables(), counts, other), Outbox()
    risk.apply(kill("a"), Place(other, 0, 0, 0), outbox)
    ordered = MassCancelOrdered(command_id="m", account="a", instrument=None, side=None, at_ns=0)
    risk.apply(ordered, Place(other, 1, 0, 0), outbox)
    assert not outbox.items
    assert not list(risk.desk.tables.entries())
    defined = AccountDefined(account=Account(account="a"), at_ns=0)
    with pytest.raises(AssertionError, match="a"):
        risk.apply(defined, Place(other, 2, 0, 0), outbox)
