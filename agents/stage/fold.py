"""One partition of one stage: what its inbox has made of its state, and what it says to each record.

No Kafka, no clock, no thread: the simulation test runs this very code over a log in memory.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from agents.rules.outbox import Outbox, Place
from agents.stage.errors import OriginBroken, RuleFailed, StageError
from schemas import codec
from schemas.control_events import RulesActivated
from schemas.envelopes import Origin
from schemas.events import CancelRejected, CommandRefused, OrderRejected, ReplaceRejected
from schemas.sinks import kafka_key
from schemas.topics import CHANNELS, PartitionCounts, inbox_of
from tables.meta import META_KEY, Heard, Meta, Said, decode_meta, encode_meta
from tables.section import Change, Section, Tables


class InboxRecord(NamedTuple):
    """A record as it was fetched; the timestamp is the broker's or the producer's, in milliseconds.

    Its offset is the one at which it was first written: in a restored engine not the broker's.
    """

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


class Output(NamedTuple):
    """A record to be produced to the same partition of each of the topics."""

    topics: tuple[str, ...]
    partition: int
    value: bytes
    key: bytes | None = None


class Rules(Protocol):
    """What is decided about one item (see ``agents.rules``)."""

    def apply(self, item: Any, place: Place, outbox: Outbox) -> None:
        """Changes the tables and sends what follows."""


class Stage(msgspec.Struct, frozen=True):
    """A stage by name: its tables, its rules by version, and the channels that it speaks on.

    One that ``is_flat`` speaks on topics of flat records instead: each by itself, keyed, and with no origin.
    """

    name: str
    tables: Callable[[], Tables]
    rules: dict[int, Callable[[Any, PartitionCounts, int], Rules]]
    channels: tuple[str, ...]
    is_flat: bool = False

    @property
    def inbox(self) -> str:
        """The one topic that it reads."""
        return inbox_of(self.name)


class Checkpoint(NamedTuple):
    """The changes since the last one, and the META that they stand for."""

    changes: list[tuple[Section[Any, Any], dict[Any, Any]]]
    meta: Meta

    @property
    def key_count(self) -> int:
        """How many rows it writes."""
        return sum(len(rows) for _, rows in self.changes)

    def entries(self) -> Iterable[Change]:
        """What goes to the changelog, META last."""
        for section, rows in self.changes:
            encode = section.encode
            for key, row in rows.items():
                yield encode(key, row)
        yield META_KEY, encode_meta(self.meta)


FIRST_RULES: Final = 1
CHUNK: Final = 2_000  # rows that are decoded in one call
NOTHING_SAID: Final = (-1, 0)  # sequence and chain before the first record
REFUSALS: Final = frozenset({OrderRejected, CancelRejected, ReplaceRejected, CommandRefused})


class Fold:
    """The state of one partition and the rules over it.

    ``load`` any number of committed changes, then ``begin``; from then on ``apply`` record by record.
    """

    def __init__(self, stage: Stage, counts: PartitionCounts, partition: int) -> None:
        """``skips`` holds (offset, index or None) of what an operator made a no-op."""
        self.stage, self.counts, self.partition = stage, counts, partition
        self.tables = stage.tables()
        self.skips: frozenset[tuple[int, int | None]] = frozenset()
        self.next_offset = 0
        self.now_ns = 0
        self.rules_version = FIRST_RULES
        self.restoration = ""
        self.repeats_dropped = 0
        self.items_applied = 0
        self.tally: Counter[type | str] = Counter()  # what was said, and refusals by reason too
        self._heard: dict[tuple[str, int], tuple[int, int]] = {}
        self._said: dict[tuple[str, int], tuple[int, int]] = {}
        self._rules: Rules | None = None
        self._meta: Meta | None = None

    def load(self, key: bytes, value: bytes | None) -> None:
        """Takes one committed change; ValueError for a format or a section that is not known."""
        if key == META_KEY:
            assert value is not None, "META is never removed"
            self._meta = decode_meta(value)
            self.restoration = self._meta.restoration
        else:
            self.tables.load(key, value)

    def load_all(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """Takes many committed rows, best sorted by key; errors as of ``load``."""
        rows = iter(rows)
        while chunk := list(islice(rows, CHUNK)):
            keys, values = map(list, zip(*chunk, strict=True))
            codes = {key[0] for key in keys}
            section = self.tables.sections.get(codes.pop())
            if section is not None and not codes:
                section.load_rows(keys, values)
                continue
            for key, value in chunk:
                self.load(key, value)

    @property
    def has_meta(self) -> bool:
        """Whether any checkpoint has been loaded or taken."""
        return self._meta is not None

    def begin(self) -> None:
        """Rebuilds what is derived, from the rows that were loaded."""
        meta = self._meta or Meta()
        self.next_offset, self.now_ns, self.rules_version = meta.next_offset, meta.now_ns, meta.rules_version
        self._heard = {(it.stage, it.partition): (it.sequence, it.chain) for it in meta.heard}
        self._said = {(it.channel, it.partition): (it.sequence, it.chain) for it in meta.said}
        self._activate(self.rules_version)

    @property
    def rules(self) -> Any:
        """The rules over the live state, for views: they read, between records, and keep nothing."""
        return self._rules

    def apply(self, record: InboxRecord) -> list[Output]:
        """Applies one record and returns what it says; a record that has been applied says nothing.

        Raises RuleFailed where a rule raised or the record cannot be read, and OriginBroken.
        """
        offset = record.offset
        if offset < self.next_offset:
            return []
        try:
            outputs = self._apply(record)
        except StageError as error:
            error.partition, error.offset = self.partition, offset
            raise
        self.next_offset = offset + 1
        return outputs

    def checkpoint(self) -> Checkpoint:
        """Takes the changes since the last call, in one step with the place they stand for."""
        self._meta = Meta(
            next_offset=self.next_offset,
            rules_version=self.rules_version,
            now_ns=self.now_ns,
            heard=tuple(Heard(*key, *value) for key, value in sorted(self._heard.items())),
            said=tuple(Said(*key, *value) for key, value in sorted(self._said.items())),
            restoration=self.restoration,
        )
        return Checkpoint(self.tables.take_dirty(), self._meta)

    @property
    def behind_checkpoint(self) -> int:
        """How many inbox offsets the last checkpoint is behind."""
        return self.next_offset - (self._meta.next_offset if self._meta else 0)

    def _apply(self, record: InboxRecord) -> list[Output]:
        value, offset, skips = record.value, record.offset, self.skips
        is_skipped = bool(skips) and (offset, None) in skips
        try:
            envelope: Any = codec.decode(value)
        except codec.DecodeError as error:
            if is_skipped:
                return []
            raise RuleFailed(f"an engine record cannot be read: {error}") from error
        try:
            is_new = envelope.origin is None or self._is_next(envelope.origin, value or b"")
        except OriginBroken:
            if is_skipped:  # whoever said it, it is not what its origin says next
                return []
            raise
        if not is_new:
            self.repeats_dropped += 1
            return []
        if is_skipped:  # it was heard all the same: what its origin says next follows it
            return []
        outbox = Outbox()
        self._apply_items(envelope.items, offset, outbox)
        for items in outbox.items.values():
            self._count(items)
        if self.stage.is_flat:
            return list(flat_outputs(outbox))
        return [self._seal(*output) for output in outbox.items.items()]

    def _count(self, items: list[Any]) -> None:
        self.tally.update(map(type, items))
        if not REFUSALS.isdisjoint(map(type, items)):
            self.tally.update(item.reason for item in items if type(item) in REFUSALS)

    def _apply_items(self, items: tuple[Any, ...], offset: int, outbox: Outbox) -> None:
        """One loop without a call of its own for each item: half a million pass here in a second."""
        skips, partition = self.skips, self.partition
        for index, item in enumerate(items):
            if skips and (offset, index) in skips:
                continue
            if item.at_ns > self.now_ns:  # noqa: PLR1730 - max() costs four times as much
                self.now_ns = item.at_ns
            try:
                if type(item) is RulesActivated:
                    self._activate(item.version)
                else:
                    self._rules.apply(item, Place(partition, offset, index, self.now_ns), outbox)  # type: ignore[union-attr]
            except StageError:
                raise
            except Exception as error:
                command = getattr(item, "client_order_id", getattr(item, "command_id", ""))
                raise RuleFailed(f"item {index}, {type(item).__name__} {command}: {error!r}") from error
            self.items_applied += 1

    def _activate(self, version: int) -> None:
        if version not in self.stage.rules:
            known = ", ".join(map(str, self.stage.rules))
            raise RuleFailed(
                f"rules version {version} is not known here (known: {known}): start a newer version"
            )
        self.rules_version = version
        self._rules = self.stage.rules[version](self.tables, self.counts, self.partition)

    def _is_next(self, origin: Origin, value: bytes) -> bool:
        source = (origin.stage, origin.partition)
        sequence, chain = self._heard.get(source, NOTHING_SAID)
        if origin.sequence <= sequence:
            return False
        name = f"{origin.stage} {origin.partition}"
        if origin.sequence != sequence + 1:
            raise OriginBroken(
                f"{name} said {origin.sequence}, and {sequence + 1} was never heard: records are lost"
            )
        if codec.chain_of(value, chain) != origin.chain:
            raise OriginBroken(
                f"{name} said {sequence + 1} on another history: it was started on other state or rules"
            )
        self._heard[source] = (origin.sequence, origin.chain)
        return True

    def _seal(self, destination: tuple[str, int], items: list[Any]) -> Output:
        name, partition = destination
        channel = CHANNELS[name]
        sequence, chain = self._said.get(destination, NOTHING_SAID)
        value, chain = codec.seal(
            channel.envelope, tuple(items), self.stage.name, self.partition, sequence + 1, chain
        )
        self._said[destination] = (sequence + 1, chain)
        return Output(channel.topics, partition, value)


def flat_outputs(outbox: Outbox) -> Iterator[Output]:
    """What an outbox of flat records says: the topic is the channel's name."""
    for (topic, partition), records in outbox.items.items():
        for record in records:
            yield Output((topic,), partition, codec.encode(record), kafka_key(record))
