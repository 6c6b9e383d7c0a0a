"""One section's rows in all the partitions that a worker owns, as a read-only mapping."""

from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, ValuesView
from typing import Protocol, TypeVar

from tables.section import Section, Tables

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class NotOwned(LookupError):
    """This worker does not own the partition, or is still recovering it."""


class State(Protocol):
    """What a partition's inbox has made of it."""

    tables: Tables


class OwnedPartitions(Protocol):
    """The partitions of a stage that a worker owns (``agents.stage.partitions``)."""

    @property
    def count(self) -> int:
        """How many the stage has, wherever they are."""

    @property
    def owned(self) -> Iterable[int]:
        """Those that are recovered and live here."""

    def look(self, partition: int, at: Callable[[State], T]) -> T:
        """What ``at`` makes of a partition's state between two batches; NotOwned."""

    def changelog_end(self, partition: int) -> int:
        """Up to which changelog offset the last checkpoint of a partition goes; NotOwned."""


class Rows(Mapping[K, V]):
    """Rows as the fold left them, each partition looked at between two of its batches.

    A lookup says only what is known here: a row; KeyError where the stage has none; NotOwned where the key
    may be in a partition that is not here. Iteration and length are of what is here. Of a key that every
    partition has (an instrument, a mark) the lowest partition's row is told.
    """

    def __init__(self, section: Section[K, V], partitions: OwnedPartitions) -> None:
        """``section`` only tells which one of each partition's is meant."""
        self.name, self._code, self.partitions = section.name, section.code, partitions

    def __getitem__(self, key: K) -> V:
        """A row; KeyError, NotOwned."""
        row = self._find(key)
        if row is None:
            raise KeyError(key)
        return row

    def __contains__(self, key: object) -> bool:
        """Whether the stage has a row; NotOwned where that is not known here."""
        return self._find(key) is not None  # type: ignore[arg-type]  # a key of another type is in no section

    def __iter__(self) -> Iterator[K]:
        """Keys as they were; rows may come and go meanwhile."""
        return (key for key, _ in self._entries())

    def __len__(self) -> int:
        return sum(1 for _ in self._entries())

    def items(self) -> ItemsView[K, V]:
        """Keys and rows as they were."""
        return dict(self._entries()).items()

    def values(self) -> ValuesView[V]:
        """Rows as they were."""
        return dict(self._entries()).values()

    def _find(self, key: K) -> V | None:
        searched = 0
        for row in self._each(lambda section: section.get(key)):
            if row is not None:
                return row
            searched += 1
        if searched < self.partitions.count:
            raise NotOwned(
                f"{self.name} has no {key!r} in the {searched} of {self.partitions.count} partitions that are"
                " here; whether it has one, the other workers know"
            )
        return None

    def _entries(self) -> Iterator[tuple[K, V]]:
        """Keys and rows, each partition as it was when it is reached.

        The fold waits for the copy of a partition alone (1.3 ms for 250,000 rows); what follows is done in
        Python a row at a time, so that the interpreter can give the fold its turn.
        """
        told: list[dict[K, V]] = []
        for part in self._each(dict):
            for entry in part.items():
                if not any(entry[0] in earlier for earlier in told):
                    yield entry
            told.append(part)

    def _each(self, at: Callable[[Section[K, V]], T]) -> Iterator[T]:
        """What ``at`` makes of the section in each partition that is here, the lowest first."""
        for partition in sorted(self.partitions.owned):
            try:
                found = self.partitions.look(partition, lambda state: at(state.tables.sections[self._code]))
            except NotOwned:  # given back since
                continue
            yield found
