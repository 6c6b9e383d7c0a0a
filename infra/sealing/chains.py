"""Whether the seals are genuine and each follows from the one before it; their records are not looked at here."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from agents.rules.audit import FIRST, SEGMENT_MS, seal_text
from infra.auditor.log import Log, LogRecord, Place
from infra.sealing.findings import Verification
from infra.sealing.keys import PublicKey
from schemas import codec
from schemas.audit import Seal
from schemas.topics import SEALS

Keys = Mapping[str, PublicKey]
JOURNAL: Place = (SEALS, 0)


def read_chains(
    log: Log, keys: Keys, places: Iterable[Place], found: Verification
) -> dict[Place, list[Seal]]:
    """The genuine seals of topic-partitions by number, with what is wrong with them noted."""
    stated: dict[Place, list[Seal]] = {place: [] for place in places}
    for record in log.read(JOURNAL, log.bounds(JOURNAL)):
        seal = _decoded(record, found)
        if seal is not None and (place := (seal.topic, seal.partition)) in stated:
            stated[place].append(seal)
    return {place: check_chain(place, seals, keys, found) for place, seals in stated.items()}


def stated_places(log: Log) -> set[Place]:
    """The topic-partitions that seals speak of, whether there are records of them or not."""
    decoded = (_decoded(record, Verification()) for record in log.read(JOURNAL, log.bounds(JOURNAL)))
    return {(seal.topic, seal.partition) for seal in decoded if seal is not None}


def check_chain(place: Place, stated: Iterable[Seal], keys: Keys, found: Verification) -> list[Seal]:
    """Gives the genuine seals of one chain, in the order of their numbers; ``stated`` is in that of the log."""
    genuine: dict[int, Seal] = {}
    forged: set[int] = set()
    greatest = -1
    for seal in stated:
        fault = _forgery(seal, keys)
        if fault is not None:
            forged.add(seal.number)
            found.find("forged_seal", place, fault, seal=seal.number)
        elif (known := genuine.setdefault(seal.number, seal)).seal_hash != seal.seal_hash:
            found.find(
                "forked_chain", place, "two seals of this number say different things", seal=seal.number
            )
        elif seal.number < greatest and known is seal:
            found.find("broken_chain", place, "it stands behind a later seal", seal=seal.number)
        greatest = max(greatest, seal.number)
    chain = [genuine[number] for number in sorted(genuine)]
    _check_numbers(place, genuine, forged, found)
    _check_links(place, chain, found)
    return chain


def _decoded(record: LogRecord, found: Verification) -> Seal | None:
    try:
        seal = codec.decode(record.value or b"")
    except codec.DecodeError as error:
        found.find("forged_seal", JOURNAL, f"no seal can be read there: {error}", offset=record.offset)
        return None
    if isinstance(seal, Seal):
        return seal
    found.find("forged_seal", JOURNAL, f"a {type(seal).__name__} is no seal", offset=record.offset)
    return None


def _forgery(seal: Seal, keys: Keys) -> str | None:
    """What is wrong with a seal by itself."""
    text = seal_text(seal)
    if sha256(text).hexdigest() != seal.seal_hash:
        return "its fields are not those that its hash stands for"
    key = keys.get(seal.key_id)
    if key is None:
        return f"its key {seal.key_id} is not trusted"
    try:
        signature = bytes.fromhex(seal.signature)
    except ValueError:
        return "its signature is no hexadecimal number"
    return None if key.has_signed(text, signature) else f"key {seal.key_id} did not sign it"


def _check_numbers(
    place: Place, genuine: Mapping[int, Seal], forged: Iterable[int], found: Verification
) -> None:
    known = {*genuine, *forged}
    for number in range(max(known, default=-1) + 1):
        if number not in known:
            found.find("missing_seal", place, "it is not in `seals`, and later ones are", seal=number)


def _check_links(place: Place, chain: list[Seal], found: Verification) -> None:
    before: Seal | None = None
    keys: list[str] = []
    for seal in chain:
        if seal.key_id not in keys:
            keys.append(seal.key_id)
        elif seal.key_id != keys[-1]:
            found.find("forged_seal", place, f"key {seal.key_id} had had its day", seal=seal.number)
        if before is None or before.number == seal.number - 1:
            _check_link(place, before, seal, found)
        before = seal


def _check_link(place: Place, before: Seal | None, seal: Seal, found: Verification) -> None:
    def broken(detail: str) -> None:
        found.find("broken_chain", place, detail, seal=seal.number)

    is_first = before is None and seal.number == 0
    if before is None and not is_first:
        return  # those before it are missing, which has been said
    previous, covered, time_ms = (
        (FIRST, -1, 0) if before is None else (before.seal_hash, before.last_offset, before.last_timestamp_ms)
    )
    if seal.previous != previous:
        broken("it does not name the seal before it")
    if seal.first_offset <= covered:
        broken(f"it covers offsets from {seal.first_offset}, the one before it to {covered}")
    if seal.first_offset > covered + 1 and before is not None:
        detail = f"offsets {covered + 1} to {seal.first_offset - 1} were deleted before they were sealed"
        found.find("never_sealed", place, detail, seal=seal.number, offset=covered + 1)
    if not time_ms <= seal.first_timestamp_ms <= seal.last_timestamp_ms:
        broken("its time runs back")
    if seal.first_timestamp_ms // SEGMENT_MS != seal.last_timestamp_ms // SEGMENT_MS:
        broken("it covers more than a minute")
