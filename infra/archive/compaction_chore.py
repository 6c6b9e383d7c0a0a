"""Compaction as a chore of the worker `archive`: a topic of a closed day at a time, so that others get their turn."""

import time
from datetime import UTC, datetime
from typing import Final

from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.catalogue import catalogue, load
from infra.archive.compact import Compacted, closed_days, compact, tasks
from infra.archive.table import FOLDER
from infra.settings import Settings

LOOK_EVERY_S: Final = 600  # to look costs a read of the table's manifests


class CompactionChore:
    """Called as often as one likes; gives a line when it did something.

    Raises:
        ArchiveError: some of it could not be done; it is tried again after ten minutes.

    """

    def __init__(self) -> None:
        self._look_at_s = 0.0

    def __call__(self, settings: Settings) -> str | None:
        """Does the next task, if there is one; after none it rests for ten minutes."""
        if time.monotonic() < self._look_at_s:
            return None
        bucket, failed = Bucket.of(settings), list[str]()
        with catalogue(settings) as catalog, bucket.errors(FOLDER):
            for task in tasks(bucket, load(catalog), closed_days(datetime.now(UTC))):
                try:
                    done = compact(catalog, bucket, task)
                except ArchiveError as error:  # of this task: those behind it must not wait for it
                    failed.append(str(error))
                    continue
                if done is not None and not failed:
                    return said(done)
        self._look_at_s = time.monotonic() + LOOK_EVERY_S
        if failed:
            raise ArchiveError("; ".join(failed))
        return None


def said(it: Compacted) -> str:
    """What was done, for people."""
    return (
        f"{it.day} {it.topic}: {it.files_before} files ({it.bytes_before / 1e6:,.2f} MB) are"
        f" {it.files_after} ({it.bytes_after / 1e6:,.2f} MB), {it.records:,} records, {it.repeats:,} repeats dropped"
    )
