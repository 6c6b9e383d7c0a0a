# The types of what ``schemas.codec.build`` compiles; each function as in ``schemas.codec.plain``.

from collections.abc import Iterable
from typing import Any

from schemas.envelopes import Envelope
from schemas.record import Record

def encode(record: Record) -> bytes: ...
def decode(value: bytes | None) -> Record: ...
def seal(
    envelope: type[Envelope], items: Iterable[Any], stage: str, partition: int, sequence: int, chain: int
) -> tuple[bytes, int]: ...
def chain_of(value: bytes, chain: int) -> int: ...
