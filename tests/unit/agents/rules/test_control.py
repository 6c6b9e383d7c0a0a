"""Control checks, remembers, sequences and answers."""

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from agents.rules.control import Control
from agents.rules.outbox import Outbox, Place
from schemas.commands import (
    ActivateRules,
    ControlCommand,
    DefineAccount,
    DefineInstrument,
    Halt,
    Kill,
    MassCancel,
    Resume,
    SetLimits,
    SetMark,
    Tick,
)
from schemas.control_events import CommandApplied
from schemas.events import CommandRefused
from schemas.maximums import COMMAND_WINDOW_NS, INT64_MAX
from schemas.partitioner import partition_of
from schemas.record import Record
from schemas.reference import Account, FeeRate, Instrument, Limits
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BOOK_COMMANDS, CONTROL_EVENTS, PartitionCounts
from tables.control import ControlTables

COUNTS = PartitionCounts(accounts=2, books=3)
NOW = 10 * COMMAND_WINDOW_NS
X = Instrument(
    symbol="X",
    kind="SPOT",
    currency="USD",
    currency_exponent=2,
    tick_size_e9=10_000_000,
    lot_size_e9=1_000_000_000,
    multiplier=1,
    minor_per_tick_lot=1,
    maximum_quantity_lots=1_000_000,
    maximum_notional_minor=1_000_000_000,
)
Y = msgspec.structs.replace(X, symbol="Y")
A = Account(account="a")


class Desk:
    """Control with its tables, an offset and a clock."""

    def __init__(self) -> None:
        """Starts empty at NOW."""
        self.tables = ControlTables()
        self.control = Control(self.tables, COUNTS, 0)
        self.offset = 0
        self.now_ns = NOW

    def send(self, command: ControlCommand) -> dict[tuple[str, int], list[Record]]:
        """Everything that control says to one command, sent now."""
        if not isinstance(command, Tick) and not command.at_ns:
            command = msgspec.structs.replace(command, at_ns=self.now_ns)
        outbox = Outbox()
        self.control.apply(command, Place(0, self.offset, 0, self.now_ns), outbox)
        self.offset += 1
        return outbox.items

    def answer(self, command: ControlCommand) -> Record:
        """The one answer on control-events."""
        (only,) = self.send(command)[CONTROL_EVENTS, 0]
        return only

    def reason(self, command: ControlCommand) -> str | None:
        """The reason of a refusal, or None; a refused command says nothing to the stages."""
        said = self.send(command)
        (only,) = said.pop((CONTROL_EVENTS, 0))
        if isinstance(only, CommandApplied):
            return None
        assert isinstance(only, CommandRefused)
        assert not said
        assert only.detail
        return only.reason

    def restore(self) -> None:
        """Takes the state through the changelog's form into a new instance."""
        tables = ControlTables()
        for key, value in self.tables.entries():
            tables.load(key, value)
        self.tables, self.control = tables, Control(tables, COUNTS, 0)


@pytest.fixture
def desk() -> Desk:
    """A desk that knows instrument X and account a."""
    desk = Desk()
    assert desk.reason(DefineInstrument(command_id="i", instrument=X)) is None
    assert desk.reason(DefineAccount(command_id="a", account=A)) is None
    return desk


def names(items: Iterable[Record]) -> list[str]:
    """The types of events."""
    return [type(item).__name__ for item in items]


EVERYWHERE = {
    (channel, partition)
    for channel, count in ((ACCOUNT_COMMANDS, 2), (ACCOUNT_EVENTS, 2), (BOOK_COMMANDS, 3))
    for partition in range(count)
}
BROADCAST = [
    (SetMark(command_id="1", instrument="X", price_ticks=5), "MarkSet"),
    (Halt(command_id="1", instrument="X"), "TradingHalted"),
    (Halt(command_id="1"), "TradingHalted"),
    (Kill(command_id="1", account="a"), "KillActivated"),
    (Kill(command_id="1", instrument="X", allow_reducing=True), "KillActivated"),
    (Kill(command_id="1"), "KillActivated"),
    (MassCancel(command_id="1", account="a", instrument="X", side="BUY"), "MassCancelOrdered"),
    (ActivateRules(command_id="1", version=1), "RulesActivated"),
    (
        DefineInstrument(command_id="1", instrument=Y),
        "InstrumentDefined",
    ),
]


@pytest.mark.parametrize(("command", "event"), BROADCAST)
def test_what_concerns_all_goes_to_every_inbox(desk: Desk, command: ControlCommand, event: str) -> None:
    """An event goes once to every partition of every inbox, and the operator gets his answer."""
    said = desk.send(command)
    assert names(said.pop((CONTROL_EVENTS, 0))) == ["CommandApplied"]
    assert set(said) == EVERYWHERE
    assert all(names(items) == [event] for items in said.values())


@pytest.mark.parametrize(
    ("command", "event"),
    [
        (SetLimits(command_id="1", account="a", limits=Limits(maximum_open_orders=1)), "LimitsChanged"),
        (DefineAccount(command_id="1", account=Account(account="b")), "AccountDefined"),
    ],
)
def test_what_concerns_an_account_goes_to_its_partitions(
    desk: Desk, command: ControlCommand, event: str
) -> None:
    """Accounts and limits go only where the account lives."""
    partition = partition_of("a" if isinstance(command, SetLimits) else "b", COUNTS.accounts)
    said = desk.send(command)
    said.pop((CONTROL_EVENTS, 0))
    assert set(said) == {(ACCOUNT_COMMANDS, partition), (ACCOUNT_EVENTS, partition)}
    assert all(names(items) == [event] for items in said.values())


REFUSED = [
    (SetLimits(command_id="1", account="b", limits=Limits()), "unknown_account"),
    (SetLimits(command_id="1", account="a", limits=Limits(maximum_open_orders=-1)), "invalid_command"),
    (SetMark(command_id="1", instrument="Y", price_ticks=1), "unknown_instrument"),
    (SetMark(command_id="1", instrument="X", price_ticks=0), "number_out_of_range"),
    (Halt(command_id="1", instrument="Y"), "unknown_instrument"),
    (Kill(command_id="1", account="b"), "unknown_account"),
    (Kill(command_id="1", instrument="Y"), "unknown_instrument"),
    (Kill(command_id="1", account="a", instrument="X"), "invalid_command"),
    (Resume(command_id="1", account="a", instrument="X"), "invalid_command"),
    (Resume(command_id="1", account="b"), "unknown_account"),
    (MassCancel(command_id="1", account="b"), "unknown_account"),
    (MassCancel(command_id="1", side="BOTH"), "unknown_value"),  # type: ignore[arg-type]
    (ActivateRules(command_id="1", version=2), "unknown_rules_version"),
    (ActivateRules(command_id="1", version=0), "unknown_rules_version"),
    (Halt(command_id="a b"), "invalid_identifier"),
    (Halt(command_id="1", at_ns=NOW - COMMAND_WINDOW_NS - 1), "command_too_old"),
]


@pytest.mark.parametrize(("command", "reason"), REFUSED)
def test_a_command_is_refused_with_its_reason(desk: Desk, command: ControlCommand, reason: str) -> None:
    """A command that cannot be carried out is refused, and no stage hears of it."""
    assert desk.reason(command) == reason


INSTRUMENTS = [
    ({"symbol": "a b"}, "invalid_instrument"),
    ({"kind": "BOND"}, "invalid_instrument"),
    ({"trading_state": "PAUSED"}, "invalid_instrument"),
    ({"symbol": "Y", "currency": ""}, "invalid_instrument"),
    ({"symbol": "Y", "currency_exponent": 19}, "invalid_instrument"),
    ({"symbol": "Y", "tick_size_e9": 0}, "invalid_instrument"),
    ({"symbol": "Y", "lot_size_e9": -1}, "invalid_instrument"),
    ({"symbol": "Y", "multiplier": 0}, "invalid_instrument"),
    ({"symbol": "Y", "tick_size_e9": 1_000_000}, "invalid_instrument"),  # a tenth of a cent
    ({"symbol": "Y", "minor_per_tick_lot": 2}, "invalid_instrument"),
    ({"symbol": "Y", "currency_exponent": 3, "minor_per_tick_lot": 10}, "invalid_instrument"),  # USD has 2
    ({"maximum_quantity_lots": 0}, "invalid_instrument"),
    ({"maximum_notional_minor": INT64_MAX + 1}, "invalid_instrument"),
    ({"collar_bps": -1}, "invalid_instrument"),
    ({"initial_margin_bps": -1}, "invalid_instrument"),
    ({"settlement_days": 3}, "invalid_instrument"),
    ({"session_end_minute_utc": 1440}, "invalid_instrument"),
    ({"fee_class": ""}, "invalid_instrument"),
    ({"tick_size_e9": 20_000_000, "minor_per_tick_lot": 2}, "unchangeable_field"),
    ({"lot_size_e9": 2_000_000_000, "minor_per_tick_lot": 2}, "unchangeable_field"),
    ({"multiplier": 2, "minor_per_tick_lot": 2}, "unchangeable_field"),
    ({"currency": "EUR"}, "unchangeable_field"),
    ({"kind": "EQUITY"}, "unchangeable_field"),
    ({"maximum_notional_minor": INT64_MAX}, None),
    ({"collar_bps": 0, "trading_state": "CLOSED", "session_end_minute_utc": 1439}, None),
    ({"symbol": "Y", "currency": "EUR", "currency_exponent": 3, "minor_per_tick_lot": 10}, None),
]


@pytest.mark.parametrize(("changes", "reason"), INSTRUMENTS)
def test_an_instrument_must_be_possible(desk: Desk, changes: dict[str, object], reason: str | None) -> None:
    """What would make money inexact, or change a symbol's grid, is refused."""
    instrument = msgspec.structs.replace(X, **changes)
    assert desk.reason(DefineInstrument(command_id="1", instrument=instrument)) == reason


ACCOUNTS = [
    ({"account": "house:1"}, "invalid_account"),
    ({"account": "clearing:0"}, "invalid_account"),
    ({"account": "cash:0"}, "invalid_account"),
    ({"account": ""}, "invalid_account"),
    ({"self_trade_group": "g g"}, "invalid_account"),
    ({"account_type": "CREDIT"}, "invalid_account"),
    ({"status": "GONE"}, "invalid_account"),
    ({"self_trade_prevention": "ALLOW"}, "invalid_account"),
    ({"fee_rates": (FeeRate(fee_class="d", maker_bps=-10_001, taker_bps=0),)}, "invalid_account"),
    ({"fee_rates": (FeeRate(fee_class="d", maker_bps=1, taker_bps=1),) * 2}, "invalid_account"),
    ({"limits": Limits(maximum_position_lots=INT64_MAX + 1)}, "invalid_account"),
    ({"permitted_instruments": ("X", "X")}, "invalid_account"),
    ({"restricted_instruments": ("",)}, "invalid_account"),
    ({"clients": ("a b",)}, "invalid_account"),
    ({"self_trade_group": "g", "permitted_instruments": ("Z",), "status": "CLOSED"}, None),
]


@pytest.mark.parametrize(("changes", "reason"), ACCOUNTS)
def test_an_account_must_be_possible(desk: Desk, changes: dict[str, object], reason: str | None) -> None:
    """Names of the engine's own accounts and impossible terms are refused."""
    account = msgspec.structs.replace(A, **changes)
    assert desk.reason(DefineAccount(command_id="1", account=account)) == reason


def test_the_same_definition_again_is_not_said_again(desk: Desk) -> None:
    """Applying a reference file twice is answered, and tells the stages nothing."""
    assert set(desk.send(DefineInstrument(command_id="1", instrument=X))) == {(CONTROL_EVENTS, 0)}
    assert set(desk.send(DefineAccount(command_id="2", account=A))) == {(CONTROL_EVENTS, 0)}


def test_a_definition_after_new_limits_brings_the_old_ones_back(desk: Desk) -> None:
    """Control knows the limits last set, so that a file that differs from them is said to the stages."""
    desk.send(SetLimits(command_id="1", account="a", limits=Limits(maximum_open_orders=1)))
    assert len(desk.send(DefineAccount(command_id="2", account=A))) == 3


def test_resume_lifts_exactly_its_scope(desk: Desk) -> None:
    """Halts and kills are each lifted by a resume of just that scope."""
    desk.send(Halt(command_id="h1", instrument="X"))
    desk.send(Halt(command_id="h2"))
    desk.send(Kill(command_id="k1", instrument="X"))
    desk.send(Kill(command_id="k2", account="a"))
    said = desk.send(Resume(command_id="r1", instrument="X"))
    assert names(said[BOOK_COMMANDS, 0]) == ["KillLifted", "TradingResumed"]
    assert names(desk.send(Resume(command_id="r2"))[BOOK_COMMANDS, 0]) == ["TradingResumed"]
    assert names(desk.send(Resume(command_id="r3", account="a"))[BOOK_COMMANDS, 0]) == ["KillLifted"]
    assert set(desk.send(Resume(command_id="r4"))) == {(CONTROL_EVENTS, 0)}


@pytest.mark.parametrize("restored", [False, True])
def test_a_repeat_gets_the_first_outcome_again(desk: Desk, restored: bool) -> None:
    """A repeat changes nothing, is marked as such and carries the first time, also from restored state."""
    good, bad = Halt(command_id="1", instrument="X"), Halt(command_id="2", instrument="Y")
    first = [desk.answer(good), desk.answer(bad)]
    desk.send(DefineInstrument(command_id="3", instrument=Y))
    if restored:
        desk.restore()
    desk.now_ns += 5
    for command, outcome in zip((good, bad), first, strict=True):
        said = desk.send(command)
        assert said == {(CONTROL_EVENTS, 0): [msgspec.structs.replace(outcome, possible_resend=True)]}


def test_an_id_with_other_content_is_refused_first(desk: Desk) -> None:
    """The known id is checked before all else, and the type of the command is part of the content."""
    desk.send(Halt(command_id="1", instrument="X"))
    assert desk.reason(Halt(command_id="1", instrument="Z")) == "command_id_already_used"
    assert desk.reason(Resume(command_id="1", instrument="X")) == "command_id_already_used"


@pytest.mark.parametrize("restored", [False, True])
def test_an_id_is_free_again_after_the_window(desk: Desk, restored: bool) -> None:
    """Ids are forgotten when a repeat of them would be refused as too old."""
    first = Halt(command_id="1", instrument="X", at_ns=NOW)
    desk.send(first)
    desk.now_ns += COMMAND_WINDOW_NS
    if restored:
        desk.restore()
    assert desk.reason(first) is None
    desk.now_ns += 1
    assert desk.reason(first) == "command_too_old"
    assert desk.reason(Resume(command_id="1", instrument="X")) is None


def test_a_tick_that_is_not_after_the_last_is_ignored(desk: Desk) -> None:
    """Engine time goes on by later ticks only; a tick has no answer."""
    said = desk.send(Tick(tick_ns=NOW + 7))
    assert set(said) == EVERYWHERE
    assert not desk.send(Tick(tick_ns=NOW + 7))
    desk.restore()
    assert not desk.send(Tick(tick_ns=NOW))
    assert not desk.send(Tick(tick_ns=INT64_MAX + 1))
    assert desk.send(Tick(tick_ns=NOW + 8))


def test_a_restored_control_says_the_same(desk: Desk) -> None:
    """State taken through the changelog after every command gives the same words as state that lived."""
    other = Desk()
    other.send(DefineInstrument(command_id="i", instrument=X))
    other.send(DefineAccount(command_id="a", account=A))
    for number, (command, _) in enumerate([*BROADCAST, *REFUSED]):
        other.restore()
        unique: Any = msgspec.structs.replace(command, command_id=str(number))
        assert desk.send(unique) == other.send(unique)
        assert list(desk.tables.entries()) == list(other.tables.entries())
