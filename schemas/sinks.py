"""Which table of a database each flat topic fills, and by which key: plain data for whoever writes or compares.

A table has the fields of its record as columns, under the same names. The key of what happened begins with its
time, since time series are cut by it; the key of a state is what it is the state of. Only the acts of `audit`, which
are few, are no time series: their key is their own.
"""

from typing import Final

import msgspec

from schemas import audit, flat, topics
from schemas.record import Record

SOURCE: Final = ("epoch", "origin", "partition", "sequence", "item")
TIME: Final = "at_ns"
VERSION: Final = "version"


class Sink(msgspec.Struct, frozen=True, kw_only=True):
    """A table: ``is_state`` tells latest states, each replaced by a higher version, from rows written once.

    ``kafka_key`` are the fields whose texts, joined by spaces, are the key of a record on the topic: of a state
    all that it is the state of, for compaction; else whose it is.
    """

    topic: str
    table: str
    record: type[Record]
    key: tuple[str, ...]
    kafka_key: tuple[str, ...]
    is_state: bool = False

    @property
    def is_series(self) -> bool:
        """Whether it is cut by time, a day a piece."""
        return self.key[0] == TIME


def _happened(
    topic: str, table: str, record: type[Record], whose: str, key: tuple[str, ...] = SOURCE
) -> Sink:
    return Sink(topic=topic, table=table, record=record, key=(TIME, *key), kafka_key=(whose,))


def _state(topic: str, table: str, record: type[Record], *key: str) -> Sink:
    return Sink(topic=topic, table=table, record=record, key=("epoch", *key), kafka_key=key, is_state=True)


SINKS: Final = (
    _happened(topics.ORDER_EVENTS, "order_events", flat.FlatOrderEvent, "account"),
    _state(topics.ORDER_STATES, "order_states", flat.FlatOrderState, "order_id"),
    _happened(topics.TRADES_FLAT, "trades", flat.FlatTrade, "instrument", ("epoch", "trade_id")),
    _state(topics.POSITIONS, "positions", flat.FlatPosition, "account", "instrument"),
    _state(topics.BALANCES, "balances", flat.FlatBalance, "account", "currency"),
    _happened(topics.LEDGER, "ledger", flat.FlatPosting, "posting_id", ("epoch", "posting_id")),
    _happened(topics.SETTLEMENTS, "settlements", flat.FlatSettlement, "account"),
    _happened(topics.RISK_EVENTS_FLAT, "risk_events", flat.FlatRiskEvent, "account"),
    _happened(topics.MARKET_DATA_FLAT, "market_data", flat.FlatMarketData, "instrument"),
    _state(topics.REFERENCE, "reference", flat.FlatReference, "kind", "name"),
    _happened(
        topics.DEAD_LETTERS_FLAT,
        "dead_letters",
        flat.FlatDeadLetter,
        "source_topic",
        ("epoch", "source_topic", "source_partition", "source_offset"),
    ),
    Sink(
        topic=topics.AUDIT,
        table="audit",
        record=audit.Act,
        key=("act_id", "outcome"),
        kafka_key=("operator",),
    ),
)
BY_TABLE: Final = {sink.table: sink for sink in SINKS}
BY_RECORD: Final = {sink.record: sink for sink in SINKS}


def kafka_key(record: Record) -> bytes | None:
    """The key of a flat record on its topic; None where nobody is concerned in particular."""
    values = [getattr(record, field) for field in BY_RECORD[type(record)].kafka_key]
    return None if values == [None] else " ".join(map(str, values)).encode()
