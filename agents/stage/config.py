"""How one stage of one worker is run; infra makes it from the settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from schemas.topics import ORDERS, PROJECTED, SEALS, PartitionCounts, inbox_of, orders_of
from tables.checkpointed.restored import NOWHERE, Offsets, Restoration

KafkaConfig = dict[str, str | int | float | bool]


class StageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``kafka`` is librdkafka's, for any client; ``worker`` tells workers of one stage and replica apart.

    ``driver`` says who iterates the agent: ``thread``, the thread that fetches, or ``agent``, Faust's own
    stream on the event loop. ``restoration`` is what the cluster was restored from. The rest is what its name says,
    the unit behind it.
    """

    env: str
    kafka: KafkaConfig
    counts: PartitionCounts
    data_folder: Path
    replica: str = "a"
    worker: str = "0"
    driver: Literal["thread", "agent"] = "thread"
    replication_factor: int = 1
    session_timeout_s: float = 10.0
    tick_interval_ms: int = 100
    checkpoint_interval_s: float = 0.5
    checkpoint_dirty_keys: int = 50_000
    store_interval_s: float = 10.0
    linger_ms: float = 0.2
    edge_pace_s: float = 0.004
    clients: tuple[str, ...] = ()
    epoch: int = 1
    views_url: str = ""
    restoration: Restoration | None = None

    @property
    def offsets(self) -> Mapping[tuple[str, int], Offsets]:
        """Where the original offsets of restored partitions lie."""
        return NOWHERE if self.restoration is None else self.restoration.offsets

    def app_id(self, stage: str) -> str:
        """Names the group, the changelog, the transactional ids and the state folder (design, rule 9)."""
        return f"{self.env}-{stage}-{self.replica}"

    def inboxes(self, stage: str) -> tuple[str, ...]:
        """The topics that a stage reads: one; an edge's are many, of intake every client's own too.

        Audit reads all there are; `seals` is what it must own for that.
        """
        if stage == "intake":
            return (ORDERS, *(orders_of(client).name for client in self.clients))
        if stage == "audit":
            return (SEALS,)
        return PROJECTED if stage == "projection" else (inbox_of(stage),)

    def changelog(self, stage: str) -> str:
        """The changelog topic of a stage's replica."""
        return f"{self.app_id(stage)}-changelog"
