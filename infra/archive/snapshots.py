"""The third chore: the table's metadata stay small. Each commit writes all snapshots that they list anew.

With a commit a minute they would be a megabyte after a day, written 1,440 times a day, and grow. So only the newest are
listed. Nothing is deleted: the files of an unlisted snapshot stay, and its records are the newest one's too.
"""

from operator import attrgetter
from typing import Final

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from infra.archive.bucket import Bucket
from infra.archive.catalogue import catalogue, load
from infra.archive.control import HELD_EVENTS
from infra.archive.table import FOLDER
from infra.settings import Settings

KEPT: Final = 20  # for whoever reads the table while others commit
SLACK: Final = 20  # so that not every commit of the connector is followed by one of these


def trim(settings: Settings) -> None:
    """Leave only the newest snapshots in the table's metadata, once there are many more; another commit goes first.

    Raises:
        ArchiveError: the catalogue or the bucket does not answer.

    """
    with catalogue(settings) as catalog, Bucket.of(settings).errors(FOLDER):
        table = load(catalog)
        if table is None or len(table.metadata.snapshots) <= KEPT + SLACK:
            return
        old = unlisted(table.metadata)
        if not old:
            return
        try:
            table.maintenance.expire_snapshots().by_ids(old).commit()
        except CommitFailedException:
            return  # the next look is a minute away


def unlisted(metadata: TableMetadata) -> list[int]:
    """The snapshots to leave out: not the newest, and none from the connector's last on.

    What the table holds is told by that one, and the connector finds it from parent to parent.
    """
    snapshots = sorted(metadata.snapshots, key=attrgetter("sequence_number"))
    told = [at for at, it in enumerate(snapshots) if _is_connectors(it)]
    return [it.snapshot_id for it in snapshots[: min(len(snapshots) - KEPT, told[-1] if told else 0)]]


def _is_connectors(snapshot: Snapshot) -> bool:
    return snapshot.summary is not None and HELD_EVENTS in snapshot.summary.additional_properties
