"""What a checkpoint needs of the world: a changelog partition and a local store.

Kafka and RocksDB in production, memory in the simulation test.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from tables.section import Change


class ChangelogRecord(NamedTuple):
    """A committed record of a changelog partition."""

    offset: int
    key: bytes
    value: bytes | None


class Bounds(NamedTuple):
    """First offset that is kept, and the offset behind the last."""

    start: int
    end: int


class Changelog(Protocol):
    """One partition of a stage's changelog, written by one owner at a time."""

    def fence(self) -> None:
        """Shuts out every earlier owner, and ends the transaction it left open."""

    def bounds(self) -> Bounds:
        """The offsets that can be read."""

    def read(self, begin: int) -> Iterator[ChangelogRecord]:
        """Every committed record from ``begin`` to the end, as it was when this was called."""

    def commit(self, entries: Iterable[Change]) -> int:
        """Writes all entries in one transaction, in order, and returns the end behind it.

        Raises ChangelogFenced if another owner came, ChangelogDoubtful if nobody knows whether it holds.
        """


class StoreState(NamedTuple):
    """Up to which changelog offset a local store is complete, and when that was written (UTC, ns)."""

    next_offset: int
    written_at_ns: int


class LocalStore(Protocol):
    """A local copy of one changelog partition; it only shortens the read at start, and may always be wiped."""

    def state(self) -> StoreState | None:
        """What the store stands for; None if it is empty or broken."""

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Every committed row, sorted by key; StoreBroken if what was written cannot be read."""

    def write(
        self, entries: Iterable[Change], next_offset: int, between: Callable[[], None] = lambda: None
    ) -> None:
        """Writes changes and, last, the changelog offset they are complete to; StoreUnwritable if it cannot.

        It may take seconds, in slices; ``between`` two of them others have their turn.
        """

    def wipe(self) -> None:
        """Removes all."""

    def close(self) -> None:
        """Lets go of the files."""


class StoreBroken(Exception):
    """What the local store holds cannot be read: wipe it, the changelog is the truth."""


class StoreUnwritable(Exception):
    """The local store took no write: the disk is full or broken."""


class ChangelogFenced(Exception):
    """Another owner has taken the changelog partition over."""


class ChangelogDoubtful(Exception):
    """Whether the last transaction holds is not known; the writer must not go on."""
