"""How the command line reaches Kafka: quietly, and with one line where Kafka does not answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from infra.auditor.log import KafkaLog
from infra.errors import OperatorError
from infra.settings import KafkaConfig, Settings
from infra.topics_admin import wanted
from schemas.topics import PartitionCounts

CONNECT_TIMEOUT_S: Final = 6.0  # a connection of librdkafka's is tried again within a second


@contextmanager
def connected(settings: Settings) -> Iterator[KafkaConfig]:
    """Give librdkafka's settings for a Kafka that answers and has the engine's topics.

    Raises:
        OperatorError: Kafka does not answer, then or later, or its topics are not this engine's.

    """
    kafka = settings.kafka() | {"log_level": 0}  # librdkafka's own lines would bury the one that counts
    try:
        topics = AdminClient(kafka).list_topics(timeout=CONNECT_TIMEOUT_S).topics
        _check(settings, {name: len(topic.partitions) for name, topic in topics.items()})
        yield kafka
    except KafkaException as error:
        raise OperatorError(
            f"Kafka at {settings.kafka_bootstrap} does not answer ({error.args[0].str()}): start it with"
            " `trading up`, or set TRADING_KAFKA_BOOTSTRAP to where it is"
        ) from error


@contextmanager
def engine_log(settings: Settings, *, as_stored: bool = False) -> Iterator[KafkaLog]:
    """Open the engine's topics for reading; raises as `connected`. `as_stored` is a KafkaLog's."""
    with connected(settings) as kafka:
        log = KafkaLog(kafka, as_stored=as_stored)
        try:
            yield log
        finally:
            log.close()


class Outgoing(NamedTuple):
    """A record to be written; partition -1 leaves the choice to the client."""

    topic: str
    value: bytes | None
    key: bytes | str | None
    partition: int = -1


def write(settings: Settings, records: Sequence[Outgoing]) -> None:
    """Write a few records in their order, acknowledged by all replicas.

    Raises:
        OperatorError: Kafka did not take all of them, or as `connected`.

    """
    failed: list[str] = []

    def delivered(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error.str())

    with connected(settings) as kafka:
        producer = Producer(
            {**kafka, "enable.idempotence": True, "message.timeout.ms": int(CONNECT_TIMEOUT_S * 1000)}
        )
        for it in records:
            producer.produce(it.topic, it.value, it.key, it.partition, on_delivery=delivered)
        if (left := producer.flush(CONNECT_TIMEOUT_S + 1)) or failed:
            why = failed[0] if failed else "no answer"
            raise OperatorError(f"Kafka did not take {left + len(failed)} of {len(records)} records ({why})")


def counts_of(settings: Settings) -> PartitionCounts:
    """The engine's counts of partitions."""
    return PartitionCounts(accounts=settings.account_partitions, books=settings.book_partitions)


def _check(settings: Settings, there: dict[str, int]) -> None:
    for name, partitions, _ in wanted(settings):
        if name not in there:
            raise OperatorError(
                f"Kafka at {settings.kafka_bootstrap} has no topic {name}: start the engine with `trading up`,"
                " or make its topics with `trading topics create`"
            )
        if there[name] != partitions:
            raise OperatorError(
                f"topic {name} has {there[name]} partitions and the settings say {partitions}: set"
                " TRADING_ACCOUNT_PARTITIONS and TRADING_BOOK_PARTITIONS to what is there"
            )
