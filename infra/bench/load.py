"""Load on the engine: one process that sends commands when they are due, late or not (an open loop)."""

import time
from typing import Final

import msgspec
from confluent_kafka import Producer

from infra.bench.flow import commands
from schemas import codec
from schemas.envelopes import AccountCommands
from schemas.partitioner import partition_of
from schemas.topics import ACCOUNT_COMMANDS, ORDERS

NAP_S: Final = 0.0003
NS: Final = 1_000_000_000


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``rate`` in commands a second, 0 for as fast as the client takes them; from ``start_ns`` (UTC)."""

    kafka: dict[str, str | int | float | bool]
    topic: str
    partitions: int
    count: int
    start_ns: int
    rate: float = 0.0
    prefix: str = ""
    linger_ms: float = 0.2

    def due_ns(self, number: int) -> int:
        """When the n-th command is to be sent."""
        return self.start_ns + int(number * NS / self.rate) if self.rate else self.start_ns


def send(load: Load) -> float:
    """Sends all of it and returns by how many seconds the latest command was late."""
    assert load.topic in {ORDERS, ACCOUNT_COMMANDS}
    producer = Producer(
        {
            **load.kafka,
            "linger.ms": load.linger_ms,
            "acks": "all",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 200_000,
        }
    )
    late_ns = 0
    for number, command in zip(range(load.count), commands(prefix=load.prefix), strict=False):
        due_ns = load.due_ns(number)
        while (now_ns := time.time_ns()) < due_ns:
            producer.poll(0)
            time.sleep(NAP_S)
        late_ns = max(late_ns, now_ns - due_ns)
        stamped = msgspec.structs.replace(command, at_ns=max(due_ns, now_ns) if load.rate == 0 else due_ns)
        value = codec.encode(stamped if load.topic == ORDERS else AccountCommands(items=(stamped,)))
        _produce(producer, load.topic, value, partition_of(command.account, load.partitions))
    producer.flush()
    return late_ns / NS if load.rate else 0.0


def _produce(producer: Producer, topic: str, value: bytes, partition: int) -> None:
    while True:
        try:
            producer.produce(topic, value, None, partition)
        except BufferError:
            producer.poll(0.01)
        else:
            return
