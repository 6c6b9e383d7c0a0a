"""The key of a record, from its value: the archive keeps no keys, and what matters is in the value."""

from typing import Any, Final

from schemas import codec
from schemas.audit import Act, Fingerprints, Seal
from schemas.commands import CancelOrder, MassCancel, PlaceOrder, ReplaceOrder
from schemas.envelopes import SkippedRecord
from schemas.sinks import kafka_key
from schemas.topics import AUDIT, FINGERPRINTS, FLAT_TOPICS, ORDERS, SEALS, SKIPS, client_of

_FLAT: Final = frozenset(topic.name for topic in FLAT_TOPICS)
_KEYED: Final = _FLAT | {ORDERS, SKIPS, AUDIT, SEALS, FINGERPRINTS}


def key_of(topic: str, value: bytes | None) -> bytes | None:
    """What a record of ``topic`` has as its key; None where it has none, or cannot be read.

    The engine's own lists have none, their partition says enough. A foreign producer may have given its orders
    any key; an order comes back with its account, by which it should have been.
    """
    if topic not in _KEYED and client_of(topic) is None:
        return None
    try:
        record: Any = codec.decode(value)
    except codec.DecodeError:
        return None
    if topic in _FLAT:
        return kafka_key(record)
    text = _text(record)
    return None if text is None else text.encode()


def _text(record: object) -> str | None:
    match record:
        case PlaceOrder() | CancelOrder() | ReplaceOrder() | MassCancel():
            return record.account
        case Act():
            return record.operator
        case Seal() | Fingerprints():
            return f"{record.topic}/{record.partition}"
        case SkippedRecord():
            place = (record.stage, record.partition, record.offset, record.index)
            return "/".join(str(it) for it in place if it is not None)
        case _:
            return None
