"""A consumer of what topics say from now on: many partitions at once, without end, in no group.

What has an end is read by ``tables/checkpointed/reader.LogReader`` (one partition) or
``infra/auditor/log.KafkaLog`` (spans of many, side by side).
"""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import Consumer, TopicPartition

from infra.settings import KafkaConfig

TIMEOUT_S: Final = 15.0


def consumer_at_end(kafka: KafkaConfig, topics: Iterable[tuple[str, int]]) -> Consumer:
    """A consumer that has found the end of every partition of some topics (name, count): nothing after is missed.

    KafkaException where Kafka does not answer at once.
    """
    consumer = Consumer(
        {
            **kafka,
            "group.id": "tail",  # librdkafka wants one; nothing is committed to it
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 1,
            "fetch.wait.max.ms": 100,
        }
    )
    places = [TopicPartition(topic, partition) for topic, count in topics for partition in range(count)]
    for place in places:
        place.offset = consumer.get_watermark_offsets(place, timeout=TIMEOUT_S)[1]
    consumer.assign(places)
    return consumer
