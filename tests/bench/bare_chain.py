"""The limit: as many hops as the engine has, each a bare confluent-kafka loop that decides nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infra.bench.load import NS, PROCESSES, Load, produce
from infra.bench.probe import Seen
from infra.tail import consumer_at_end

VALUE_BYTES = 150
Kafka = dict[str, str | int | float | bool]


def topics(hops: int) -> list[str]:
    """The topics of a chain with so many traversals of the broker."""
    return [f"bare-{hop}" for hop in range(hops)]


@contextmanager
def chain(kafka: Kafka, hops: int, partitions: int) -> Iterator[None]:
    """A process for each hop but the last, which is the probe's."""
    names = topics(hops)
    admin = AdminClient(kafka)
    for future in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        future.result(30)
    here, there = PROCESSES.Pipe()
    workers = [
        PROCESSES.Process(target=hop, args=(kafka, *pair, partitions, there), daemon=True)
        for pair in pairwise(names)
    ]
    for worker in workers:
        worker.start()
    for _ in workers:
        here.recv()
    yield
    for worker in workers:
        worker.kill()
    for future in admin.delete_topics(names).values():
        future.result(30)


def hop(kafka: Kafka, source: str, target: str, partitions: int, ready: Any) -> None:
    """Takes what is there and produces it on."""
    consumer = consumer_at_end(kafka, [(source, partitions)])
    producer = _producer(kafka)
    ready.send(source)
    while True:
        first = consumer.poll(0.1)
        if first is None:
            producer.poll(0)
            continue
        for message in [first, *consumer.consume(499, 0)]:
            produce(producer, target, message.value(), message.partition() or 0)
        producer.poll(0)


def send(load: Load) -> None:
    """Sends values that carry when they were due, when they are due."""
    producer = _producer(load.kafka)
    for number in range(load.count):
        due_ns = load.due_ns(number)
        while time.time_ns() < due_ns:
            producer.poll(0)
            time.sleep(0.0003)
        produce(producer, load.topic, due_ns.to_bytes(VALUE_BYTES, "big"), number % load.partitions)
    producer.flush()


def probe(load: Load, topic: str, warm_up_s: float, ready: Any) -> None:
    """Reads the chain's end until all is in."""
    consumer = consumer_at_end(load.kafka, [(topic, load.partitions)])
    ready.send("ready")
    seen, skip, count = Seen(), int(warm_up_s * load.rate), 0
    while count < load.count:
        for message in consumer.consume(500, 0.001):
            count += 1
            if count > skip:
                due_ns = int.from_bytes(message.value() or b"", "big")
                seen.latencies_ms.append((time.time_ns() - due_ns) * 1000 / NS)
    ready.send(seen)


def measure(load: Load, hops: int, warm_up_s: float) -> tuple[Seen, float]:
    """Latencies of a chain, and how many records a second it took from first to last."""
    names = topics(hops)
    with chain(load.kafka, hops, load.partitions):
        here, there = PROCESSES.Pipe()
        reader = PROCESSES.Process(target=probe, args=(load, names[-1], warm_up_s, there))
        reader.start()
        here.recv()
        sender = PROCESSES.Process(target=send, args=(load,))
        started_s = max(time.time(), load.start_ns / NS)
        sender.start()
        seen = here.recv()
        took_s = time.time() - started_s
        sender.join()
        reader.join()
    return seen, load.count / took_s


def _producer(kafka: Kafka) -> Producer:
    return Producer({**kafka, "linger.ms": 0.2, "acks": "all", "enable.idempotence": True})
