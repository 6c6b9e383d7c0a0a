"""The base of everything that is said on a topic, and the words that fields may hold."""

from typing import Literal

import msgspec

Side = Literal["BUY", "SELL"]  # FIX 54
OrderType = Literal["LIMIT", "MARKET", "STOP", "STOP_LIMIT"]  # FIX 40
TimeInForce = Literal["GTC", "IOC", "FOK", "DAY", "GTD"]  # FIX 59
SelfTradePrevention = Literal["NONE", "CANCEL_NEWEST", "CANCEL_OLDEST", "CANCEL_BOTH", "DECREMENT"]
Liquidity = Literal["MAKER", "TAKER"]  # FIX 851
InstrumentKind = Literal["SPOT", "EQUITY", "FUTURE"]
AccountType = Literal["CASH", "MARGIN"]
AccountStatus = Literal["ACTIVE", "SUSPENDED", "CLOSED"]
TradingState = Literal["OPEN", "HALTED", "CLOSED"]


class Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """An immutable, typed record; its Avro schema is derived from its fields, in their order.

    The wire types: ``int`` is ``long``, ``str`` and every ``Literal`` ``string``, ``bool`` ``boolean``,
    ``bytes`` ``bytes``, ``X | None`` a union with null, ``tuple[X, ...]`` an array, a Record a record.
    A field added later needs a default and stands behind all others: FULL compatibility demands the one,
    readers of the binary form the other.
    """
