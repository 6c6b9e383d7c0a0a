"""The edge's places: several topics, each partition of each by itself. What it says is tested on a real broker."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest
from faust.types import TP

from agents.stage.config import StageConfig
from agents.stage.edge import Edge
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord, Output
from schemas.topics import ORDERS, PartitionCounts

ACME = "orders.acme"
CONFIG = StageConfig(
    env="test", kafka={}, counts=PartitionCounts(accounts=2, books=2), data_folder=Path(), clients=("acme",)
)


class Silent:
    """A gate that says nothing, and remembers what it saw."""

    refused: Mapping[tuple[str, str], int] = {}
    dead_letters: Mapping[tuple[str, str], int] = {}

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def decide(self, batch: Batch) -> Iterator[Output]:
        """Nothing follows."""
        self.seen += [(batch.topic, batch.partition, it.offset) for it in batch.records]
        yield from ()


class Group:
    """A consumer group's places."""

    def __init__(self) -> None:
        self.places = {TP(ORDERS, 0): 5, TP(ACME, 0): 50}
        self.commits = 0

    def committed(self, places: Iterable[TP]) -> dict[TP, int]:
        """0 where nothing was committed."""
        return {it: self.places.get(it, 0) for it in places}

    def commit(self, positions: Mapping[TP, int]) -> None:
        """Stores places."""
        self.places |= positions
        self.commits += 1


def batch(topic: str, partition: int, *offsets: int) -> Batch:
    """Records without content."""
    return Batch(topic, partition, [InboxRecord(it, 0, None, None) for it in offsets])


@pytest.fixture
def group() -> Group:
    """A group that has been at work."""
    return Group()


@pytest.fixture
def edge(group: Group) -> Edge:
    """An edge of two topics that owns three partitions."""
    edge = Edge(CONFIG, Silent(), group.committed, group.commit, lambda error: pytest.fail(str(error)))
    assert edge.take([TP(ORDERS, 0), TP(ACME, 0), TP(ACME, 1)]) == {
        TP(ORDERS, 0): 5,
        TP(ACME, 0): 50,
        TP(ACME, 1): 0,
    }
    return edge


def test_intake_reads_every_clients_topic() -> None:
    """Intake's topics are `orders` and each client's; a stage has its one inbox."""
    assert CONFIG.inboxes("intake") == (ORDERS, ACME)
    assert CONFIG.inboxes("risk") == ("account-commands",)


def test_equal_partitions_of_two_topics_go_on_by_themselves(edge: Edge, group: Group) -> None:
    """A batch moves its own topic's place alone, and a checkpoint commits what moved, once."""
    edge.fold(batch(ORDERS, 0, 5, 6))
    edge.fold(batch(ACME, 0, 50, 53))
    assert edge.next_offsets == {TP(ORDERS, 0): 7, TP(ACME, 0): 54, TP(ACME, 1): 0}
    edge.checkpoint()
    edge.checkpoint()
    assert group.places == edge.next_offsets
    assert group.commits == 1


def test_what_is_not_owned_is_not_decided(edge: Edge, group: Group) -> None:
    """A partition of another worker, or one given back, is left alone; giving back commits what is done."""
    gate = edge.gate
    assert isinstance(gate, Silent)
    edge.fold(batch(ORDERS, 1, 0))
    edge.fold(batch(ACME, 1, 0))
    edge.release()
    edge.fold(batch(ACME, 1, 1))
    assert gate.seen == [(ACME, 1, 0)]
    assert edge.next_offsets == {}
    assert group.places[TP(ACME, 1)] == 1


def test_an_edge_without_partitions_commits_nothing(edge: Edge, group: Group) -> None:
    """An edge that is stopped between two assignments has no place to store: a commit of none would be an error."""
    edge.fold(batch(ORDERS, 0, 5))
    edge.release()
    edge.close()
    assert group.commits == 1
