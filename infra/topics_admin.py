"""Makes the engine's topics on a cluster, and refuses a cluster on which they are others."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.errors import OperatorError
from infra.processes import wait_until
from infra.settings import Settings
from schemas.topics import FLAT_TOPICS, RESTORED, TOPICS, PartitionCounts, is_sealed, orders_of

TIMEOUT_S = 20
# In production a record is acknowledged when two of three brokers have it.
IN_SYNC_REPLICAS_MIN = 2


class TopicError(OperatorError):
    """The cluster's topics are not the engine's, or cannot be made."""


class Wanted(NamedTuple):
    """A topic that the engine needs; `config` is Kafka's."""

    name: str
    partitions: int
    config: tuple[tuple[str, str], ...]


def wanted(settings: Settings) -> tuple[Wanted, ...]:
    """The topics of schemas/topics.py, with those of this engine's clients and its counts of partitions."""
    counts = PartitionCounts(accounts=settings.account_partitions, books=settings.book_partitions)
    topics = (*TOPICS, *FLAT_TOPICS, *map(orders_of, settings.clients))
    return tuple(Wanted(topic.name, counts.of(topic), topic.config) for topic in topics)


def sealed(settings: Settings, there: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """The topic-partitions that audit seals: the engine's, and those of the setting `audit_also` that exist.

    ``there`` has the count of partitions of each topic that exists.
    """
    names = [topic.name for topic in (*TOPICS, *map(orders_of, settings.clients)) if is_sealed(topic)]
    return tuple(
        (name, partition)
        for name in (*names, *settings.audit_also)
        for partition in range(there.get(name, 0))
    )


def existing(settings: Settings) -> dict[str, int]:
    """The topics that the cluster has, Kafka's own left out: name to count of partitions.

    Raises:
        TopicError: Kafka does not answer.

    """
    return _existing(AdminClient(settings.kafka()), settings.kafka_bootstrap)


def ensure(settings: Settings, topics: Iterable[Wanted] | None = None) -> tuple[str, ...]:
    """Make what is missing of `topics` (all of the engine's unless told), and give the names that were made.

    Two may do so at once. Returns when every topic can be written.

    Raises:
        TopicError: one exists with another count of partitions (ids, keys and state stand on it), or Kafka
            does not answer or refuses.

    """
    needed = tuple(topics) if topics is not None else wanted(settings)
    admin = AdminClient(settings.kafka())
    there = _existing(admin, settings.kafka_bootstrap)
    missing = tuple(topic for topic in needed if topic.name not in there)
    made = _create(admin, missing, settings.replication_factor)

    def all_there() -> bool:
        nonlocal there
        there = _existing(admin, settings.kafka_bootstrap)
        return all(topic.name in there for topic in needed)

    if missing and not wait_until(all_there, TIMEOUT_S):
        raise TopicError(f"the new topics were not there after {TIMEOUT_S} s: look at the brokers' logs")
    _check(needed, there)
    return made


def refuse_to_archive_a_restored_engine(settings: Settings) -> None:
    """Refuse an archive of a cluster that was restored: it would have the broker's offsets, which are not the records'.

    Raises:
        TopicError: it was restored, and the settings want an archive; or Kafka does not answer.

    """
    if settings.is_archived and RESTORED in existing(settings):
        raise TopicError(
            f"the engine at {settings.kafka_bootstrap} was restored: its broker counts offsets anew, so an archive of"
            " it would have other ids, and spoil the one that it came from. Set TRADING_ARCHIVE=false"
        )


def _check(needed: tuple[Wanted, ...], there: dict[str, int]) -> None:
    for name, partitions, _ in needed:
        if there[name] != partitions:
            raise TopicError(
                f"topic {name} has {there[name]} partitions, the engine wants {partitions}: that count is"
                " fixed when an engine is made. Set TRADING_ACCOUNT_PARTITIONS and TRADING_BOOK_PARTITIONS as"
                " they were, or take another cluster"
            )


def _existing(admin: AdminClient, bootstrap: str) -> dict[str, int]:
    try:
        topics = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise TopicError(f"Kafka at {bootstrap} does not answer: {error.args[0].str()}") from error
    return {name: len(topic.partitions) for name, topic in topics.items() if not name.startswith("__")}


def _create(admin: AdminClient, topics: tuple[Wanted, ...], replication: int) -> tuple[str, ...]:
    if not topics:
        return ()
    safe = {"min.insync.replicas": str(IN_SYNC_REPLICAS_MIN)} if replication > IN_SYNC_REPLICAS_MIN else {}
    new = [
        NewTopic(topic.name, topic.partitions, replication, config={**safe, **dict(topic.config)})
        for topic in topics
    ]
    answers = admin.create_topics(new, operation_timeout=TIMEOUT_S)
    return tuple(name for name, answer in answers.items() if _was_made(name, answer.exception()))


def _was_made(name: str, error: BaseException | None) -> bool:
    if error is None:
        return True
    code = error.args[0].code() if isinstance(error, KafkaException) else None
    if code == KafkaError.TOPIC_ALREADY_EXISTS:  # another worker was quicker
        return False
    raise TopicError(f"topic {name} could not be made: {error}") from error
