"""A log in memory that was sealed: some minutes of two partitions, their seals and their fingerprints."""

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from agents.rules.audit import Chain, Sealed, seal_text
from infra.auditor.log import LogRecord, Place
from infra.sealing.findings import Verification
from infra.sealing.keys import PrivateKey, generate, private, trusted
from infra.sealing.verify import verify
from infra.settings import Settings
from schemas import codec
from schemas.audit import Seal
from schemas.topics import EVENT_RETENTION_MS, FINGERPRINTS, SEALS
from tests.unit.infra.auditor.engine import MemoryLog

TRADES: Place = ("trades", 0)
ORDERS: Place = ("orders", 1)
JOURNAL: Place = (SEALS, 0)
PRINTS: Place = (FINGERPRINTS, 0)
START_MS = 1_700_000_040_000  # a whole minute
PER_SEGMENT = 6
SEGMENTS = 5


class SealedLog:
    """The log, the key that sealed it, and what a verification says of it."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_folder=folder)
        generate(folder / "audit" / "seal.key")
        self.key: PrivateKey = private(self.settings)
        self.log = MemoryLog({TRADES: [], ORDERS: [], JOURNAL: [], PRINTS: []})
        for place in (TRADES, ORDERS):
            self.log.records[place] = records = list(_records(place))
            self.add(Chain(*place, 0, None, self.key).take(records))
        self.now_ms = START_MS + SEGMENTS * 60_000

    def add(self, sealed: Iterable[Sealed]) -> None:
        """Appends seals with their fingerprints."""
        for it in sealed:
            self.append(JOURNAL, codec.encode(it.seal))
            self.append(PRINTS, codec.encode(it.fingerprints))

    def append(self, place: Place, value: bytes | None) -> None:
        """Appends a record."""
        self.log.records[place].append(LogRecord(self.log.bounds(place)[1], START_MS, None, value))

    def edit(self, place: Place, change: Callable[[list[LogRecord]], None]) -> None:
        """Changes what a place holds behind Kafka's back."""
        change(self.log.records[place])

    def seal(self, place: Place, number: int) -> tuple[int, Seal]:
        """A seal, and where it stands in the list of the journal's records."""
        for index, record in enumerate(self.log.records[JOURNAL]):
            seal: Any = codec.decode(record.value or b"")
            if ((seal.topic, seal.partition), seal.number) == (place, number):
                return index, seal
        raise LookupError((place, number))

    def replace_seal(self, place: Place, number: int, **fields: Any) -> None:
        """Edits fields of a seal where it stands; its hash and its signature stay."""
        index, seal = self.seal(place, number)
        self._put(index, msgspec.structs.replace(seal, **fields))

    def sign_again(self, place: Place, number: int, key: PrivateKey, **fields: Any) -> None:
        """Edits fields of a seal, and signs it by a key."""
        index, seal = self.seal(place, number)
        self._put(index, signed(msgspec.structs.replace(seal, **fields), key))

    def verify(self, *places: Place, now_ms: int | None = None) -> Verification:
        """Verifies all, or these."""
        return verify(
            self.log,
            trusted(self.settings),
            places or (TRADES, ORDERS),
            now_ms=self.now_ms if now_ms is None else now_ms,
        )

    def found(
        self, *places: Place, now_ms: int | None = None
    ) -> set[tuple[str, str, int | None, int | None]]:
        """What a verification finds: kind, topic, offset and number of the seal."""
        found = self.verify(*places, now_ms=now_ms)
        return {(it.kind, it.topic, it.offset, it.seal) for it in found.findings}

    def _put(self, index: int, seal: Seal) -> None:
        record = self.log.records[JOURNAL][index]
        self.log.records[JOURNAL][index] = record._replace(value=codec.encode(seal))


def signed(seal: Seal, key: PrivateKey) -> Seal:
    """A seal with the hash and the signature that its fields ask for."""
    text = seal_text(seal)
    return msgspec.structs.replace(
        seal, seal_hash=sha256(text).hexdigest(), key_id=key.key_id, signature=key.sign(text).hex()
    )


def long_after() -> int:
    """A time at which retention has every right to have deleted all."""
    return START_MS + SEGMENTS * 60_000 + 2 * EVENT_RETENTION_MS


def _records(place: Place) -> Iterable[LogRecord]:
    for number in range(PER_SEGMENT * SEGMENTS + 2):
        at_ms = START_MS + number * 60_000 // PER_SEGMENT
        value = None if number == PER_SEGMENT else f"{place[0]} record {number}".encode()
        yield LogRecord(number, at_ms, None, value)
