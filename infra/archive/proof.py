"""The proof that the archive holds what was sealed: the engine of `trading audit verify` over what is in the bucket."""

from collections.abc import Collection
from typing import Final

from infra.archive.bucket import Bucket
from infra.archive.log import ArchiveConflict, ArchiveLog, Fault
from infra.auditor.log import Log, Place
from infra.sealing.chains import Keys, stated_places
from infra.sealing.findings import Verification
from infra.sealing.verify import UNSEALED_MAX_MS, Progress, chosen, verify
from infra.settings import Settings
from infra.topics_admin import sealed
from schemas.topics import client_of

BEHIND_MAX_MS: Final = 600_000  # some commits, and a restart of Connect between them


def verify_archive(
    bucket: Bucket,
    keys: Keys,
    settings: Settings,
    *,
    topics: Collection[str] = (),
    unsealed_max_ms: int = UNSEALED_MAX_MS,
    behind_max_ms: int = BEHIND_MAX_MS,
    progress: Progress = lambda *_: None,
) -> tuple[ArchiveLog, Verification]:
    """Verifies the archive, or some topics of it, against its seals, from the bucket alone.

    What lies before its first record is expired if Kafka may have deleted it before there was an archive. A file that
    cannot be read is a finding, and so is each record that is missing for it.
    """
    found = Verification()
    noted: set[str] = set()  # a segment that is looked into again shows its faults again

    def note(fault: Fault) -> None:
        if str(fault) not in noted:
            noted.add(str(fault))
            _note(found, fault)

    log = ArchiveLog(bucket, on_fault=note)
    verify(
        log,
        keys,
        chosen(sealed_places(settings, log), topics),
        now_ms=log.table.born_ms,
        unsealed_max_ms=unsealed_max_ms + behind_max_ms,  # seals may come later than what they seal, too
        behind_max_ms=behind_max_ms,
        found=found,
        progress=progress,
    )
    return log, found


def sealed_places(settings: Settings, log: Log) -> list[Place]:
    """The topic-partitions whose records have seals: those of the settings, of any client, and all that seals name."""
    there = log.topics()
    clients = {client for topic in there if (client := client_of(topic)) is not None}
    named = sealed(settings.model_copy(update={"clients": tuple({*settings.clients, *clients})}), there)
    return sorted({*named, *stated_places(log)})


def _note(found: Verification, fault: Fault) -> None:
    if isinstance(fault, ArchiveConflict):
        found.find("conflicting", fault.place, str(fault), offset=fault.offset)
    else:
        partition = 0 if fault.file.partitions is None else fault.file.partitions.least
        found.find("unreadable", (fault.file.topic, partition), str(fault))
