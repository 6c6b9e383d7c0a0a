"""``trading simulate``: control, risk, matching and settlement over one partition each, with no log between."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from agents.rules.intake import Refusal, refusal
from agents.rules.pipeline import Pipeline
from connectors import json_commands as lines
from connectors.decimals import Units
from connectors.event_forms import EventForms
from connectors.json_commands import LineError, Refused
from connectors.json_events import CommandRefusedLine, Event, rejected
from infra.errors import OperatorError
from infra.reference_files import read_accounts, read_instruments
from schemas import commands
from schemas.events import OrderAccepted, OrderReplaced
from schemas.reasons import code
from schemas.record import Record
from schemas.topics import ACCOUNT_EVENTS, ANSWERS, CONTROL_EVENTS, SETTLEMENT_EVENTS, PartitionCounts

_WRITTEN: Final = frozenset({ANSWERS, ACCOUNT_EVENTS, CONTROL_EVENTS, SETTLEMENT_EVENTS})


class SimulatedEngine:
    """Takes lines, and adds to ``out`` what the stages say of them and of all that follows."""

    def __init__(self, instruments: Path | None = None, accounts: Path | None = None) -> None:
        """Starts at time zero with the reference data of the two files; OperatorError names their faults."""
        self.out: list[Event] = []
        self._units = Units()
        self._forms = EventForms(self._units)
        self._now_ns = 0
        self._instruments: dict[tuple[str, str], str] = {}  # of every order, by each of its ids
        self._pipeline = Pipeline(PartitionCounts(accounts=1, books=1), self._hear)
        for number, instrument in enumerate(read_instruments(instruments) if instruments else (), 1):
            self._units.define(instrument)
            self._load(commands.DefineInstrument(command_id=f"instruments-{number}", instrument=instrument))
        for number, account in enumerate(read_accounts(accounts) if accounts else (), 1):
            self._load(commands.DefineAccount(command_id=f"accounts-{number}", account=account))

    def take(self, raw: bytes, number: int) -> None:
        """Runs one line of the input, and all that follows from it, to its end."""
        self._forms.line_number = number
        line = None
        try:
            line = lines.decode(raw)
            command = lines.command_of(self._in_units(line), self._units, number, self._at_ns(line))
        except LineError as error:
            self._refuse((error.reason, str(error)), None)
        except Refused as refused:
            self._refuse(refused.refusal, line)
        else:
            if fault := _form_fault(command):
                self._refuse(fault, line)
            else:
                self._pipeline.send(command)

    def _load(self, command: commands.DefineInstrument | commands.DefineAccount) -> None:
        self._pipeline.send(command)
        for refused in self.out:
            assert isinstance(refused, CommandRefusedLine), "control only refuses"
            raise OperatorError(f"{command.command_id}: {refused.detail}")

    def _at_ns(self, line: lines.AnyLine) -> int:
        """The time of a line: its own, else the greatest seen."""
        if isinstance(line, lines.TickLine):
            self._now_ns = max(self._now_ns, lines.tick_ns(line))
        if line.timestamp_ns is None:
            return self._now_ns
        self._now_ns = max(self._now_ns, line.timestamp_ns)
        return line.timestamp_ns

    def _in_units(self, line: lines.AnyLine) -> lines.AnyLine:
        """A replace counts in the units of its order's instrument, which it need not name."""
        if isinstance(line, lines.ReplaceOrderLine):
            known = self._instruments.get((line.account, line.original_client_order_id))
            return msgspec.structs.replace(line, instrument=known)
        return line

    def _hear(self, channel: str, partition: int, said: Sequence[Record]) -> None:  # noqa: ARG002  (there is one)
        if channel in _WRITTEN:
            self._forms.write(said, self.out)
            for event in said:
                if isinstance(event, OrderAccepted | OrderReplaced):
                    self._instruments[event.account, event.client_order_id] = event.instrument

    def _refuse(self, fault: Refusal, line: lines.AnyLine | None) -> None:
        reason, detail = fault
        answer = None if line is None else rejected(line, fault)
        if answer is None:
            name, account = getattr(line, "command_id", None), getattr(line, "account", None)
            number = self._forms.line_number
            answer = CommandRefusedLine(number, reason, code(reason), detail, name, account)
        self.out.append(answer)


def _form_fault(command: commands.AccountCommand | commands.ControlCommand) -> Refusal | None:
    """What intake says of an account's command; control judges its own."""
    if isinstance(command, commands.AccountCommand) and command.account is not None:
        return refusal(command)
    return None
