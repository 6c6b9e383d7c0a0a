"""The archive's table is made once, before its connector runs, and a catalogue that has lost it gets it back.

The connector could make the table itself. But where its catalogue is new and the bucket is not (Postgres was lost), it
would begin another table at the same place, with version 0, and readers, who go by the newest version, would not see
it. So it may not; it fails where there is no table, and only this here makes one.
"""

from typing import Final

import msgspec
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import BinaryType, IntegerType, LongType, NestedField, StringType, TimestamptzType

from infra.archive.bucket import Bucket
from infra.archive.catalogue import TABLE, catalogue, load
from infra.archive.table import FOLDER, versions_of
from infra.settings import Settings

SCHEMA: Final = Schema(
    NestedField(1, "value", BinaryType(), required=False),
    NestedField(2, "topic", StringType(), required=False),
    NestedField(3, "partition", IntegerType(), required=False),
    NestedField(4, "offset", LongType(), required=False),
    NestedField(5, "ts", TimestamptzType(), required=False),
)
SPEC: Final = PartitionSpec(
    PartitionField(source_id=2, field_id=1000, transform=IdentityTransform(), name="topic"),
    PartitionField(source_id=5, field_id=1001, transform=DayTransform(), name="ts_day"),
)
PROPERTIES: Final = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # 128 MB by default, which the connector would hold in memory for every topic; a reader unpacks one at a time.
    "write.parquet.row-group-size-bytes": str(16 << 20),
    # 100 by default, each with its name in every new one.
    "write.metadata.previous-versions-max": "10",
}


def ensure_table(settings: Settings) -> str | None:
    """Make the table, or give it back to a catalogue that has lost it, and say what was done; None: it was there.

    Raises:
        ArchiveError: the catalogue or the bucket does not answer.

    """
    bucket = Bucket.of(settings)
    with catalogue(settings) as catalog, bucket.errors(FOLDER):
        catalog.create_tables()
        if load(catalog) is not None:
            return None
        catalog.create_namespace_if_not_exists(TABLE.partition(".")[0])
        if (path := _newest_metadata(bucket)) is not None:
            catalog.register_table(TABLE, bucket.uri(path))
            return f"the archive's catalogue had lost its table: taken over from {bucket.uri(path)}"
        catalog.create_table(TABLE, SCHEMA, partition_spec=SPEC, properties=PROPERTIES)
    return f"the archive's table was made at {settings.archive_root}"


class _Updated(msgspec.Struct, rename="kebab"):
    last_updated_ms: int


def _newest_metadata(bucket: Bucket) -> str | None:
    """The metadata file of the newest version; of two, one of which is a commit's that failed, the later."""
    versions = versions_of(bucket)
    if not versions:
        return None
    return max(versions[max(versions)], key=lambda path: _updated(bucket, path))


def _updated(bucket: Bucket, path: str) -> int:
    return msgspec.json.decode(bucket.read(path), type=_Updated).last_updated_ms
