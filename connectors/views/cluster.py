"""Who owns which partition, and how far its inbox goes: asked of Kafka, which alone knows.

A worker puts the address of its views behind an @ into the client id with which it joins its group.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._group import ConsumerGroupDescription
from confluent_kafka.admin._listoffsets import OffsetSpec
from faust.types import TP

from agents.stage.config import StageConfig
from schemas.topics import INBOXES
from tables.checkpointed.restored import original_of

FRESH_S: Final = 1.0
TIMEOUT_S: Final = 2.0


class Cluster(Protocol):
    """What views ask about the other workers."""

    async def owner(self, stage: str, partition: int, *, fresh: bool) -> str | None:
        """The address of the views of the worker that has a partition now; ``fresh``: as known this moment."""

    async def ends(self, places: Iterable[TP]) -> Mapping[TP, int]:
        """The next offset to be written to each of these partitions; none where Kafka is silent."""


class KafkaCluster:
    """Asks the consumer groups; what they said is good for a second, unless it does not help."""

    def __init__(self, config: StageConfig) -> None:
        """Connects on first use."""
        self._config = config
        self._admin: AdminClient | None = None
        self._owners: dict[str, tuple[float, Mapping[int, str]]] = {}
        self._asking = asyncio.Lock()

    async def owner(self, stage: str, partition: int, *, fresh: bool) -> str | None:
        """See Cluster."""
        asked_s = time.monotonic()
        async with self._asking:
            read_s, owners = self._owners.get(stage, (-FRESH_S, {}))
            if read_s < (asked_s if fresh else asked_s - FRESH_S):
                owners = await self._read_owners(stage)
                self._owners[stage] = time.monotonic(), owners
        return owners.get(partition)

    async def ends(self, places: Iterable[TP]) -> Mapping[TP, int]:
        """See Cluster."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(*it): latest for it in places}
        if not wanted:
            return {}
        futures = self._client.list_offsets(wanted, request_timeout=TIMEOUT_S)
        try:
            answers = await asyncio.gather(*(asyncio.wrap_future(it) for it in futures.values()))
        except KafkaException:
            return {}
        return {
            TP(place.topic, place.partition): original_of(
                self._config.offsets, (place.topic, place.partition), answer.offset
            )
            for place, answer in zip(futures, answers, strict=True)
        }

    async def _read_owners(self, stage: str) -> Mapping[int, str]:
        group = self._config.app_id(stage)
        futures = self._client.describe_consumer_groups([group], request_timeout=TIMEOUT_S)
        try:
            description = await asyncio.wrap_future(futures[group])
        except KafkaException:
            return {}
        return owners_in(description, INBOXES[stage])

    @property
    def _client(self) -> AdminClient:
        if self._admin is None:
            self._admin = AdminClient(dict(self._config.kafka))
        return self._admin


def owners_in(description: ConsumerGroupDescription, inbox: str) -> dict[int, str]:
    """The address of each partition's worker."""
    return {
        place.partition: address
        for member in description.members
        for address in [member.client_id.partition("@")[2]]
        for place in member.assignment.topic_partitions
        if place.topic == inbox and address
    }
