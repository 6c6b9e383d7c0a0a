"""The state at a day's start: what every stage's changelog holds at a checkpoint, as files with a signed manifest.

    state/DAY/ATTEMPT/STAGE-PARTITION-NNNNN.parquet   key and value of each row; META is in the manifest
    state/DAY/ATTEMPT/manifest.sig                    the signature (Ed25519, raw) over the bytes of
    state/DAY/ATTEMPT/manifest.json                   which is written last: without it there is no state

Nothing is overwritten: an attempt that ended early stays as it is, and the next one has a name of its own. A worker
that comes back to a changelog writes only what changed, so a key's last row is its value; rows come here sorted.
"""

import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple, Protocol, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from infra.archive.bucket import ArchiveError, Bucket
from infra.auditor.cut import last_checkpoint
from infra.auditor.log import Log, LogRecord, Place
from infra.sealing.keys import PrivateKey, PublicKey
from infra.settings import Settings
from infra.topics_admin import wanted
from infra.workers import FIRST_REPLICA
from schemas.codec.registry import Registry, read
from schemas.topics import INBOXES, ORDER_STATES, PartitionCounts, inbox_of, topic_named
from tables.checkpointed.rocks import RocksStore
from tables.meta import META_KEY, Meta, decode_meta, encode_meta
from tables.section import Change

FOLDER: Final = "state"
MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
FORMAT: Final = 1
FILE_BYTES: Final = 8 << 20  # of keys and values in a file: a million orders (300 MB) take 36 files, and 7 s
STAGES: Final = (*INBOXES, ORDER_STATES)
_SCHEMA: Final = pa.schema([("key", pa.binary()), ("value", pa.binary())])


class Day(NamedTuple):
    """A UTC day: from ``start_ms`` up to but without ``end_ms``."""

    name: str
    start_ms: int
    end_ms: int

    @classmethod
    def of(cls, name: str) -> Self:
        """The day of this date, YYYY-MM-DD; ArchiveError if it is none."""
        try:
            start = datetime.combine(date.fromisoformat(name), datetime.min.time(), UTC)
        except ValueError as error:
            raise ArchiveError(f"{name} is no day: write it as 2026-11-25") from error
        end = start + timedelta(days=1)
        return cls(start.date().isoformat(), *(round(it.timestamp() * 1000) for it in (start, end)))


class StateFile(msgspec.Struct, frozen=True):
    """Some rows of a changelog, with the hash of the file's bytes."""

    path: str
    rows: int
    sha256: str


class ChangelogState(msgspec.Struct, frozen=True):
    """A partition of a stage at a checkpoint: the changelog's offset behind it, META in hex, and where it goes on."""

    stage: str
    partition: int
    changelog: str
    end_offset: int
    next_offset: int
    meta: str
    files: tuple[StateFile, ...]

    @property
    def place(self) -> Place:
        """The inbox that it goes on in."""
        return inbox_of(self.stage), self.partition


class Begin(msgspec.Struct, frozen=True):
    """The first record of a day in a topic-partition."""

    topic: str
    partition: int
    offset: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a day's restore starts from, and what it takes of the engine's settings.

    ``schemas`` are the ids under which the engine's records were encoded, with the type and the release of each:
    a version that restores must have them too.
    """

    format: int
    day: str
    start_ms: int
    taken_at_ms: int
    env: str
    epoch: int
    account_partitions: int
    book_partitions: int
    clients: tuple[str, ...]
    schemas: Mapping[str, str]
    begins: tuple[Begin, ...]
    states: tuple[ChangelogState, ...]
    key_id: str

    @property
    def counts(self) -> PartitionCounts:
        """The engine's counts of partitions."""
        return PartitionCounts(accounts=self.account_partitions, books=self.book_partitions)


class DatedLog(Log, Protocol):
    """A log that can be asked where a time begins."""

    def first_since(self, place: Place, timestamp_ms: int) -> int:
        """The offset of the first record that is not older; the one behind the last where all are."""


class State(NamedTuple):
    """A day's state in a bucket; its signature holds."""

    bucket: Bucket
    folder: str
    manifest: Manifest

    def entries(self, state: ChangelogState) -> Iterator[Change]:
        """A changelog's rows, META last; ArchiveError for a file that is not the one that was signed."""
        for file in state.files:
            yield from self._rows(file)
        yield META_KEY, bytes.fromhex(state.meta)

    def _rows(self, file: StateFile) -> Iterator[Change]:
        path = f"{self.folder}/{file.path}"
        data = self.bucket.read(path)
        if sha256(data).hexdigest() != file.sha256:
            raise ArchiveError(
                f"{self.bucket.uri(path)} is not the file that was signed: look at the bucket's versions of it"
            )
        table = pq.read_table(pa.BufferReader(data), schema=_SCHEMA)
        yield from zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True)


def find_state(bucket: Bucket, day: str) -> str | None:
    """The folder of a day's state; None if it has none, or none that is whole."""
    paths = bucket.list(f"{FOLDER}/{day}")
    whole = [path.removesuffix(f"/{MANIFEST}") for path in paths if path.endswith(f"/{MANIFEST}")]
    return min(whole, default=None)


def days_with_state(bucket: Bucket) -> list[str]:
    """The days that have one."""
    return sorted({path.split("/")[1] for path in bucket.list(FOLDER) if path.endswith(f"/{MANIFEST}")})


def read_state(bucket: Bucket, day: str, keys: Mapping[str, PublicKey]) -> State:
    """A day's state; ArchiveError where there is none, or none that a trusted key has signed."""
    folder = find_state(bucket, day)
    if folder is None:
        known = days_with_state(bucket)
        those = f"those with one are {', '.join(known[-7:])}" if known else "no day has one"
        raise ArchiveError(f"{bucket.uri(FOLDER)} has no state of {day}: {those}")
    where = bucket.uri(f"{folder}/{MANIFEST}")
    data, signature = bucket.read(f"{folder}/{MANIFEST}"), bucket.read(f"{folder}/{SIGNATURE}")
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise ArchiveError(
            f"{where} cannot be read ({error}): it was changed, or is of a newer version"
        ) from error
    if manifest.format != FORMAT:
        raise ArchiveError(
            f"{where} has format {manifest.format}, this version reads {FORMAT}: take a newer one"
        )
    key = keys.get(manifest.key_id)
    if key is None:
        raise ArchiveError(
            f"{where} is signed by key {manifest.key_id}: give its public key by --public-key FILE"
        )
    if not key.has_signed(data, signature):
        raise ArchiveError(f"{where} is not what key {manifest.key_id} signed: nothing is restored from it")
    if manifest.day != day:
        raise ArchiveError(f"{where} is the state of {manifest.day}, not of {day}: somebody has moved it")
    return State(bucket, folder, manifest)


def take_state(
    settings: Settings, log: DatedLog, bucket: Bucket, signer: PrivateKey, day: Day, taken_at_ms: int
) -> str:
    """Writes the state as it is now as that of a day's start, and gives its folder in the bucket.

    ``taken_at_ms`` is the present; the nearer to the day's start, the more of the day a restore repeats.

    Raises:
        ArchiveError: a stage has no checkpoint yet, or the bucket takes no file.

    """
    moment = datetime.fromtimestamp(taken_at_ms / 1000, UTC).strftime("%H%M%S")
    folder = f"{FOLDER}/{day.name}/{moment}-{uuid.uuid4().hex[:8]}"
    manifest = Manifest(
        format=FORMAT,
        day=day.name,
        start_ms=day.start_ms,
        taken_at_ms=taken_at_ms,
        env=settings.env,
        epoch=settings.epoch,
        account_partitions=settings.account_partitions,
        book_partitions=settings.book_partitions,
        clients=settings.clients,
        schemas=schema_ids(read()),
        begins=tuple(_begins(settings, log, day)),
        states=tuple(_states(settings, log, bucket, folder)),
        key_id=signer.key_id,
    )
    data = msgspec.json.encode(manifest)
    bucket.write_new(f"{folder}/{SIGNATURE}", signer.sign(data))
    bucket.write_new(f"{folder}/{MANIFEST}", data)
    return folder


def schema_ids(registry: Registry) -> dict[str, str]:
    """Type and release of each id on the wire."""
    return {
        str(release.id): f"{name} {number}"
        for name, releases in registry.items()
        for number, release in enumerate(releases, 1)
    }


def _begins(settings: Settings, log: DatedLog, day: Day) -> Iterator[Begin]:
    """Where the day begins in each topic; a topic that is not there yet has nothing."""
    there = log.topics()
    for topic in wanted(settings):
        for partition in range(there.get(topic.name, 0)):
            place = topic.name, partition
            yield Begin(*place, log.first_since(place, day.start_ms))


def _states(settings: Settings, log: Log, bucket: Bucket, folder: str) -> Iterator[ChangelogState]:
    counts = PartitionCounts(settings.account_partitions, settings.book_partitions)
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    there = log.topics()
    for stage in STAGES:
        changelog = f"{settings.env}-{stage}-{FIRST_REPLICA}-changelog"
        if stage not in INBOXES and changelog not in there:
            continue  # an engine without sinks
        for partition in range(counts.of(topic_named(inbox_of(stage)))):
            state = _state(log, bucket, folder, stage, (changelog, partition), settings.data_folder)
            if state is not None:
                yield state
            elif stage in INBOXES:
                raise ArchiveError(
                    f"{stage} {partition} has no checkpoint yet: see `trading status` whether its worker runs; the"
                    " state is taken once it has one"
                )


def _state(
    log: Log, bucket: Bucket, folder: str, stage: str, place: Place, work: Path
) -> ChangelogState | None:
    """Writes a changelog's files; None where no checkpoint was ever written."""
    if place[0] not in log.topics():
        return None
    with tempfile.TemporaryDirectory(prefix="state-", dir=work) as disk:
        rows = RocksStore(Path(disk) / "rows")  # sorts on disk, and forgets what was overwritten
        try:
            end, meta = _load(log, place, rows)
            if meta is None:
                return None
            files = tuple(_write(bucket, folder, f"{stage}-{place[1]}", rows.entries()))
        finally:
            rows.close()
    return ChangelogState(stage, place[1], place[0], end, decode_meta(meta).next_offset, meta.hex(), files)


def _load(log: Log, place: Place, rows: RocksStore) -> tuple[int, bytes | None]:
    """Brings a changelog's rows to disk up to its last META, and gives the place behind that, and META.

    Two rounds: what was overwritten behind the end of the first may have been compacted away before it was read.
    """
    begin, meta = log.bounds(place)[0], None
    for _ in range(2):
        checkpoint = last_checkpoint(log, *place)
        if checkpoint is None:
            break
        for part in _parts(_keyed(log.read(place, (begin, checkpoint.end)))):
            meta = next((value for key, value in reversed(part) if key == META_KEY), meta)
            rows.write([change for change in part if change[0] != META_KEY], checkpoint.end)
        begin = max(begin, checkpoint.end)
    return begin, meta


def _keyed(records: Iterable[LogRecord]) -> Iterator[Change]:
    for record in records:
        assert record.key is not None, "every row of a changelog has a key"
        yield record.key, record.value


def _write(bucket: Bucket, folder: str, name: str, rows: Iterable[Change]) -> Iterator[StateFile]:
    for number, part in enumerate(_parts(rows)):
        keys, values = zip(*part, strict=True)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table([keys, values], schema=_SCHEMA), sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        path = f"{name}-{number:05}.parquet"
        bucket.write_new(f"{folder}/{path}", data)
        yield StateFile(path, len(part), sha256(data).hexdigest())


def _parts(rows: Iterable[Change]) -> Iterator[list[Change]]:
    part, size = list[Change](), 0
    for key, value in rows:
        part.append((key, value))
        size += len(key) + len(value or b"")
        if size >= FILE_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def folds_from(state: State, restoration: str) -> dict[tuple[str, int], dict[bytes, bytes]]:
    """Each stage's rows, META included, for a fold to go on from; ``restoration`` is the engine's, if it has one."""
    return {
        (it.stage, it.partition): {
            key: encode_meta(restored_meta(it, restoration)) if key == META_KEY else value
            for key, value in state.entries(it)
            if value is not None
        }
        for it in state.manifest.states
    }


def restored_meta(state: ChangelogState, restoration: str) -> Meta:
    """A state's META, as that of a restored engine."""
    return msgspec.structs.replace(decode_meta(bytes.fromhex(state.meta)), restoration=restoration)
