"""Check 2: every command has exactly one outcome; what is said again (``possible_resend``) aside."""

from collections.abc import Mapping
from typing import Any, Final

from infra.auditor.report import Report, Tally
from schemas import commands as c
from schemas import control_events, events
from schemas.ids import place_id
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.record import Record

# An id is kept until the end of the session day after the one on which it closed, and a quarter of an hour.
KEPT_NS: Final = 3 * NANOSECONDS_PER_DAY
FORGET_EVERY: Final = 100_000

_OUTCOMES: Final[Mapping[type[Record], tuple[type[Record], ...]]] = {
    c.PlaceOrder: (events.OrderAccepted, events.OrderRejected),
    c.CancelOrder: (events.OrderCancelled, events.CancelRejected),
    c.ReplaceOrder: (events.OrderReplaced, events.ReplaceRejected),
    c.MassCancel: (
        events.MassCancelled,
        control_events.CommandApplied,
        events.CommandRefused,
    ),  # the second: control
    c.Deposit: (events.CashDeposited, events.CommandRefused),
    c.Withdraw: (events.CashWithdrawn, events.CommandRefused),
}
_BY_CLIENT_ORDER_ID: Final = (
    events.OrderAccepted,
    events.OrderRejected,
    events.OrderReplaced,
    events.CancelRejected,
    events.ReplaceRejected,
)
_BY_COMMAND_ID: Final = (events.CashDeposited, events.CashWithdrawn, events.CommandRefused)
# Refusals that leave no trace of the command: the same id may be judged anew.
_NOT_REMEMBERED: Final = frozenset(
    {
        "client_order_id_already_used",
        "command_id_already_used",
        "command_too_old",
        "invalid_identifier",
        "not_your_account",
        "unknown_account",
    }
)
_STATED: Final = ("instrument", "side", "order_type", "time_in_force", "quantity_lots", "price_ticks")


class _Entry:
    """What is known of one id: the command as first seen, and how often it was asked and answered.

    ``later`` are the commands that came under the id after the first, each with its place: the outcome may be
    one of theirs, if the first left no trace.
    """

    __slots__ = (
        "again",
        "asked",
        "at_ns",
        "command",
        "first",
        "later",
        "order_id",
        "outcomes",
        "refused",
        "wide",
    )

    def __init__(self) -> None:
        self.command: Any = None
        self.order_id = -1
        self.later: list[tuple[Any, int]] = []
        self.first: Any = None
        self.asked = self.outcomes = self.refused = self.again = 0
        self.at_ns = 0
        self.wide = False


class Outcomes:
    """Joins commands and outcomes by id, in whatever order they are read.

    ``is_partial``: the log's start is gone, so an outcome may answer what nobody sees any more.
    """

    def __init__(self, tally: Tally, *, is_partial: bool) -> None:
        self.tally = tally
        self._is_partial = is_partial
        self._entries: dict[str, _Entry] = {}
        self._excused: set[str] = set()
        self._latest_ns = 0

    def ask(self, key: str, command: Any, order_id: int = -1) -> None:
        """A command was seen; ``order_id`` is the place where it stands."""
        entry = self._entry(key)
        entry.asked += 1
        if entry.asked == 1:
            entry.command, entry.order_id, entry.at_ns = command, order_id, command.at_ns
            self.tally.count += 1
        else:
            entry.later.append((command, order_id))
            entry.wide |= command.at_ns - entry.at_ns > NANOSECONDS_PER_DAY
        self._latest_ns = max(self._latest_ns, command.at_ns)
        if not self.tally.count % FORGET_EVERY:
            self._forget()

    def answer(self, key: str, outcome: Any) -> None:
        """An outcome was seen."""
        entry = self._entry(key)
        if outcome.possible_resend:
            entry.again += 1
        elif getattr(outcome, "reason", "") in _NOT_REMEMBERED:
            entry.refused += 1
        else:
            entry.outcomes += 1
            entry.first = outcome

    def excuse(self, key: str) -> None:
        """An operator made the command, or its way to its outcome, a no-op."""
        self._excused.add(key)

    def finish(self) -> None:
        """Looks at all ids that have not been forgotten."""
        for key, entry in self._entries.items():
            self._judge(key, entry)

    def _entry(self, key: str) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry()
        return entry

    def _compare(self, key: str, entry: _Entry) -> None:
        faults = _faults(entry.command, entry.order_id, entry.first)
        may_be_later = entry.refused and any(not _faults(*it, entry.first) for it in entry.later)
        if not may_be_later:
            for fault in faults:
                self.tally.breach(f"{key}: {fault}")

    def _judge(self, key: str, entry: _Entry) -> None:
        if key in self._excused:
            return
        if entry.first is not None and entry.asked:
            self._compare(key, entry)
        outcomes = entry.outcomes
        answered = outcomes + entry.refused
        if not entry.asked:
            if not self._is_partial:
                self.tally.breach(f"{key}: an outcome of a command that nobody gave")
        elif not answered and not (entry.again and self._is_partial):
            self.tally.breach(f"{key}: {type(entry.command).__name__} has no outcome")
        elif outcomes > (entry.asked if entry.wide else 1):
            self.tally.breach(f"{key}: {outcomes} outcomes")
        elif answered + entry.again > entry.asked:
            self.tally.breach(f"{key}: asked {entry.asked} times, answered {answered + entry.again} times")

    def _forget(self) -> None:
        """Drops the ids that the engine itself has forgotten by now."""
        old_ns = self._latest_ns - KEPT_NS
        due = [
            key
            for key, it in self._entries.items()
            if it.asked and it.first is not None and it.at_ns < old_ns
        ]
        for key in due:
            self._judge(key, self._entries.pop(key))


def _faults(command: Any, order_id: int, outcome: Any) -> list[str]:
    """What an outcome says that the command, which stands at that place, did not ask for."""
    if not isinstance(outcome, _OUTCOMES.get(type(command), (type(outcome),))):
        return [f"a {type(command).__name__} has the outcome {type(outcome).__name__}"]
    faults = []
    if type(outcome) is events.OrderAccepted:
        if outcome.order_id != order_id:
            faults.append(f"accepted as order {outcome.order_id}, its place is {order_id}")
        stated = [name for name in _STATED if getattr(outcome, name) != getattr(command, name)]
        faults += [f"accepted with another {name} than asked for" for name in stated]
    elif type(outcome) in (events.CashDeposited, events.CashWithdrawn) and (
        (outcome.currency, outcome.amount_minor) != (command.currency, command.amount_minor)
    ):
        faults.append(f"{outcome.amount_minor} {outcome.currency} moved, not what was asked for")
    return faults


class Commands:
    """All commands: clients' by account and id, operators' by id."""

    def __init__(self, report: Report, *, is_partial: bool) -> None:
        """See ``Outcomes``."""
        self._clients = Outcomes(report.tally("every command has one outcome"), is_partial=is_partial)
        self._operators = Outcomes(
            report.tally("every control command has one outcome"), is_partial=is_partial
        )
        self._sweeps: set[str] = set()
        self._swept: list[tuple[str, events.MassCancelled]] = []

    def on_account_command(self, partition: int, offset: int, index: int, item: Any) -> None:
        """An edge's command in risk's inbox."""
        if type(item) in _OUTCOMES:
            self._clients.ask(key_of(item), item, place_id(partition, offset, index))

    def on_control_command(self, item: Any) -> None:
        """An operator's command; a tick has no outcome."""
        if type(item) is not c.Tick:
            self._operators.ask(item.command_id, item)
            if type(item) in (c.Kill, c.MassCancel):
                self._sweeps.add(item.command_id)

    def on_account_event(self, item: Any) -> None:
        """What a stage said to clients."""
        kind = type(item)
        if kind in _BY_CLIENT_ORDER_ID:
            self._clients.answer(f"{item.account} {item.client_order_id}", item)
        elif kind is events.OrderCancelled:
            if item.reason == "requested":
                self._clients.answer(f"{item.account} {item.command_id}", item)
        elif kind is events.MassCancelled:
            self._swept.append((f"{item.account} {item.command_id}", item))
        elif kind in _BY_COMMAND_ID:
            self._clients.answer(f"{item.account} {item.command_id}", item)

    def on_control_event(self, item: Any) -> None:
        """Control's answer to an operator."""
        if type(item) in (control_events.CommandApplied, events.CommandRefused):
            self._operators.answer(item.command_id, item)

    def excuse(self, item: Any) -> None:
        """An operator skipped an item that is a command or carries one on."""
        if hasattr(item, "client_order_id") or hasattr(item, "command_id"):
            self._clients.excuse(key_of(item))

    def finish(self) -> None:
        """Looks at all that is left. An operator's sweep tells its end to accounts too: no client asked."""
        for key, item in self._swept:
            if item.account is not None and item.command_id not in self._sweeps:
                self._clients.answer(key, item)
        self._clients.finish()
        self._operators.finish()


def key_of(command: Any) -> str:
    """Account and id: identifiers hold no space."""
    return f"{command.account} {getattr(command, 'client_order_id', None) or command.command_id}"
