"""A stage's surroundings on Kafka and a disk."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, Final

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from agents.stage.config import StageConfig
from agents.stage.errors import StartRefused
from agents.stage.fold import Stage
from agents.stage.outputs import Outputs
from agents.stage.recovery import TOMBSTONES_KEPT_NS, Inbox
from schemas import codec
from schemas.maximums import RECORD_BYTES
from schemas.topics import BY_NAME, CHANNELS, SKIPS, TOPICS, Topic, inbox_of, orders_of
from tables.checkpointed.changelog import KafkaChangelog, ensure_changelog
from tables.checkpointed.ports import Bounds, Changelog
from tables.checkpointed.reader import LogReader
from tables.checkpointed.restored import original_of
from tables.checkpointed.rocks import RocksStore

TIMEOUT_S: Final = 30.0


class KafkaWorld:
    """Connects on first use; ``prepare`` checks the engine's partition counts and makes the changelog."""

    def __init__(self, stage: Stage, config: StageConfig) -> None:
        """One for each stage of a worker."""
        self._stage, self._config = stage, config
        self._app_id = config.app_id(stage.name)
        self._kafka = dict(config.kafka)
        self._admin, self._reader = AdminClient(self._kafka), LogReader(self._kafka)
        self._stores: dict[int, RocksStore] = {}
        self._outputs = Outputs({**self._kafka, "linger.ms": config.linger_ms, "socket.nagle.disable": True})

    @property
    def outputs(self) -> Outputs:
        """Where this worker's stage speaks."""
        return self._outputs

    def prepare(self) -> None:
        """Checks the topics and makes the changelog; StartRefused where they do not fit."""
        check_topics(self._kafka, self._config, (*TOPICS, *map(orders_of, self._config.clients)))
        ensure_changelog(self._kafka, changelog_topic(self._config, self._stage.name))

    def changelog(self, partition: int) -> Changelog:
        """This replica's changelog partition; its transactional id outlives this process."""
        return self._changelog(self._config.changelog(self._stage.name), partition)

    def peer(self, partition: int) -> Changelog | None:
        """The changelog partition of another replica of this stage, if there is one."""
        own = self._config.changelog(self._stage.name)
        prefix = f"{self._config.env}-{self._stage.name}-"
        topics = self._admin.list_topics(timeout=TIMEOUT_S).topics
        peers = sorted(
            it for it in topics if it.startswith(prefix) and it.endswith("-changelog") and it != own
        )
        return self._changelog(peers[0], partition) if peers else None

    def store(self, partition: int) -> RocksStore:
        """The local store, one folder for each app, worker and partition.

        Workers of one app may share a disk, and a partition goes from one to the other while the first still
        has its store open: each needs a folder of its own.
        """
        if partition not in self._stores:
            worker = f"{self._app_id}-{self._config.worker}"
            self._stores[partition] = RocksStore(self._config.data_folder / "state" / worker / str(partition))
        return self._stores[partition]

    def inbox(self, partition: int) -> Inbox:
        """The inbox, and whether this origin has spoken."""
        restoration = self._config.restoration
        return Inbox(
            partial(self._bounds, partition),
            partial(self._has_spoken, partition),
            "" if restoration is None else restoration.id,
        )

    def skips(self, partition: int) -> frozenset[tuple[int, int | None]]:
        """What ``trading skip`` wrote for this partition, by every operator, ever."""
        found: Iterator[Any] = (codec.decode(message.value()) for message in self._reader.read(SKIPS, 0))
        return frozenset(
            (it.offset, it.index) for it in found if (it.stage, it.partition) == (self._stage.name, partition)
        )

    def now_ns(self) -> int:
        """Wall time, for the age of a local store only."""
        return time.time_ns()

    def _changelog(self, topic: str, partition: int) -> Changelog:
        return KafkaChangelog(self._kafka, self._reader, topic, partition)

    def _bounds(self, partition: int) -> Bounds:
        place = self._stage.inbox, partition
        ends = self._reader.bounds(*place)
        return Bounds(*(original_of(self._config.offsets, place, end) for end in ends))

    def _has_spoken(self, partition: int) -> bool:
        """Reads what this stage says to until a record of this origin is found: at a first start only."""
        own = (self._stage.name, partition)
        for channel in self._stage.channels:
            topic = BY_NAME[CHANNELS[channel].topics[0]]
            for destination in range(self._config.counts.of(topic)):
                for message in self._reader.read(topic.name, destination):
                    envelope: Any = codec.decode(message.value())
                    origin = envelope.origin
                    if origin is not None and (origin.stage, origin.partition) == own:
                        return True
        return False


def changelog_topic(config: StageConfig, stage: str) -> NewTopic:
    """The changelog of a stage's replica, as it is made."""
    return NewTopic(
        config.changelog(stage),
        config.counts.of(BY_NAME[inbox_of(stage)]),
        config.replication_factor,
        config={
            "cleanup.policy": "compact",
            "delete.retention.ms": str(TOMBSTONES_KEPT_NS // 10**6),
            "max.message.bytes": str(RECORD_BYTES),
        },
    )


def check_topics(kafka: dict[str, Any], config: StageConfig, topics: Iterable[Topic]) -> None:
    """StartRefused where a topic is missing or has another partition count than the engine."""
    there = AdminClient(kafka).list_topics(timeout=TIMEOUT_S).topics
    for topic in topics:
        if topic.name not in there:
            raise StartRefused(f"topic {topic.name} is missing: run `trading topics create`")
        found, wanted = len(there[topic.name].partitions), config.counts.of(topic)
        if found != wanted:
            raise StartRefused(
                f"topic {topic.name} has {found} partitions and the settings say {wanted}; the counts are fixed"
                " when an engine is made: set account_partitions and book_partitions to what is there"
            )
