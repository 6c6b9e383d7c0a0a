"""Compaction as a chore of the worker `archive`: a topic of a closed day at a time, so that others get their turn."""

import time
from datetime import UTC, datetime
from typing import Final

from infra.archive.bucket import Bucket
from infra.archive.catalogue import catalogue, load
from infra.archive.compact import Compacted, closed_days, compact, tasks
from infra.settings import Settings

LOOK_EVERY_S: Final = 600  # to look costs a read of the table's manifests


class CompactionChore:
    """Called as often as one likes; gives a line when it did something.

    Raises:
        ArchiveError: it could not be done now; the next call tries again.

    """

    def __init__(self) -> None:
        self._look_at_s = 0.0

    def __call__(self, settings: Settings) -> str | None:
        """Does the next task, if there is one; after none it rests for ten minutes."""
        if time.monotonic() < self._look_at_s:
            return None
        bucket = Bucket.of(settings)
        with catalogue(settings) as catalog:
            for task in tasks(bucket, load(catalog), closed_days(datetime.now(UTC))):
                if (done := compact(catalog, bucket, task)) is not None:
                    return said(done)
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        return None


def said(it: Compacted) -> str:
    """What was done, for people."""
    return (
        f"{it.day} {it.topic}: {it.files_before} files ({it.bytes_before / 1e6:,.2f} MB) are"
        f" {it.files_after} ({it.bytes_after / 1e6:,.2f} MB), {it.records:,} records, {it.repeats:,} repeats dropped"
    )
