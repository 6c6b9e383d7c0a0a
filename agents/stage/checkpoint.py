"""A checkpoint, in the one order that is safe (design, rule 6), and the slower copy to the local store.

take (in one step, between two records) -> outputs before it are acknowledged -> changelog, META last, in one
transaction -> much later the local store. A crash anywhere repeats outputs, which readers drop.
"""

from collections.abc import Callable, Iterable, Iterator

from agents.stage import crash_points
from agents.stage.errors import CommitDoubtful, Fenced, StateUnwritable
from agents.stage.fold import Checkpoint
from tables.checkpointed.ports import (
    Changelog,
    ChangelogDoubtful,
    ChangelogFenced,
    LocalStore,
    StoreBroken,
    StoreUnwritable,
)
from tables.meta import META_KEY
from tables.section import Change


class Checkpointer:
    """Writes one partition's checkpoints."""

    def __init__(
        self, changelog: Changelog, store: LocalStore, changelog_end: int, unstored: dict[bytes, bytes | None]
    ) -> None:
        """``changelog_end`` is the end up to which memory and changelog agree; the store lacks ``unstored``."""
        self._changelog, self._store = changelog, store
        self.changelog_end = changelog_end
        self.unstored = unstored

    def commit(self, checkpoint: Checkpoint, outputs_delivered: Callable[[], None]) -> None:
        """Makes a checkpoint hold; Fenced or CommitDoubtful end the process."""
        outputs_delivered()
        crash_points.reach(crash_points.BEFORE_COMMIT)
        written: dict[bytes, bytes | None] = {}
        try:
            self.changelog_end = self._changelog.commit(_noted(checkpoint.entries(), written))
        except ChangelogFenced as error:
            raise Fenced(f"another worker owns the partition: {error}") from error
        except ChangelogDoubtful as error:
            raise CommitDoubtful(f"it is not known whether the checkpoint holds: {error}") from error
        crash_points.reach(crash_points.BEFORE_STORE)
        self.unstored.update(written)

    def store(self, between: Callable[[], None] = lambda: None) -> None:
        """Copies what was committed to the local store; StateUnwritable if it takes no write.

        ``between`` two slices of it may commit: what that adds waits for the next copy.
        """
        if META_KEY not in self.unstored:
            return
        entries, self.unstored = self.unstored, {}
        try:
            self._store.write(entries.items(), self.changelog_end, between)
        except (StoreUnwritable, StoreBroken) as error:
            raise StateUnwritable(f"{error}; free space, or move the data folder") from error

    def close(self) -> None:
        """Lets go of the local store."""
        self._store.close()


def _noted(entries: Iterable[Change], written: dict[bytes, bytes | None]) -> Iterator[Change]:
    for entry in entries:
        written[entry[0]] = entry[1]
        yield entry
