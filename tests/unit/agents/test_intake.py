"""Intake on batches of records: what it stamps, refuses and puts aside, topic by topic."""

from typing import Any

import msgspec
import pytest

from agents.intake import Intake
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord
from schemas import codec
from schemas.commands import CancelOrder, Deposit, MassCancel, PlaceOrder, ReplaceOrder
from schemas.envelopes import AccountCommands
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, DEAD_LETTERS, ORDERS

ACME = "orders.acme"
AT_MS = 1_700_000_000_000
ORDER = PlaceOrder(
    account="a",
    client_order_id="1",
    instrument="X",
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=1,
    price_ticks=100,
)
COMMANDS = (
    ORDER,
    CancelOrder(account="a", client_order_id="2", original_client_order_id="1"),
    ReplaceOrder(account="a", client_order_id="3", original_client_order_id="1", quantity_lots=2),
    MassCancel(account="a", command_id="4"),
)


def decided(intake: Intake, topic: str, *values: bytes) -> dict[str, list[Any]]:
    """What intake says to records of one partition, by topic; dead letters are no lists."""
    records = [InboxRecord(7 + index, AT_MS, b"key", value) for index, value in enumerate(values)]
    said: dict[str, list[Any]] = {}
    for (name,), _, value, _ in intake.decide(Batch(topic, 1, records)):
        record: Any = codec.decode(value)
        said.setdefault(name, []).extend(getattr(record, "items", (record,)))
    return said


@pytest.mark.parametrize(("topic", "client"), [(ORDERS, None), (ACME, "acme"), ("orders.a.b", "a.b")])
@pytest.mark.parametrize("claimed", [None, "acme", "victim"])
def test_the_topic_names_the_client(topic: str, client: str | None, claimed: str | None) -> None:
    """Every command bears the client whose topic it came by, whatever the sender wrote, and the broker's time."""
    sent = [codec.encode(msgspec.structs.replace(it, client=claimed)) for it in COMMANDS]
    stamped = [msgspec.structs.replace(it, client=client, at_ns=AT_MS * 10**6) for it in COMMANDS]
    assert decided(Intake(4), topic, *sent) == {ACCOUNT_COMMANDS: stamped}


def test_a_malformed_order_is_refused_where_its_sender_is_trusted() -> None:
    """By `orders` the account hears why; by a client's topic, where it may be another's, operators alone do."""
    intake, malformed = Intake(4), codec.encode(msgspec.structs.replace(ORDER, quantity_lots=0))
    (refused,) = decided(intake, ORDERS, malformed)[ACCOUNT_EVENTS]
    assert (refused.client_order_id, refused.reason) == ("1", "number_out_of_range")
    said = decided(intake, ACME, malformed)
    (letter,) = said.pop(DEAD_LETTERS)
    assert said == {}
    assert (letter.topic, letter.partition, letter.offset) == (ACME, 1, 7)
    assert (letter.reason, letter.value) == ("number_out_of_range", malformed)
    assert intake.refused == {(ORDERS, "number_out_of_range"): 1}
    assert intake.dead_letters == {(ACME, "number_out_of_range"): 1}


@pytest.mark.parametrize("topic", [ORDERS, ACME])
def test_what_is_no_command_is_a_dead_letter_of_its_topic(topic: str) -> None:
    """Garbage, and records that are no orders, are put aside with their source place, and what follows goes on."""
    deposit = Deposit(account="a", command_id="d", currency="EUR", amount_minor=1)
    intake = Intake(4)
    said = decided(
        intake, topic, b"garbage", codec.encode(ORDER), codec.encode(AccountCommands(items=(deposit,)))
    )
    assert [(it.topic, it.offset, it.reason) for it in said[DEAD_LETTERS]] == [
        (topic, 7, "undecodable"),
        (topic, 9, "unknown_type"),
    ]
    assert len(said[ACCOUNT_COMMANDS]) == 1
    assert sum(intake.dead_letters.values()) == len(said[DEAD_LETTERS])
