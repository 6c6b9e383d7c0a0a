"""What a stage needs of the world around it: Kafka and a disk in production, memory in the simulation."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from agents.stage.fold import Output
from agents.stage.recovery import Inbox
from tables.checkpointed.ports import Changelog, LocalStore

Mark = Mapping[tuple[str, int], int]


class Mouth(Protocol):
    """Where outputs go."""

    def send(self, outputs: Iterable[Output]) -> None:
        """Says records, in order for each destination."""

    def serve(self) -> None:
        """Takes in delivery reports, without waiting."""

    def check(self) -> None:
        """Raises DeliveryFailed where nothing is acknowledged any more."""

    def mark(self) -> Mark:
        """How much has been said to each destination so far."""

    def wait(self, mark: Mark) -> None:
        """Returns when all that ``mark`` counts is in the log."""


class World(Protocol):
    """One stage's surroundings, by partition."""

    @property
    def outputs(self) -> Mouth:
        """Where this worker's stage speaks."""

    def changelog(self, partition: int) -> Changelog:
        """This replica's changelog partition."""

    def peer(self, partition: int) -> Changelog | None:
        """Another replica's changelog partition, to seed a new replica from."""

    def store(self, partition: int) -> LocalStore:
        """The local store."""

    def inbox(self, partition: int) -> Inbox:
        """The inbox, and whether this origin has spoken."""

    def skips(self, partition: int) -> frozenset[tuple[int, int | None]]:
        """The (offset, index or None) that an operator made no-ops."""

    def now_ns(self) -> int:
        """Wall time, for the age of a local store only."""
