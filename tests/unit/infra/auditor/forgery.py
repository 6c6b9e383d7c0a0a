"""How a log is spoiled: a record touched, or a whole lane said anew with other items and right chains."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from infra.auditor.log import LogRecord, Place
from schemas import codec
from tests.unit.infra.auditor.engine import MemoryLog

Items = Iterable[Any]


def touch(log: MemoryLog, place: Place, index: int, change: Callable[[bytes], bytes]) -> None:
    """Changes the bytes of one record."""
    record = log.records[place][index]
    log.records[place][index] = record._replace(value=change(record.value or b""))


def flip(value: bytes) -> bytes:
    """One bit of a byte in the middle."""
    middle = len(value) // 2
    return value[:middle] + bytes((value[middle] ^ 1,)) + value[middle + 1 :]


def forge(log: MemoryLog, topic: str, edit: Callable[[Any], Items | None]) -> None:
    """Says the first item that ``edit`` gives others for as those, and all after it on a right chain.

    So numbers and chains are in order, and only what is said is wrong.
    """
    for place in sorted(log.records):
        if place[0] == topic and _forge_place(log, place, edit):
            return
    raise AssertionError(f"{topic} has nothing to forge")


def _forge_place(log: MemoryLog, place: Place, edit: Callable[[Any], Items | None]) -> bool:
    for index, record in enumerate(log.records[place]):
        envelope: Any = codec.decode(record.value)
        for number, item in enumerate(envelope.items):
            if (items := edit(item)) is not None:
                forged = (*envelope.items[:number], *items, *envelope.items[number + 1 :])
                log.records[place][index] = record._replace(
                    value=codec.encode(msgspec.structs.replace(envelope, items=forged))
                )
                _seal_anew(log, place, envelope.origin)
                return True
    return False


def _seal_anew(log: MemoryLog, place: Place, origin: Any) -> None:
    sequence, chain = 0, 0
    if origin is None:
        return
    for index, record in enumerate(log.records[place]):
        envelope: Any = codec.decode(record.value)
        own = envelope.origin
        if own is not None and (own.stage, own.partition) == (origin.stage, origin.partition):
            value, chain = codec.seal(
                type(envelope), envelope.items, own.stage, own.partition, sequence, chain
            )
            sequence += 1
            log.records[place][index] = record._replace(value=value)


def change(kind: type[Any], **fields: Callable[[Any], Any]) -> Callable[[Any], Items | None]:
    """Of the first item of a kind, with other fields."""

    def edit(item: Any) -> Items | None:
        if type(item) is not kind or getattr(item, "possible_resend", False):
            return None
        changed = {name: make(getattr(item, name)) for name, make in fields.items()}
        return (msgspec.structs.replace(item, **changed),)

    return edit


def lose(kind: type[Any]) -> Callable[[Any], Items | None]:
    """Without the first item of a kind."""
    return lambda item: () if type(item) is kind else None


def double(kind: type[Any]) -> Callable[[Any], Items | None]:
    """With the first item of a kind twice."""
    return lambda item: (item, item) if type(item) is kind else None


def change_row(log: MemoryLog, changelog: str, tables: Any, section: str, make: Callable[[Any], Any]) -> None:
    """Changes the last version of the first row of a section in a changelog."""
    code = next(it.code for it in tables.sections.values() if it.name == section)
    for place in sorted(log.records):
        if place[0] != changelog:
            continue
        for index in reversed(range(len(log.records[place]))):
            key, value = log.records[place][index].key, log.records[place][index].value
            if key is not None and value is not None and key[0] == code:
                rows = tables.sections[code]
                rows.load(key, value)
                name = next(reversed(rows))
                row = LogRecord(
                    index, log.records[place][index].timestamp_ms, *rows.encode(name, make(rows[name]))
                )
                log.records[place][index] = row
                return
    raise AssertionError(f"{changelog} has no {section}")
