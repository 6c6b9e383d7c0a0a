"""What one Kafka record of an engine topic holds: a list of items and where it comes from.

A stage's record carries its origin; an edge's record carries none, since its commands have ids.
``origin`` is the last field, and ``chain`` the last of its fields: a ``fixed`` of four bytes, big-endian.
So the chain covers every byte before it: ``chain = crc32(value[:-4], previous chain)``.
"""

from typing import Annotated

from schemas import book_commands, commands, control_events, events, risk_events, settlement_events
from schemas.record import Record

AnswerItem = (
    events.OrderAccepted
    | events.OrderRejected
    | events.OrderFilled
    | events.OrderReplaced
    | events.OrderReduced
    | events.OrderCancelled
    | events.OrderExpired
    | events.OrderTriggered
    | events.CancelRejected
    | events.ReplaceRejected
    | events.OrdersRemoved
    | events.MarkChanged
    | events.SessionEnded
)
_AccountCommandOnly = commands.AccountCommand | settlement_events.CashReleased | control_events.ControlEvent
AccountCommandItem = _AccountCommandOnly | AnswerItem
"""All that risk's inbox may hold."""
BookCommandItem = (
    book_commands.EnterOrder
    | book_commands.AmendOrder
    | book_commands.RemoveOrder
    | book_commands.RemoveOrders
    | book_commands.ContinueExpiry
    | book_commands.ContinueElections
    | control_events.ControlEvent
)
_AccountEventOnly = (
    events.OrderAccepted
    | events.OrderRejected
    | events.OrderReplaced
    | events.OrderCancelled
    | events.CancelRejected
    | events.ReplaceRejected
    | events.MassCancelled
    | events.CashDeposited
    | events.CashWithdrawn
    | events.CommandRefused
    | control_events.ControlEvent
)
AccountEventItem = _AccountEventOnly | AnswerItem
"""All that settlement's inbox may hold."""
ControlItem = commands.ControlCommand
ControlEventItem = control_events.CommandApplied | events.CommandRefused


Chain = Annotated[int, "unsigned, four bytes big-endian: Avro's fixed"]


class Origin(Record, frozen=True, gc=False, kw_only=True):
    """Which stage said it, and its place in what that partition of it said to this destination."""

    stage: str
    partition: int
    sequence: int
    chain: Chain


class AccountCommands(Record, frozen=True, gc=False, kw_only=True):
    """Risk's inbox, but for matching's answers: ``account-commands``."""

    items: tuple[_AccountCommandOnly, ...]
    origin: Origin | None = None


class BookCommands(Record, frozen=True, gc=False, kw_only=True):
    """Matching's inbox: ``book-commands``."""

    items: tuple[BookCommandItem, ...]
    origin: Origin | None = None


class AccountEvents(Record, frozen=True, gc=False, kw_only=True):
    """Settlement's inbox, and what clients read, but for matching's answers: ``account-events``."""

    items: tuple[_AccountEventOnly, ...]
    origin: Origin | None = None


class Answers(Record, frozen=True, gc=False, kw_only=True):
    """Matching's word to accounts: the same bytes go to ``account-commands`` and ``account-events``."""

    items: tuple[AnswerItem, ...]
    origin: Origin | None = None


class ControlCommands(Record, frozen=True, gc=False, kw_only=True):
    """Control's inbox: ``control``."""

    items: tuple[ControlItem, ...]
    origin: Origin | None = None


class ControlEvents(Record, frozen=True, gc=False, kw_only=True):
    """Control's answers to operators: ``control-events``."""

    items: tuple[ControlEventItem, ...]
    origin: Origin | None = None


class Trades(Record, frozen=True, gc=False, kw_only=True):
    """The tape: ``trades``."""

    items: tuple[events.Trade, ...]
    origin: Origin | None = None


class MarketData(Record, frozen=True, gc=False, kw_only=True):
    """Changes of the books: ``market-data``."""

    items: tuple[events.LevelChanged | events.MarkChanged, ...]
    origin: Origin | None = None


class SettlementEvents(Record, frozen=True, gc=False, kw_only=True):
    """Settlement's word: ``settlement-events``."""

    items: tuple[settlement_events.SettlementEvent, ...]
    origin: Origin | None = None


class RiskEvents(Record, frozen=True, gc=False, kw_only=True):
    """Risk's alerts: ``risk-events``."""

    items: tuple[risk_events.RiskEvent, ...]
    origin: Origin | None = None


class Reconciliations(Record, frozen=True, gc=False, kw_only=True):
    """What a reconciliation found: on ``risk-events`` too, of an edge, so without an origin."""

    items: tuple[risk_events.ReconciliationEvent, ...]
    origin: Origin | None = None


class DeadLetter(Record, frozen=True, gc=False, kw_only=True):
    """What came from outside and could not be read: its place, why, and its bytes."""

    topic: str
    partition: int
    offset: int
    reason: str
    reason_code: int
    detail: str
    key: bytes | None
    value: bytes | None
    at_ns: int


class SkippedRecord(Record, frozen=True, gc=False, kw_only=True):
    """An operator's decision (``skips``): this record, or this item of it, is a no-op for this stage."""

    stage: str
    partition: int
    offset: int
    index: int | None
    operator: str
    note: str
    at_ns: int


Envelope = (
    AccountCommands
    | BookCommands
    | AccountEvents
    | Answers
    | ControlCommands
    | ControlEvents
    | Trades
    | MarketData
    | SettlementEvents
    | RiskEvents
    | Reconciliations
)
