"""Which records of a broken segment are not as they were sealed: told by their fingerprints."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

from agents.rules.audit import FINGERPRINT_BYTES, NOTHING, leaf, leaf_prefix
from infra.auditor.log import Log, LogRecord, Place
from infra.sealing.findings import Verification
from schemas import codec
from schemas.audit import Fingerprints, Seal
from schemas.topics import FINGERPRINTS

NEIGHBOURS_MAX: Final = (
    256  # unexplained records of a segment up to which each is looked for everywhere in it
)


class Broken(NamedTuple):
    """A segment to look into; ``begin`` is the first offset that the log still has of it, ``end`` the log's end."""

    place: Place
    seal: Seal
    begin: int
    end: int


def name_records(log: Log, broken: Sequence[Broken], found: Verification) -> None:
    """Names the changed, missing, added and moved records of segments."""
    prints = _fingerprints(log, {(it.place, it.seal.number): it.seal for it in broken})
    for segment in broken:
        known = prints.get((segment.place, segment.seal.number))
        span = segment.begin, min(segment.seal.last_offset + 1, segment.end)
        records = list(log.read(segment.place, span))
        if known is None:
            _without_fingerprints(segment, records, found)
        else:
            _compare(segment, records, _by_offset(known, segment.begin), found)


def _fingerprints(
    log: Log, wanted: Mapping[tuple[Place, int], Seal]
) -> dict[tuple[Place, int], Fingerprints]:
    """Those of the wanted seals that are still there, and are what was sealed."""
    if not wanted:
        return {}
    found: dict[tuple[Place, int], Fingerprints] = {}
    place = FINGERPRINTS, 0
    for record in log.read(place, log.bounds(place)):
        try:
            it = codec.decode(record.value or b"")
        except codec.DecodeError:
            continue
        if not isinstance(it, Fingerprints):
            continue
        key = (it.topic, it.partition), it.number
        seal = wanted.get(key)
        if seal is not None and sha256(it.fingerprints).hexdigest() == seal.fingerprints_hash:
            found[key] = it
    return found


def _by_offset(prints: Fingerprints, begin: int) -> dict[int, bytes]:
    every = range(0, len(prints.fingerprints), FINGERPRINT_BYTES)
    offsets = {
        prints.first_offset + number: prints.fingerprints[at : at + FINGERPRINT_BYTES]
        for number, at in enumerate(every)
    }
    return {offset: it for offset, it in offsets.items() if it != NOTHING and offset >= begin}


def _without_fingerprints(segment: Broken, records: Sequence[LogRecord], found: Verification) -> None:
    seal = segment.seal
    if segment.begin > seal.first_offset:
        return  # half expired, and nothing to compare the other half with
    span = range(seal.first_offset, seal.last_offset + 1)
    if seal.record_count == len(span) and (gone := sorted(set(span) - {it.offset for it in records})):
        for offset in gone:
            found.find("missing", segment.place, "it was sealed", offset=offset, seal=seal.number)
        return
    detail = (
        f"of offsets {seal.first_offset} to {seal.last_offset}, {seal.record_count} records were sealed and"
        f" {len(records)} are there; the fingerprints that would tell which differ are gone or forged"
    )
    found.find("broken_segment", segment.place, detail, seal=seal.number)


def _compare(
    segment: Broken, records: Sequence[LogRecord], sealed: dict[int, bytes], found: Verification
) -> None:
    place, number, prefix = segment.place, segment.seal.number, leaf_prefix(*segment.place)
    strange = [
        it for it in records if _print(prefix, it, it.offset, it.timestamp_ms) != sealed.get(it.offset)
    ]
    ours = {it.offset for it in records} - {it.offset for it in strange}
    left = {offset: it for offset, it in sealed.items() if offset not in ours}
    moved = dict(_moved(prefix, strange, left))
    for to, offset in moved.items():
        del left[offset]
        found.find("moved", place, f"it stands at offset {to}", offset=offset, seal=number)
    for it in strange:
        if it.offset in moved:
            continue
        if left.pop(it.offset, None) is not None:
            found.find(
                "changed", place, "it is not the record that was sealed", offset=it.offset, seal=number
            )
        else:
            found.find("added", place, "no record was sealed there", offset=it.offset, seal=number)
    for offset in sorted(left):
        found.find("missing", place, "it was sealed", offset=offset, seal=number)
    if not strange and not left and segment.begin <= segment.seal.first_offset:
        detail = "every fingerprint fits, and the hash over all records does not"
        found.find("broken_segment", place, detail, seal=number)


def _moved(
    prefix: bytes, strange: Sequence[LogRecord], left: Mapping[int, bytes]
) -> Iterator[tuple[int, int]]:
    """Where a strange record stands, and where it was sealed: with its time, or with that of what is there now."""
    times = {it.offset: it.timestamp_ms for it in strange}
    free, shift = dict(left), 0
    for it in strange:
        near = (it.offset + shift, it.offset + 1, it.offset - 1)
        everywhere: Iterable[int] = free if len(free) <= NEIGHBOURS_MAX else ()
        for offset in (*near, *everywhere):
            if offset == it.offset or offset not in free:
                continue
            stamps = {it.timestamp_ms, times.get(offset, it.timestamp_ms)}
            if any(_print(prefix, it, offset, stamp) == free[offset] for stamp in stamps):
                del free[offset]
                shift = offset - it.offset
                yield it.offset, offset
                break


def _print(prefix: bytes, record: LogRecord, offset: int, timestamp_ms: int) -> bytes:
    return leaf(prefix, offset, timestamp_ms, record.value)[:FINGERPRINT_BYTES]
