"""What the archive's connector says in its control topic, and which of it the table holds.

The connector writes files, and then, in ONE Kafka transaction, the events that name them (the last of them is
`DATA_COMPLETE`, with the places that the files end at) and its own place in every topic, as an ordinary consumer group.
Some time later it commits the files to the table. The table's snapshot says up to which event it holds them.
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import fastavro
import msgspec
from pydantic import SecretStr

from connectors.sql.migrate import CATALOGUE
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.table import FOLDER
from infra.auditor.log import Log, Place
from infra.database import with_database
from infra.settings import Settings
from infra.sinks.addresses import postgres
from infra.sinks.connectors import ARCHIVE, CONTROL_TOPIC

GROUP: Final = f"connect-{ARCHIVE}"  # Connect names the group of a connector so
_CONTROL: Final[Place] = (CONTROL_TOPIC.name, 0)
HELD_EVENTS: Final = f"kafka.connect.offsets.{CONTROL_TOPIC.name}.{GROUP}"
_DATA_COMPLETE: Final = 2
_MAGIC: Final = b"\xc2\x01"
_LENGTH: Final = slice(2, 4)  # of the schema, which stands before each event
_STEP: Final = 500
_LOCATION: Final = (
    f"SELECT metadata_location FROM {CATALOGUE}.iceberg_tables"  # noqa: S608 - a name of ours
    " WHERE table_namespace = 'archive' AND table_name = 'raw'"
)


class _Snapshot(msgspec.Struct, rename="kebab"):
    snapshot_id: int
    parent_snapshot_id: int | None = None
    summary: dict[str, str] = {}


class _Metadata(msgspec.Struct, rename="kebab"):
    """What of a table's metadata file is of interest here."""

    current_snapshot_id: int | None = None
    snapshots: list[_Snapshot] = []


def held_events(settings: Settings, bucket: Bucket) -> int | None:
    """The offset behind the last control event whose files the table holds; None before the first commit.

    The catalogue is asked which metadata file is the table's: to look for the newest would take a list of all.

    Raises:
        OperatorError: the catalogue or the bucket does not answer.

    """
    location = _location(settings)
    if location is None:
        return None
    path = f"{FOLDER}/metadata/{location.rpartition('/')[2]}"
    try:
        metadata = msgspec.json.decode(bucket.read(path), type=_Metadata)
    except msgspec.DecodeError as error:
        raise ArchiveError(
            f"{bucket.uri(path)} is damaged ({error}): bring it back from a copy of the bucket"
        ) from error
    return held_by(metadata)


def held_by(metadata: _Metadata) -> int | None:
    """What the newest snapshot of the connector's says; others (a compaction's) stand on it."""
    snapshots = {it.snapshot_id: it for it in metadata.snapshots}
    at = metadata.current_snapshot_id
    while at is not None and (snapshot := snapshots.get(at)) is not None:
        if said := snapshot.summary.get(HELD_EVENTS):
            offset: int = msgspec.json.decode(said, type=dict[str, int])["0"]
            return offset
        at = snapshot.parent_snapshot_id
    return None


def pending(log: Log, held: int) -> set[Place]:
    """The places of which the connector has taken more than the table holds."""
    begin, end = log.bounds(_CONTROL)
    return {place for ends in _completed(log, max(begin, held), end) for place in ends}


def held_ends(log: Log, held: int, places: Iterable[Place]) -> dict[Place, int]:
    """Up to where the table holds some places, as the last event about each says that it holds; none: not known."""
    wanted, found = set(places), dict[Place, int]()
    begin, end = log.bounds(_CONTROL)[0], held
    while wanted and end > begin:
        start = max(begin, end - _STEP)
        for ends in reversed(list(_completed(log, start, end))):
            found |= {place: at for place, at in ends.items() if place in wanted}
            wanted -= ends.keys()
        end = start
    return found


def _completed(log: Log, begin: int, end: int) -> Iterator[Mapping[Place, int]]:
    for record in log.read(_CONTROL, (begin, end)):
        event = decode(record.value or b"")
        if event["type"] == _DATA_COMPLETE:
            yield {
                (it["topic"], it["partition"]): it["offset"]
                for it in event["payload"]["assignments"]
                if it["offset"] is not None  # nothing came of that place since the event before
            }


def decode(value: bytes) -> dict[str, Any]:
    """Read an event: two bytes of magic, the length of its schema, the schema, and what it describes."""
    if not value.startswith(_MAGIC):
        raise ArchiveError(
            f"{CONTROL_TOPIC.name} holds no event of the connector ({value[:16]!r}): no other program may"
            " write there"
        )
    length = int.from_bytes(value[_LENGTH], "big")
    schema = _short(msgspec.json.decode(value[_LENGTH.stop : _LENGTH.stop + length]))
    event: Any = fastavro.schemaless_reader(io.BytesIO(value[_LENGTH.stop + length :]), schema, None)
    assert isinstance(event, dict), "an event is a record"
    return event


def _short(schema: Any) -> Any:
    """The schema with names that have no namespace: Java refers to one across namespaces, which Avro does not allow."""
    match schema:
        case dict():
            named = {"name": schema["name"].rpartition(".")[2]} if "name" in schema else {}
            return {key: _short(it) for key, it in schema.items() if key != "namespace"} | named
        case list():
            return [_short(it) for it in schema]
        case str():
            return schema.rpartition(".")[2]
        case _:
            return schema


def _location(settings: Settings) -> str | None:
    """Ask as the role of the sinks, whose tables the catalogue's are."""
    place = postgres(settings)
    user, secret = settings.sink_postgres_user, settings.sink_postgres_password.get_secret_value()
    host = place.netloc.rpartition("@")[2]
    url = place._replace(netloc=f"{user}{f':{secret}' if secret else ''}@{host}").geturl()

    async def ask(connection: Any) -> str | None:
        if not await connection.fetchval(f"SELECT to_regclass('{CATALOGUE}.iceberg_tables') IS NOT NULL"):
            return None
        location: str | None = await connection.fetchval(_LOCATION)
        return location

    return with_database(settings.model_copy(update={"postgres_url": SecretStr(url)}), ask)
