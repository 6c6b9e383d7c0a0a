"""Control: the one writer of what concerns all partitions of all inboxes, so that all see it in one order.

A command is checked, remembered by its id, sequenced to every partition that it concerns, and answered on
``control-events``. Ticks have no id: one that is not after the last is ignored.
"""

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from typing import Final, assert_never

import msgspec

from agents.rules.intake import SIDES, Refusal, is_identifier, not_identifier, not_in_range, not_one_of
from agents.rules.outbox import Outbox, Place
from agents.rules.reference import account_fault, changed_field, instrument_fault, limits_fault
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
from schemas.control_events import (
    AccountDefined,
    ClockTicked,
    CommandApplied,
    ControlEvent,
    InstrumentDefined,
    KillActivated,
    KillLifted,
    LimitsChanged,
    MarkSet,
    MassCancelOrdered,
    RulesActivated,
    TradingHalted,
    TradingResumed,
)
from schemas.events import CommandRefused
from schemas.maximums import COMMAND_WINDOW_NS, INT64_MAX
from schemas.partitioner import partition_of
from schemas.reasons import code
from schemas.reference import Instrument
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BOOK_COMMANDS, CONTROL_EVENTS, PartitionCounts
from tables.control import ENGINE, AccountRow, ControlTables, EngineRow, InstrumentRow, OutcomeRow, SwitchRow

_DIGEST_BYTES: Final = 16

_Identified = (
    DefineInstrument | DefineAccount | SetLimits | SetMark | Halt | Kill | Resume | MassCancel | ActivateRules
)


class Control:
    """The rules of control over the tables of its one partition."""

    VERSION = 1

    def __init__(self, tables: ControlTables, counts: PartitionCounts, partition: int) -> None:
        """Builds what is derived: the ids by age, and each currency's exponent."""
        self._tables = tables
        self._counts = counts
        self._partition = partition
        self._engine = tables.engine.get(ENGINE, EngineRow())
        by_age = sorted(tables.outcomes, key=lambda name: tables.outcomes[name].number)
        self._ids_by_age = deque(by_age)
        self._exponents = {
            row.instrument.currency: row.instrument.currency_exponent for row in tables.instruments.values()
        }

    def apply(self, item: ControlCommand, place: Place, outbox: Outbox) -> None:
        """Takes one command: its events to every inbox that it concerns, its answer to control-events."""
        if isinstance(item, Tick):
            self._tick(item, place, outbox)
            return
        self._forget(place.now_ns)
        known = self._tables.outcomes.get(item.command_id)
        if known is not None:
            self._answer_again(item, known, place, outbox)
        elif fault := _unanswerable(item, place.now_ns):
            _refuse(item, fault, place.now_ns, outbox)
        else:
            self._decide(item, place, outbox)

    def _tick(self, item: Tick, place: Place, outbox: Outbox) -> None:
        last = self._engine.tick_ns
        if (last is None or item.tick_ns > last) and 0 <= item.tick_ns <= INT64_MAX:
            self._set_engine(tick_ns=item.tick_ns)
            at_ns = max(place.now_ns, item.tick_ns)
            self._broadcast(ClockTicked(tick_ns=item.tick_ns, at_ns=at_ns), outbox)

    def _answer_again(self, item: _Identified, known: OutcomeRow, place: Place, outbox: Outbox) -> None:
        if known.digest != _digest(item):
            detail = f"{item.command_id} was a {known.command} of other content: take a new id"
            _refuse(item, ("command_id_already_used", detail), place.now_ns, outbox)
        elif known.reason:
            _refuse(item, (known.reason, known.detail), known.at_ns, outbox, possible_resend=True)
        else:
            _confirm(item, known.at_ns, outbox, possible_resend=True)

    def _decide(self, item: _Identified, place: Place, outbox: Outbox) -> None:
        now_ns = place.now_ns
        fault = self._fault(item)
        self._remember(item, fault or ("", ""), now_ns)
        if fault:
            _refuse(item, fault, now_ns, outbox)
            return
        for event in self._events(item, now_ns):
            if isinstance(event, AccountDefined):
                self._tell(event.account.account, event, outbox)
            elif isinstance(event, LimitsChanged):
                self._tell(event.account, event, outbox)
            else:
                self._broadcast(event, outbox)
        _confirm(item, now_ns, outbox)

    # What is wrong with a command, given what is known.

    def _fault(self, item: _Identified) -> Refusal | None:  # noqa: PLR0911  (one for each command)
        match item:
            case DefineInstrument():
                return self._instrument_fault(item.instrument)
            case DefineAccount():
                fault = account_fault(item.account)
                return ("invalid_account", fault) if fault else None
            case SetLimits():
                fault = limits_fault(item.limits)
                return self._unknown(item.account, None) or (("invalid_command", fault) if fault else None)
            case SetMark():
                price = item.price_ticks
                fault_of_price = None if 0 < price <= INT64_MAX else not_in_range("price_ticks", price)
                return self._unknown(None, item.instrument) or fault_of_price
            case Halt():
                return self._unknown(None, item.instrument)
            case Kill() | Resume():
                if item.account is not None and item.instrument is not None:
                    return "invalid_command", "name an account or an instrument, not both"
                return self._unknown(item.account, item.instrument)
            case MassCancel():
                fault_of_side = None if item.side in {*SIDES, None} else not_one_of("side", item.side, SIDES)
                return self._unknown(item.account, item.instrument) or fault_of_side
            case ActivateRules():
                return self._version_fault(item.version)
            case _:
                assert_never(item)

    def _instrument_fault(self, instrument: Instrument) -> Refusal | None:
        if fault := instrument_fault(instrument):
            return "invalid_instrument", fault
        known = self._tables.instruments.get(instrument.symbol)
        if known and (fault := changed_field(known.instrument, instrument)):
            return "unchangeable_field", fault
        exponent = self._exponents.get(instrument.currency, instrument.currency_exponent)
        if exponent != instrument.currency_exponent:
            return "invalid_instrument", f"currency_exponent of {instrument.currency} is {exponent} already"
        return None

    def _unknown(self, account: str | None, instrument: str | None) -> Refusal | None:
        if account is not None and account not in self._tables.accounts:
            return "unknown_account", f"account {account!r} is not defined"
        if instrument is not None and instrument not in self._tables.instruments:
            return "unknown_instrument", f"instrument {instrument!r} is not defined"
        return None

    def _version_fault(self, version: int) -> Refusal | None:
        active = self._engine.rules_version
        if active <= version <= self.VERSION:
            return None
        detail = f"version {version} is not from {active} (active) to {self.VERSION} (newest known)"
        return "unknown_rules_version", detail

    # What a good command changes, and what it says to the stages. What changes nothing is not said.

    def _events(self, item: _Identified, now_ns: int) -> Iterator[ControlEvent]:
        match item:
            case DefineInstrument():
                yield from self._define_instrument(item, now_ns)
            case DefineAccount():
                yield from self._define_account(item, now_ns)
            case SetLimits():
                account = self._tables.accounts[item.account].account
                self._tables.accounts[item.account] = AccountRow(
                    msgspec.structs.replace(account, limits=item.limits)
                )
                yield LimitsChanged(account=item.account, limits=item.limits, at_ns=now_ns)
            case SetMark():
                yield MarkSet(instrument=item.instrument, price_ticks=item.price_ticks, at_ns=now_ns)
            case Halt():
                self._tables.halts[item.instrument] = SwitchRow(item.command_id, allow_reducing=False)
                yield TradingHalted(instrument=item.instrument, at_ns=now_ns)
            case Kill():
                yield self._kill(item, now_ns)
            case Resume():
                yield from self._resume(item, now_ns)
            case MassCancel():
                yield MassCancelOrdered(
                    command_id=item.command_id,
                    account=item.account,
                    instrument=item.instrument,
                    side=item.side,
                    at_ns=now_ns,
                )
            case ActivateRules():
                self._set_engine(rules_version=item.version)
                yield RulesActivated(version=item.version, at_ns=now_ns)
            case _:
                assert_never(item)

    def _define_instrument(self, item: DefineInstrument, now_ns: int) -> Iterator[ControlEvent]:
        instrument, row = item.instrument, InstrumentRow(item.instrument)
        if self._tables.instruments.get(instrument.symbol) != row:
            self._tables.instruments[instrument.symbol] = row
            self._exponents[instrument.currency] = instrument.currency_exponent
            yield InstrumentDefined(instrument=instrument, at_ns=now_ns)

    def _define_account(self, item: DefineAccount, now_ns: int) -> Iterator[ControlEvent]:
        account, row = item.account, AccountRow(item.account)
        if self._tables.accounts.get(account.account) != row:
            self._tables.accounts[account.account] = row
            yield AccountDefined(account=account, at_ns=now_ns)

    def _kill(self, item: Kill, now_ns: int) -> KillActivated:
        self._tables.kills[item.account, item.instrument] = SwitchRow(item.command_id, item.allow_reducing)
        return KillActivated(
            command_id=item.command_id,
            account=item.account,
            instrument=item.instrument,
            allow_reducing=item.allow_reducing,
            at_ns=now_ns,
        )

    def _resume(self, item: Resume, now_ns: int) -> Iterator[ControlEvent]:
        scope = item.account, item.instrument
        if self._tables.kills.pop(scope, None):
            yield KillLifted(account=item.account, instrument=item.instrument, at_ns=now_ns)
        if item.account is None and self._tables.halts.pop(item.instrument, None):
            yield TradingResumed(instrument=item.instrument, at_ns=now_ns)

    def _set_engine(self, **changes: int) -> None:
        self._engine = msgspec.structs.replace(self._engine, **changes)
        self._tables.engine[ENGINE] = self._engine

    # Ids.

    def _remember(self, item: _Identified, outcome: Refusal, now_ns: int) -> None:
        number, (reason, detail) = self._engine.next_number, outcome
        kind = type(item).__name__
        self._tables.outcomes[item.command_id] = OutcomeRow(
            number, now_ns, _digest(item), kind, reason, detail
        )
        self._ids_by_age.append(item.command_id)
        self._set_engine(next_number=number + 1)

    def _forget(self, now_ns: int) -> None:
        """Drops the ids older than the window: a command that comes so late is refused as too old."""
        outcomes, by_age = self._tables.outcomes, self._ids_by_age
        while by_age and outcomes[by_age[0]].at_ns < now_ns - COMMAND_WINDOW_NS:
            del outcomes[by_age.popleft()]

    # Ways out.

    def _broadcast(self, event: ControlEvent, outbox: Outbox) -> None:
        for channel, count in (
            (ACCOUNT_COMMANDS, self._counts.accounts),
            (ACCOUNT_EVENTS, self._counts.accounts),
            (BOOK_COMMANDS, self._counts.books),
        ):
            for partition in range(count):
                outbox.send(channel, partition, event)

    def _tell(self, account: str, event: ControlEvent, outbox: Outbox) -> None:
        partition = partition_of(account, self._counts.accounts)
        outbox.send(ACCOUNT_COMMANDS, partition, event)
        outbox.send(ACCOUNT_EVENTS, partition, event)


def _unanswerable(item: _Identified, now_ns: int) -> Refusal | None:
    """Why a command is refused without being remembered."""
    if not is_identifier(item.command_id):
        return not_identifier("command_id", item.command_id)
    if item.at_ns < now_ns - COMMAND_WINDOW_NS:
        return (
            "command_too_old",
            f"sent at {item.at_ns}, and it is {now_ns} now: take a new id and send it again",
        )
    return None


def _digest(item: _Identified) -> bytes:
    """Sixteen bytes that stand for the content; the time is the edge's word, not the sender's."""
    content = msgspec.msgpack.encode(msgspec.structs.replace(item, at_ns=0))
    return blake2b(type(item).__name__.encode() + content, digest_size=_DIGEST_BYTES).digest()


def _confirm(item: _Identified, at_ns: int, outbox: Outbox, *, possible_resend: bool = False) -> None:
    applied = CommandApplied(
        command_id=item.command_id,
        command=type(item).__name__,
        at_ns=at_ns,
        possible_resend=possible_resend,
    )
    outbox.send(CONTROL_EVENTS, 0, applied)


def _refuse(
    item: _Identified, fault: Refusal, at_ns: int, outbox: Outbox, *, possible_resend: bool = False
) -> None:
    reason, detail = fault
    refused = CommandRefused(
        command_id=item.command_id,
        account=_account(item),
        reason=reason,
        reason_code=code(reason),
        detail=detail,
        at_ns=at_ns,
        possible_resend=possible_resend,
    )
    outbox.send(CONTROL_EVENTS, 0, refused)


def _account(item: _Identified) -> str | None:
    match item:
        case DefineAccount():
            return item.account.account
        case SetLimits() | Kill() | Resume() | MassCancel():
            return item.account
        case DefineInstrument() | SetMark() | Halt() | ActivateRules():
            return None
        case _:
            assert_never(item)
