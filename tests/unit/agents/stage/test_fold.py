"""What a fold drops, refuses and remembers, on control's and matching's real rules."""

import msgspec
import pytest

from agents.control import CONTROL_STAGE
from agents.matching import MATCHING_STAGE
from agents.stage.errors import OriginBroken, RuleFailed
from agents.stage.fold import Fold, InboxRecord
from schemas import codec
from schemas.book_commands import Terms
from schemas.commands import DefineInstrument, SetMark
from schemas.control_events import RulesActivated
from schemas.envelopes import BookCommands, ControlCommands
from schemas.topics import BOOK_COMMANDS, PartitionCounts
from tables.matching import BookOrder
from tables.meta import META_KEY, Meta, encode_meta
from tests.simulation.flow import START_NS, instrument

COUNTS = PartitionCounts(1, 1)
OPEN_ORDER = BookOrder(
    order_id=1,
    account="alice",
    client_order_id="1",
    instrument="AAA",
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    price_ticks=100,
    stop_price_ticks=None,
    worst_price_ticks=None,
    display_quantity_lots=None,
    minimum_quantity_lots=None,
    post_only=False,
    expires_at_ns=None,
    self_trade_group="",
    self_trade_prevention="NONE",
    terms=Terms(
        kind="SPOT", currency="USD", minor_per_tick_lot=1, maker_bps=0, taker_bps=0, settlement_days=0
    ),
    cum_quantity_lots=0,
    leaves_quantity_lots=3,
    shown_lots=3,
    priority=1,
    waiting=False,
)
FOREIGN = b"\x00\x00\x00\x00\xffgarbage"


def fold_of(stage: object = MATCHING_STAGE) -> Fold:
    """A fold at the start of its inbox."""
    fold = Fold(stage, COUNTS, 0)  # type: ignore[arg-type]
    fold.begin()
    return fold


def said_by_control(count: int) -> list[bytes]:
    """The first records that control says to the books: an instrument, then marks."""
    control = fold_of(CONTROL_STAGE)
    commands = [DefineInstrument(command_id="i", instrument=instrument("AAA"), at_ns=START_NS)] + [
        SetMark(command_id=f"m{it}", instrument="AAA", price_ticks=100 + it, at_ns=START_NS)
        for it in range(count - 1)
    ]
    said = []
    for offset, command in enumerate(commands):
        value = codec.encode(ControlCommands(items=(command,)))
        outputs = control.apply(InboxRecord(offset, 0, None, value))
        said += [it.value for it in outputs if it.topics == (BOOK_COMMANDS,)]
    return said


def at(offset: int, value: bytes) -> InboxRecord:
    """A record of the inbox."""
    return InboxRecord(offset, 0, None, value)


def test_a_repeat_says_nothing() -> None:
    """A record that its origin said twice is applied once, wherever the repeat stands."""
    first, second = said_by_control(2)
    fold = fold_of()
    assert not fold.apply(at(0, first))
    assert fold.apply(at(1, second))
    assert not fold.apply(at(2, first))
    assert not fold.apply(at(3, second))
    assert fold.repeats_dropped == 2
    assert fold.next_offset == 4


def test_an_offset_is_applied_once() -> None:
    """A record that was fetched again is not applied again."""
    first, second = said_by_control(2)
    fold = fold_of()
    fold.apply(at(0, first))
    assert fold.apply(at(1, second))
    assert not fold.apply(at(1, second))
    assert fold.repeats_dropped == 0


def test_a_gap_stops_the_stage() -> None:
    """A number that comes too early means that records are lost: the place is named."""
    first, _, third = said_by_control(3)
    fold = fold_of()
    fold.apply(at(0, first))
    with pytest.raises(OriginBroken, match="control 0 said 2, and 1 was never heard") as stop:
        fold.apply(at(1, third))
    assert (stop.value.partition, stop.value.offset, stop.value.exit_code) == (0, 1, 71)


def test_another_history_stops_the_stage() -> None:
    """The right number on another content before it is noticed by the chain."""
    first, second = said_by_control(2)
    envelope = codec.decode(first)
    other, _ = codec.seal(BookCommands, envelope.items[:0], "control", 0, 0, 0)  # type: ignore[attr-defined]
    fold = fold_of()
    fold.apply(at(0, other))
    with pytest.raises(OriginBroken, match="on another history"):
        fold.apply(at(1, second))


def test_a_skipped_record_is_heard_and_does_nothing() -> None:
    """A record that an operator skips has no effect, and what its origin says next still follows it."""
    first, second, third = said_by_control(3)
    fold = fold_of()
    fold.skips = frozenset({(1, None)})
    fold.apply(at(0, first))
    assert not fold.apply(at(1, second))
    assert fold.apply(at(2, third))


def test_a_skipped_item_spares_the_others() -> None:
    """One item of a record can be skipped."""
    items = tuple(
        SetMark(command_id=f"m{it}", instrument="AAA", price_ticks=100, at_ns=START_NS) for it in range(2)
    )
    control = fold_of(CONTROL_STAGE)
    control.skips = frozenset({(0, 0)})
    outcomes = control.apply(at(0, codec.encode(ControlCommands(items=items))))
    answers = [it for value in outcomes for it in codec.decode(value.value).items]  # type: ignore[attr-defined]
    assert {it.command_id for it in answers} == {"m1"}


def test_a_foreign_record_stops_the_stage_until_it_is_skipped() -> None:
    """What no engine process wrote is not guessed at; an operator may step over it."""
    fold = fold_of()
    with pytest.raises(RuleFailed, match="cannot be read"):
        fold.apply(at(0, FOREIGN))
    fold.skips = frozenset({(0, None)})
    assert not fold.apply(at(0, FOREIGN))
    assert fold.next_offset == 1


def test_unknown_rules_stop_the_stage() -> None:
    """A worker that does not know the version that is switched to does not guess."""
    value, _ = codec.seal(BookCommands, (RulesActivated(version=99, at_ns=1),), "control", 0, 0, 0)
    with pytest.raises(RuleFailed, match="rules version 99 is not known here"):
        fold_of().apply(at(0, value))


def test_state_of_a_newer_format_is_refused() -> None:
    """A changelog that a newer version wrote is not read as if it were ours."""
    with pytest.raises(ValueError, match="state has format 99"):
        Fold(MATCHING_STAGE, COUNTS, 0).load(META_KEY, encode_meta(Meta(format=99)))


def test_a_restored_fold_goes_on_with_the_same_numbers() -> None:
    """Origins heard and sequences said are part of a checkpoint."""
    first, second, third = said_by_control(3)
    lived = fold_of()
    lived.apply(at(0, first))
    lived.apply(at(1, second))
    restored = Fold(MATCHING_STAGE, COUNTS, 0)
    for change in lived.checkpoint().entries():
        restored.load(*change)
    restored.begin()
    assert restored.apply(at(2, third)) == lived.apply(at(2, third))
    assert restored.next_offset == lived.next_offset


def test_many_rows_are_loaded_as_each_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the rows that are decoded together are of one section, of several, or with the place among them."""
    lived = fold_of()
    for offset, value in enumerate(said_by_control(5)):
        lived.apply(at(offset, value))
    rows = sorted((key, value) for key, value in lived.checkpoint().entries() if value is not None)
    place = rows.pop(0)
    many = [(b"\x01" + msgspec.msgpack.encode(it), b"") for it in range(7)]
    order = msgspec.msgpack.encode(OPEN_ORDER)
    for chunk in (1, 2, 3, len(rows) + len(many) + 1):
        monkeypatch.setattr("agents.stage.fold.CHUNK", chunk)
        together, one_by_one = Fold(MATCHING_STAGE, COUNTS, 0), Fold(MATCHING_STAGE, COUNTS, 0)
        stored = [place, *((key, order) for key, _ in many), *rows]
        together.load_all(iter(stored))
        for key, value in stored:
            one_by_one.load(key, value)
        assert together.has_meta
        assert list(together.tables.entries()) == list(one_by_one.tables.entries())
        assert len(together.tables.sections[1]) == len(many)
        assert not together.tables.dirty_count
