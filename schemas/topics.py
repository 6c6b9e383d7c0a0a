"""The whole list of topics, as plain data: name, key, partitions, record types, retention, who and whom.

``TOPICS`` are the engine's own; ``FLAT_TOPICS`` are made of them for databases, and nothing in the engine reads them.
"""

from enum import Enum
from typing import Final

import msgspec

from schemas import audit, commands, envelopes, flat
from schemas.maximums import ORDER_BYTES, RECORD_BYTES
from schemas.record import Record

DAY_MS = 24 * 3600 * 1000
EVENT_RETENTION_MS = 7 * DAY_MS

ORDERS: Final = "orders"
CONTROL: Final = "control"
ACCOUNT_COMMANDS: Final = "account-commands"
BOOK_COMMANDS: Final = "book-commands"
ACCOUNT_EVENTS: Final = "account-events"
CONTROL_EVENTS: Final = "control-events"
TRADES: Final = "trades"
MARKET_DATA: Final = "market-data"
SETTLEMENT_EVENTS: Final = "settlement-events"
RISK_EVENTS: Final = "risk-events"
DEAD_LETTERS: Final = "dead-letters"
SKIPS: Final = "skips"
ORDER_EVENTS: Final = "order-events"
ORDER_STATES: Final = "order-states"
TRADES_FLAT: Final = "trades-flat"
POSITIONS: Final = "positions"
BALANCES: Final = "balances"
LEDGER: Final = "ledger"
SETTLEMENTS: Final = "settlements"
RISK_EVENTS_FLAT: Final = "risk-events-flat"
MARKET_DATA_FLAT: Final = "market-data-flat"
REFERENCE: Final = "reference"
DEAD_LETTERS_FLAT: Final = "dead-letters-flat"
AUDIT: Final = "audit"
SEALS: Final = "seals"
FINGERPRINTS: Final = "fingerprints"

# Of a restored engine alone (``tables/checkpointed/restored.py``): the topic that says where its records stood before,
# and the header in which each of them says it too.
RESTORED: Final = "restored"
OFFSET_HEADER: Final = "trading-offset"

INBOXES: Final = {
    "control": CONTROL,
    "risk": ACCOUNT_COMMANDS,
    "matching": BOOK_COMMANDS,
    "settlement": ACCOUNT_EVENTS,
}

# What is read for databases (see FLAT_TOPICS). `order-states` is a stage with an inbox; `projection` is an edge, it
# keeps no state and so may read many topics. The engine and its audit know neither.
ORDER_STATES_INBOX: Final = ACCOUNT_EVENTS
PROJECTED: Final = (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    CONTROL_EVENTS,
    TRADES,
    MARKET_DATA,
    SETTLEMENT_EVENTS,
    RISK_EVENTS,
    DEAD_LETTERS,
)


def inbox_of(stage: str) -> str:
    """The one topic that a stage reads; KeyError for an edge."""
    return ORDER_STATES_INBOX if stage == ORDER_STATES else INBOXES[stage]


class Partitioning(Enum):
    """How many partitions a topic has: the engine's count of accounts' or books' partitions, or one."""

    ACCOUNTS = "accounts"
    BOOKS = "books"
    ONE = "one"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """One topic; ``config`` is Kafka's, ``records`` the types a value may have."""

    name: str
    key: str
    partitioning: Partitioning
    records: tuple[type[Record], ...]
    writers: str
    readers: str
    config: tuple[tuple[str, str], ...]


class PartitionCounts(msgspec.Struct, frozen=True):
    """How many partitions an engine has; fixed when it is made."""

    accounts: int
    books: int

    def of(self, topic: Topic) -> int:
        """The partition count of a topic."""
        return {Partitioning.ACCOUNTS: self.accounts, Partitioning.BOOKS: self.books, Partitioning.ONE: 1}[
            topic.partitioning
        ]


_EVENT = (
    ("cleanup.policy", "delete"),
    ("retention.ms", str(EVENT_RETENTION_MS)),
    ("max.message.bytes", str(RECORD_BYTES)),
)
_FOREIGN = (
    ("cleanup.policy", "delete"),
    ("retention.ms", str(EVENT_RETENTION_MS)),
    ("max.message.bytes", str(ORDER_BYTES)),
    ("message.timestamp.type", "LogAppendTime"),
)
_COMPACTED = (
    ("cleanup.policy", "compact"),
    ("delete.retention.ms", str(EVENT_RETENTION_MS)),
    ("max.message.bytes", str(RECORD_BYTES)),
)
# What people did, and the seals over the rest, is little, and must outlast what it speaks of.
_KEPT = (
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("max.message.bytes", str(RECORD_BYTES)),
)
# Of an order that closed long ago only the database keeps the last state.
_LATEST = (
    ("cleanup.policy", "compact,delete"),
    ("retention.ms", str(EVENT_RETENTION_MS)),
    ("max.message.bytes", str(RECORD_BYTES)),
)


def _topic(
    name: str,
    key: str,
    partitioning: Partitioning,
    records: tuple[type[Record], ...],
    writers: str,
    readers: str,
    config: tuple[tuple[str, str], ...] = _EVENT,
) -> Topic:
    return Topic(
        name=name,
        key=key,
        partitioning=partitioning,
        records=records,
        writers=writers,
        readers=readers,
        config=config,
    )


ORDER_RECORDS: Final = (
    commands.PlaceOrder,
    commands.CancelOrder,
    commands.ReplaceOrder,
    commands.MassCancel,
)
_ACCOUNTS, _BOOKS, _ONE = Partitioning.ACCOUNTS, Partitioning.BOOKS, Partitioning.ONE

TOPICS: Final = (
    _topic(ORDERS, "account", _ACCOUNTS, ORDER_RECORDS, "in-house producers", "intake", _FOREIGN),
    _topic(CONTROL, "-", _ONE, (envelopes.ControlCommands,), "operators, clock", "control"),
    _topic(
        ACCOUNT_COMMANDS,
        "account",
        _ACCOUNTS,
        (envelopes.AccountCommands, envelopes.Answers),
        "intake, gateways, operators (cash), matching, settlement, control",
        "risk, projection",
    ),
    _topic(
        BOOK_COMMANDS,
        "instrument",
        _BOOKS,
        (envelopes.BookCommands,),
        "risk, control, matching",
        "matching",
    ),
    _topic(
        ACCOUNT_EVENTS,
        "account",
        _ACCOUNTS,
        (envelopes.AccountEvents, envelopes.Answers),
        "intake, risk, matching, control",
        "settlement, gateways, projection, audit",
    ),
    _topic(CONTROL_EVENTS, "-", _ONE, (envelopes.ControlEvents,), "control", "operators, audit"),
    _topic(TRADES, "instrument", _BOOKS, (envelopes.Trades,), "matching", "market data, projection, audit"),
    _topic(
        MARKET_DATA,
        "instrument",
        _BOOKS,
        (envelopes.MarketData,),
        "matching",
        "market data, gateways, projection",
    ),
    _topic(
        SETTLEMENT_EVENTS,
        "account",
        _ACCOUNTS,
        (envelopes.SettlementEvents,),
        "settlement",
        "gateways, projection, audit",
    ),
    _topic(
        RISK_EVENTS,
        "account",
        _ACCOUNTS,
        (envelopes.RiskEvents, envelopes.Reconciliations),
        "risk, `trading reconcile`",
        "alerts, projection, audit",
    ),
    _topic(DEAD_LETTERS, "source place", _ONE, (envelopes.DeadLetter,), "intake", "operators"),
    _topic(SKIPS, "place", _ONE, (envelopes.SkippedRecord,), "operators", "every stage", _KEPT),
    _topic(AUDIT, "operator", _ONE, (audit.Act,), "operators, every edge", "sinks, audit", _KEPT),
    _topic(SEALS, "topic, partition", _ONE, (audit.Seal,), "audit", "`trading audit verify`, sinks", _KEPT),
    _topic(FINGERPRINTS, "topic, partition", _ONE, (audit.Fingerprints,), "audit", "`trading audit verify`"),
)


def _flat(
    name: str,
    key: str,
    partitioning: Partitioning,
    record: type[Record],
    config: tuple[tuple[str, str], ...] = _EVENT,
) -> Topic:
    return _topic(name, key, partitioning, (record,), "projection", "sinks", config)


# One flat record type each, for databases (``schemas.sinks``). `-flat` is the twin of a topic of lists.
FLAT_TOPICS: Final = (
    _flat(ORDER_EVENTS, "account", _ACCOUNTS, flat.FlatOrderEvent),
    _flat(ORDER_STATES, "order id", _ACCOUNTS, flat.FlatOrderState, _LATEST),
    _flat(TRADES_FLAT, "instrument", _BOOKS, flat.FlatTrade),
    _flat(POSITIONS, "account and instrument", _ACCOUNTS, flat.FlatPosition, _COMPACTED),
    _flat(BALANCES, "account and currency", _ACCOUNTS, flat.FlatBalance, _COMPACTED),
    _flat(LEDGER, "posting id", _ACCOUNTS, flat.FlatPosting),
    _flat(SETTLEMENTS, "account", _ACCOUNTS, flat.FlatSettlement),
    _flat(RISK_EVENTS_FLAT, "account", _ACCOUNTS, flat.FlatRiskEvent),
    _flat(MARKET_DATA_FLAT, "instrument", _BOOKS, flat.FlatMarketData),
    _flat(REFERENCE, "kind and name", _ACCOUNTS, flat.FlatReference, _COMPACTED),
    _flat(DEAD_LETTERS_FLAT, "source place", _ONE, flat.FlatDeadLetter),
)

BY_NAME: Final = {topic.name: topic for topic in (*TOPICS, *FLAT_TOPICS)}

_CLIENTS: Final = f"{ORDERS}."


def orders_of(client: str) -> Topic:
    """A client's own topic: ``orders`` again, but what it brings may only be for accounts that list the client."""
    return _topic(f"{_CLIENTS}{client}", "account", _ACCOUNTS, ORDER_RECORDS, client, "intake", _FOREIGN)


def client_of(topic: str) -> str | None:
    """Whose own topic it is; None: nobody's."""
    return topic.removeprefix(_CLIENTS) if topic.startswith(_CLIENTS) else None


def topic_named(name: str) -> Topic:
    """One of ``TOPICS`` or ``FLAT_TOPICS``, or a client's own; KeyError for any other name."""
    client = client_of(name)
    return BY_NAME[name] if client is None else orders_of(client)


def is_sealed(topic: Topic) -> bool:
    """Whether audit seals it: not what compaction rewrites (others hold its source), nor its own word."""
    return topic.name not in {SEALS, FINGERPRINTS} and ("cleanup.policy", "delete") in topic.config


ANSWERS: Final = "answers"


class Channel(msgspec.Struct, frozen=True):
    """What a stage's outputs are numbered by: the envelope they travel in, and the topics that get it."""

    envelope: type[envelopes.Envelope]
    topics: tuple[str, ...]


# Matching's answers are one channel of two topics: risk and settlement get the very same bytes, encoded once.
CHANNELS: Final = {
    ANSWERS: Channel(envelopes.Answers, (ACCOUNT_COMMANDS, ACCOUNT_EVENTS)),
    ACCOUNT_COMMANDS: Channel(envelopes.AccountCommands, (ACCOUNT_COMMANDS,)),
    BOOK_COMMANDS: Channel(envelopes.BookCommands, (BOOK_COMMANDS,)),
    ACCOUNT_EVENTS: Channel(envelopes.AccountEvents, (ACCOUNT_EVENTS,)),
    CONTROL_EVENTS: Channel(envelopes.ControlEvents, (CONTROL_EVENTS,)),
    TRADES: Channel(envelopes.Trades, (TRADES,)),
    MARKET_DATA: Channel(envelopes.MarketData, (MARKET_DATA,)),
    SETTLEMENT_EVENTS: Channel(envelopes.SettlementEvents, (SETTLEMENT_EVENTS,)),
    RISK_EVENTS: Channel(envelopes.RiskEvents, (RISK_EVENTS,)),
}
