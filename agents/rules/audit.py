"""How the log is sealed: one chain of seals for each topic-partition, each over a segment of its records.

- A *leaf* is the SHA-256 of a record's place, time and value: of the bytes ``trading-leaf-1``, the topic's length
  (2 bytes) and name, partition (4), offset (8), timestamp in ms (8), 1 or 0 for a value or none (1), the value.
- ``records_hash`` is the SHA-256 of the segment's leaves, one after the other. A *fingerprint* is the first four bytes
  of a leaf, four zeros at an offset without a record; ``fingerprints_hash`` is the SHA-256 of all of them.
- ``seal_text`` is what is hashed and signed: a line for each field, so that sha256sum and openssl can check it.

A segment is all records of one minute of log time, at most 65,536 offsets of them. Log time never runs back: it
is the greatest timestamp that the chain has seen. So where a segment ends depends on offsets and times alone, and
whoever seals the same log again cuts alike. The one thing that the records of a partition cannot tell is that no
more will come: a quiet partition's last segment is closed once the log as a whole is a minute past it.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from struct import Struct
from typing import Final, NamedTuple, Protocol

import msgspec

from schemas.audit import Fingerprints, Seal

SEGMENT_MS: Final = 60_000
SEGMENT_OFFSETS: Final = 65_536  # 256 KB of fingerprints; some seconds of the busiest partition
QUIET_MS: Final = 60_000  # of log time behind a segment's minute, until it is closed without a successor
FINGERPRINT_BYTES: Final = 4
NOTHING: Final = bytes(FINGERPRINT_BYTES)
FIRST: Final = "0" * 64  # stands before the first seal of a chain
STATED: Final = (  # in this order; a field that Seal gets later needs a new first line of the text, as `archive` did
    "topic",
    "partition",
    "number",
    "first_offset",
    "last_offset",
    "record_count",
    "first_timestamp_ms",
    "last_timestamp_ms",
    "records_hash",
    "fingerprints_hash",
    "previous",
)
_PLACE: Final = Struct(">qq?")


class Stamped(Protocol):
    """A record as it was fetched."""

    @property
    def offset(self) -> int:
        """Where it is."""

    @property
    def timestamp_ms(self) -> int:
        """The broker's or the producer's time."""

    @property
    def value(self) -> bytes | None:
        """Its value."""


class Signer(Protocol):
    """A private key."""

    @property
    def key_id(self) -> str:
        """Names its public key."""

    def sign(self, text: bytes) -> bytes:
        """The signature: equal texts have equal signatures (Ed25519, RFC 8032)."""


class Sealed(NamedTuple):
    """A seal, and the fingerprints that go with it."""

    seal: Seal
    fingerprints: Fingerprints


def leaf_prefix(topic: str, partition: int) -> bytes:
    """What the leaves of a topic-partition begin with."""
    name = topic.encode()
    return b"trading-leaf-1" + len(name).to_bytes(2) + name + partition.to_bytes(4)


def leaf(prefix: bytes, offset: int, timestamp_ms: int, value: bytes | None) -> bytes:
    """The hash of one record."""
    return sha256(prefix + _PLACE.pack(offset, timestamp_ms, value is not None) + (value or b"")).digest()


def seal_text(seal: Seal) -> bytes:
    """What a seal states, as text: what its hash and its signature are made of.

    One that names an archive states it, last and under a first line of its own; the others are as they always were.
    """
    lines = "".join(f"{name}={getattr(seal, name)}\n" for name in STATED)
    if seal.archive is None:
        return f"trading-seal-1\n{lines}".encode()
    return f"trading-seal-2\n{lines}archive={seal.archive}\n".encode()


class Segment:
    """The records since the last seal; it has one at least."""

    __slots__ = ("_fingerprints", "_hash", "count", "first_ms", "first_offset", "last_ms", "last_offset")

    def __init__(self, offset: int, time_ms: int) -> None:
        """Begins with the record at ``offset``, which is yet to be added."""
        self.first_offset, self.last_offset = offset, offset - 1
        self.first_ms = self.last_ms = time_ms
        self.count = 0
        self._hash, self._fingerprints = sha256(), bytearray()

    def add(self, offset: int, time_ms: int, digest: bytes) -> None:
        """Takes in the leaf of the next record."""
        if gap := offset - self.last_offset - 1:
            self._fingerprints += NOTHING * gap
        self._hash.update(digest)
        self._fingerprints += digest[:FINGERPRINT_BYTES]
        self.last_offset, self.last_ms = offset, time_ms
        self.count += 1

    def takes(self, offset: int, time_ms: int) -> bool:
        """Whether a record of this offset and log time belongs to it."""
        is_same_minute = time_ms // SEGMENT_MS == self.first_ms // SEGMENT_MS
        return is_same_minute and offset - self.first_offset < SEGMENT_OFFSETS

    @property
    def records_hash(self) -> str:
        """Over the leaves so far."""
        return self._hash.hexdigest()

    @property
    def fingerprints(self) -> bytes:
        """One for each offset from ``first_offset`` to ``last_offset``."""
        return bytes(self._fingerprints)


class Chain:
    """The seals of one topic-partition, as far as they have come: the last one, and the segment behind it."""

    def __init__(
        self,
        topic: str,
        partition: int,
        start: int,
        last: Seal | None,
        signer: Signer,
        archive: str | None = None,
    ) -> None:
        """Goes on behind ``last``, or at ``start`` where there is none, or where the log begins later than that.

        Each seal names the place of the ``archive``.
        """
        self.topic, self.partition, self.last, self._archive = topic, partition, last, archive
        self._signer, self._prefix = signer, leaf_prefix(topic, partition)
        self._covers_from = start if last is None else max(start, last.last_offset + 1)
        self._now_ms = 0 if last is None else last.last_timestamp_ms
        self.next_offset = self._covers_from
        self.segment: Segment | None = None

    def take(self, records: Iterable[Stamped]) -> Iterator[Sealed]:
        """Takes records in, in their order, and gives the seals that they complete; repeats are passed over."""
        prefix, pack = self._prefix, _PLACE.pack
        for record in records:
            offset, timestamp_ms, value = record.offset, record.timestamp_ms, record.value
            if offset < self.next_offset:
                continue
            self._now_ms = now_ms = max(timestamp_ms, self._now_ms)
            segment = self.segment
            if segment is None or not segment.takes(offset, now_ms):
                if segment is not None:
                    yield self._seal(segment)
                segment = self.segment = Segment(offset, now_ms)
            head = prefix + pack(offset, timestamp_ms, value is not None)
            segment.add(offset, now_ms, sha256(head + (value or b"")).digest())
            self.next_offset = offset + 1

    def is_quiet(self, log_time_ms: int) -> bool:
        """Whether its segment's minute is long over, by the time of the whole log."""
        if self.segment is None:
            return False
        ended_ms = (self.segment.first_ms // SEGMENT_MS + 1) * SEGMENT_MS
        return log_time_ms >= ended_ms + QUIET_MS

    def close(self) -> Sealed:
        """Seals what there is since the last seal."""
        assert self.segment is not None, "there is nothing to seal"
        return self._seal(self.segment)

    @property
    def unsealed_since_ms(self) -> int | None:
        """The log time of the first record that no seal covers yet."""
        return None if self.segment is None else self.segment.first_ms

    def _seal(self, segment: Segment) -> Sealed:
        number = 0 if self.last is None else self.last.number + 1
        draft = Seal(
            topic=self.topic,
            partition=self.partition,
            number=number,
            first_offset=self._covers_from,
            last_offset=segment.last_offset,
            record_count=segment.count,
            first_timestamp_ms=segment.first_ms,
            last_timestamp_ms=segment.last_ms,
            records_hash=segment.records_hash,
            fingerprints_hash=sha256(segment.fingerprints).hexdigest(),
            previous=FIRST if self.last is None else self.last.seal_hash,
            seal_hash="",
            key_id="",
            signature="",
            archive=self._archive,
        )
        self.last, self.segment = _signed(draft, self._signer), None
        self._covers_from = segment.last_offset + 1
        assert self.last.first_offset <= segment.first_offset <= segment.last_offset, (
            "a seal covers its records"
        )
        fingerprints = Fingerprints(
            topic=self.topic,
            partition=self.partition,
            number=number,
            first_offset=segment.first_offset,
            fingerprints=segment.fingerprints,
        )
        return Sealed(self.last, fingerprints)


def _signed(draft: Seal, signer: Signer) -> Seal:
    text = seal_text(draft)
    return msgspec.structs.replace(
        draft, seal_hash=sha256(text).hexdigest(), key_id=signer.key_id, signature=signer.sign(text).hex()
    )
