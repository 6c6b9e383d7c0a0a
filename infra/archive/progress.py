"""How far the archive is behind Kafka, place by place: what the table holds against where the topics end."""

import time
from collections.abc import Mapping
from typing import Final

import msgspec
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.control import GROUP, held_ends, held_events, pending
from infra.auditor.log import KafkaLog, Log, Place, Span
from infra.settings import KafkaConfig, Settings
from infra.sinks import connectors

TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.2
_MS: Final = 1000


class Behind(msgspec.Struct, frozen=True, kw_only=True):
    """A topic-partition and what the archive has of it.

    ``archived`` is the offset behind the last that it holds, None where it never took any; ``behind`` counts the
    offsets of Kafka that it does not hold yet, ``behind_s`` is the age of the first of them. ``lost`` counts those
    that Kafka no longer had when they were to be archived.
    """

    topic: str
    partition: int
    archived: int | None
    end: int
    behind: int
    behind_s: float
    lost: int


def progress(settings: Settings) -> list[Behind]:
    """Every topic-partition that is to be archived, sorted.

    Raises:
        OperatorError: Kafka, the catalogue or the bucket does not answer.

    """
    kafka = settings.kafka() | {"log_level": 0}
    log = KafkaLog(kafka)
    try:
        archived = archived_ends(settings, log, AdminClient(kafka))
        config, topics = connectors.templates()[connectors.ARCHIVE], log.topics()
        names = connectors.topics_of(config, topics)
        places = [(topic, partition) for topic in names for partition in range(topics[topic])]
        spans = {place: log.bounds(place) for place in places}
    except KafkaException as error:
        raise ArchiveError(
            f"Kafka at {settings.kafka_bootstrap} does not answer ({error.args[0].str()}): start it with"
            " `trading up`, or set TRADING_KAFKA_BOOTSTRAP to where it is"
        ) from error
    finally:
        log.close()
    starts = {place: max(begin, archived.get(place, begin)) for place, (begin, _) in spans.items()}
    late = {place: start for place, start in starts.items() if start < spans[place][1]}
    return behind(spans, archived, written_ms(kafka, late), time.time_ns() // 1_000_000)


def archived_ends(settings: Settings, log: Log, admin: AdminClient) -> dict[Place, int]:
    """The offset behind the last record that the table holds, of each place that was ever archived.

    It is what the connector has committed, but for places of which it has taken more than the table holds by now:
    of these, what the events say that it holds. The table comes last, so that nothing is taken for held too early.
    """
    taken = _committed(admin)
    held = held_events(settings, Bucket.of(settings))
    if held is None:
        return {}
    waiting = pending(log, held)
    return {place: end for place, end in taken.items() if place not in waiting} | held_ends(
        log, held, waiting
    )


def behind(
    spans: Mapping[Place, Span], archived: Mapping[Place, int], written: Mapping[Place, int], now_ms: int
) -> list[Behind]:
    """The same as plain arithmetic; ``written`` has the time (ms) of the first record that is not archived."""
    return [
        Behind(
            topic=place[0],
            partition=place[1],
            archived=archived.get(place),
            end=end,
            behind=end - max(begin, archived.get(place, begin)) if place in written else 0,
            behind_s=max(0, now_ms - written[place]) / _MS if place in written else 0.0,
            lost=max(0, begin - archived.get(place, begin)),
        )
        for place, (begin, end) in sorted(spans.items())
    ]


def written_ms(kafka: KafkaConfig, starts: Mapping[Place, int]) -> dict[Place, int]:
    """When the first record from an offset on was written, of many places at once; none where only gaps are left."""
    if not starts:
        return {}
    consumer = Consumer(
        {
            **kafka,
            "group.id": "archive",  # librdkafka wants one; nothing is committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",  # what expired meanwhile
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": 1,  # a batch is sent whole all the same, and one is enough
            "queued.max.messages.kbytes": 1024,
        }
    )
    found, waiting, deadline = dict[Place, int](), set(starts), time.monotonic() + TIMEOUT_S
    try:
        consumer.assign([TopicPartition(*place, start) for place, start in starts.items()])
        while waiting and time.monotonic() < deadline:
            for message in consumer.consume(len(starts), _POLL_S):
                error, place = message.error(), (message.topic() or "", message.partition() or 0)
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                    raise KafkaException(error)
                if place in waiting and error is None:
                    found[place] = message.timestamp()[1]
                waiting.discard(place)
    finally:
        consumer.close()
    if waiting:
        topic, partition = min(waiting)
        raise ArchiveError(
            f"{topic} {partition} cannot be read from {starts[topic, partition]}: look at the brokers"
        )
    return found


def _committed(admin: AdminClient) -> dict[Place, int]:
    asked = ConsumerGroupTopicPartitions(GROUP)
    answer = admin.list_consumer_group_offsets([asked], request_timeout=TIMEOUT_S)[GROUP].result()
    places: list[TopicPartition] = answer.topic_partitions
    return {(it.topic, it.partition): it.offset for it in places if it.offset >= 0}
