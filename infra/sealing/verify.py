"""Verifies a log against its seals: every genuine seal, every record that is still there, and what has none.

Where records come from is a ``Log``: Kafka, the archive, memory in the tests.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Final

from agents.rules.audit import leaf, leaf_prefix
from infra.auditor.log import Log, LogRecord, Place
from infra.errors import OperatorError
from infra.sealing.chains import Keys, read_chains
from infra.sealing.findings import Verification
from infra.sealing.naming import Broken, name_records
from schemas.audit import Seal
from schemas.topics import topic_named

UNSEALED_MAX_MS: Final = 300_000  # a minute's segment, a minute of quiet, and a sealer that started anew
Progress = Callable[[str, int, int], object]


def verify(
    log: Log,
    keys: Keys,
    places: Iterable[Place],
    *,
    now_ms: int,
    unsealed_max_ms: int = UNSEALED_MAX_MS,
    behind_max_ms: int | None = None,
    found: Verification | None = None,
    restored_from: Mapping[Place, int] | None = None,
    progress: Progress = lambda *_: None,
) -> Verification:
    """Verifies places; ``now_ms`` is for retention alone, all else goes by the log's own time.

    ``behind_max_ms`` is for a log that follows another: what is sealed there, and so much younger than the last seal,
    need not have come yet. ``found`` is what reading itself has found, and goes on finding. ``restored_from`` is where
    places of a restored log begin: what was sealed before was never here.
    """
    found, wanted = found or Verification(), list(places)
    chains = read_chains(log, keys, wanted, found)
    sealed_ms = max((chain[-1].last_timestamp_ms for chain in chains.values() if chain), default=0)
    due_ms = None if behind_max_ms is None else sealed_ms - behind_max_ms
    broken: list[Broken] = []
    tails: dict[Place, LogRecord] = {}
    log_time_ms = 0
    for number, place in enumerate(wanted):
        progress(f"{place[0]} {place[1]}", number, len(wanted))
        walk = _Walk(log, place, chains[place], found, due_ms)
        walk.check_start(now_ms, (restored_from or {}).get(place, -1))
        walk.check_records()
        broken += walk.broken
        log_time_ms = max(log_time_ms, walk.last_ms)
        if walk.unsealed is not None:
            tails[place] = walk.unsealed
    name_records(log, broken, found)
    for place, record in tails.items():
        waited_ms = log_time_ms - record.timestamp_ms
        if (
            waited_ms > unsealed_max_ms
        ):  # a few always have none; old ones: sealing stopped, or lost its seals
            count = found.place(place).unsealed_records
            detail = f"{count} records from here on have no seal, for {waited_ms // 1000} s of log time"
            found.find("unsealed", place, detail, offset=record.offset)
    return found


def chosen(every: Iterable[Place], topics: Collection[str]) -> list[Place]:
    """The places of some topics, or all; OperatorError where one of them has none."""
    places = list(every)
    if unknown := set(topics) - {topic for topic, _ in places}:
        raise OperatorError(f"{', '.join(sorted(unknown))}: no such topic is sealed")
    return [place for place in places if not topics or place[0] in topics]


def retention_ms(topic: str) -> int | None:
    """How long the engine's topics keep records; None: for ever, as far as anyone has said."""
    try:
        kept = int(dict(topic_named(topic).config).get("retention.ms", -1))
    except KeyError:  # sealed by the setting `audit_also`
        return None
    return kept if kept >= 0 else None


class _Walk:
    """One pass over what the log still has of a topic-partition."""

    def __init__(
        self, log: Log, place: Place, chain: Sequence[Seal], found: Verification, due_ms: int | None
    ) -> None:
        """``chain``: its genuine seals, by number; ``due_ms``: up to where a log that follows another has to be."""
        self._log, self._place, self._chain, self._found = log, place, chain, found
        self._due_ms = due_ms
        self._start, self._end = log.bounds(place)
        self._report = found.place(place)
        self._report.seals = len(chain)
        self.broken: list[Broken] = []
        self.unsealed: LogRecord | None = None
        self.last_ms = chain[-1].last_timestamp_ms if chain else 0
        if chain:
            self._report.sealed_to, self._report.sealed_to_ms = chain[-1].last_offset, self.last_ms

    def check_start(self, now_ms: int, restored_from: int) -> None:
        """Retention drops whole files whose last record is too old; anything younger was removed by somebody.

        A restored log that begins where it was restored from has lost nothing.
        """
        if self._start <= restored_from:
            return
        kept_ms = retention_ms(self._place[0])
        for seal in self._chain:
            if not _has_lost(seal, self._start):
                continue
            is_whole = seal.last_offset < self._start
            at_ms = seal.last_timestamp_ms if is_whole else seal.first_timestamp_ms
            if kept_ms is None or at_ms > now_ms - kept_ms:
                kept = "for ever" if kept_ms is None else f"for {kept_ms // 1000} s"
                age_s = max(0, now_ms - at_ms) // 1000
                detail = f"the log begins at {self._start}, these records are {age_s} s old, and kept {kept}"
                self._found.find(
                    "removed_early", self._place, detail, offset=seal.first_offset, seal=seal.number
                )

    def check_records(self) -> None:
        """Hashes each segment; what is behind the last seal is counted."""
        live = [seal for seal in self._chain if seal.last_offset >= self._start]
        self._report.expired_seals = len(self._chain) - len(live)
        live = self._without_those_ahead(live)
        records = self._log.read(self._place, (self._start, self._end))
        record = next(records, None)
        for seal in live:
            record = self._check_segment(seal, record, records)
        while record is not None:
            if record.offset > self._report.sealed_to:
                self.unsealed = self.unsealed or record
                self._report.unsealed_records += 1
            self.last_ms = max(self.last_ms, record.timestamp_ms)
            record = next(records, None)

    def _without_those_ahead(self, seals: list[Seal]) -> list[Seal]:
        """Leaves out the seals whose records a log that follows another does not have to its end."""
        if self._due_ms is None:
            return seals
        ahead = [seal for seal in seals if seal.last_offset >= self._end]
        self._report.ahead_seals = len(ahead)
        if ahead and ahead[0].last_timestamp_ms < self._due_ms:
            behind_s = (self._due_ms - ahead[0].last_timestamp_ms) // 1000
            detail = (
                f"records to offset {ahead[-1].last_offset} are sealed, and the archive has them to"
                f" {self._end - 1}, {behind_s} s longer than it may be behind: it stands still, or was cut off"
            )
            self._found.find("unarchived", self._place, detail, offset=self._end, seal=ahead[0].number)
        return [seal for seal in seals if seal.last_offset < self._end]

    def _check_segment(
        self, seal: Seal, record: LogRecord | None, records: Iterator[LogRecord]
    ) -> LogRecord | None:
        """Takes the records of a segment, and gives the one behind it."""
        prefix, whole, count, size = leaf_prefix(*self._place), sha256(), 0, 0
        first, last = seal.first_offset, seal.last_offset
        while record is not None and record.offset <= last:
            if record.offset >= first:  # else it belongs to a seal that is missing, which is said elsewhere
                whole.update(leaf(prefix, record.offset, record.timestamp_ms, record.value))
                count += 1
                size += len(record.value or b"")
            record = next(records, None)
        self._report.records_checked += count
        self._report.bytes_checked += size
        if count != seal.record_count or whole.hexdigest() != seal.records_hash:
            self.broken.append(Broken(self._place, seal, max(self._start, first), self._end))
        return record


def _has_lost(seal: Seal, start: int) -> bool:
    """Whether a sealed record is surely gone: one whose first offsets were a transaction's gap may have all."""
    is_dense = seal.record_count == seal.last_offset + 1 - seal.first_offset
    return seal.last_offset < start or (seal.first_offset < start and is_dense)
