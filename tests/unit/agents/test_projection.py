"""The projection on batches of records: the names it gives to what it reads, and what it refuses to step over."""

from typing import Any

import pytest

from agents.projection import Projection
from agents.stage.errors import StartRefused
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord, Output
from schemas import codec
from schemas.control_events import CommandApplied, TradingHalted
from schemas.envelopes import AccountEvents, Answers, ControlEvents, DeadLetter
from schemas.events import OrderRejected
from schemas.sinks import BY_TABLE
from schemas.topics import ACCOUNT_EVENTS, CONTROL_EVENTS, DEAD_LETTERS, DEAD_LETTERS_FLAT, ORDER_EVENTS
from tests.unit.schemas.records import ACCEPTED, FILLED

REJECTED = OrderRejected(
    account="a",
    client_order_id="1",
    instrument="X",
    order_id=None,
    reason="number_out_of_range",
    reason_code=6,
    at_ns=1,
)
SAID, _ = codec.seal(Answers, (ACCEPTED, FILLED), "matching", 3, 41, 0)


def decided(topic: str, *records: tuple[int, bytes | None]) -> list[Output]:
    """What the projection says to records of partition 1."""
    batch = Batch(topic, 1, [InboxRecord(offset, 0, None, value) for offset, value in records])
    return list(Projection(epoch=5).decide(batch))


def test_a_stages_record_is_named_by_its_origin() -> None:
    """Said twice, at whatever offsets, it gives the same bytes under the same key to the same partition."""
    first, second = decided(ACCOUNT_EVENTS, (7, SAID)), decided(ACCOUNT_EVENTS, (99, SAID))
    assert first == second
    assert [(it.topics, it.partition, it.key) for it in first] == [((ORDER_EVENTS,), 1, b"account-1")] * 2
    rows: list[Any] = [codec.decode(it.value) for it in first]
    assert [(it.epoch, it.origin, it.partition, it.sequence, it.item) for it in rows] == [
        (5, "matching-3/account-events", 1, 41, 0),
        (5, "matching-3/account-events", 1, 41, 1),
    ]


def test_an_edges_record_is_named_by_its_place() -> None:
    """A record without an origin is known by its offset."""
    (output,) = decided(ACCOUNT_EVENTS, (7, codec.encode(AccountEvents(items=(REJECTED,)))))
    row: Any = codec.decode(output.value)
    assert (row.origin, row.sequence, row.event) == ("edge/account-events", 7, "OrderRejected")


def test_a_dead_letter_is_named_by_its_source() -> None:
    """A dead letter is known by what it is a letter of, so that it may be written twice."""
    letter = DeadLetter(
        topic="orders",
        partition=2,
        offset=9,
        reason="undecodable",
        reason_code=1,
        detail="",
        key=None,
        value=b"garbage",
        at_ns=1,
    )
    first, second = decided(DEAD_LETTERS, (0, codec.encode(letter)), (1, codec.encode(letter)))
    assert first == second
    assert first.topics == (DEAD_LETTERS_FLAT,)


@pytest.mark.parametrize("value", [None, b"garbage"])
def test_what_cannot_be_read_is_not_stepped_over(value: bytes | None) -> None:
    """The projection stops at it, naming the place: a row that never came would be found by nobody else."""
    with pytest.raises(StartRefused, match="account-events holds what cannot be read") as stopped:
        decided(ACCOUNT_EVENTS, (7, SAID), (8, value))
    assert (stopped.value.partition, stopped.value.offset) == (1, 8)


def test_two_topics_of_one_table_never_share_a_name() -> None:
    """Control's first word to accounts and its first answer to an operator are two rows, whatever their numbers."""
    halted, applied = (
        codec.seal(envelope, (item,), "control", 0, 0, 0)[0]
        for envelope, item in (
            (AccountEvents, TradingHalted(instrument=None, at_ns=1)),
            (ControlEvents, CommandApplied(command_id="c", command="Halt", at_ns=1)),
        )
    )
    said = (
        Batch(topic, 0, [InboxRecord(0, 0, None, value)])
        for topic, value in ((ACCOUNT_EVENTS, halted), (CONTROL_EVENTS, applied))
    )
    rows: list[Any] = [codec.decode(it.value) for batch in said for it in Projection(1).decide(batch)]
    key = BY_TABLE["risk_events"].key
    assert len({tuple(getattr(row, it) for it in key) for row in rows}) == len(rows) == 2
