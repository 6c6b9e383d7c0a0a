"""Load on the engine: one process that sends commands, when they are due (an open loop) or as they are answered."""

import time
from ctypes import c_longlong
from multiprocessing import get_context
from typing import Any, Final

import msgspec
from confluent_kafka import Producer

from infra.bench.flow import commands
from schemas import codec
from schemas.commands import PlaceOrder
from schemas.envelopes import AccountCommands
from schemas.partitioner import partition_of
from schemas.topics import ORDERS

PROCESSES: Final = get_context("spawn")
NAP_S: Final = 0.0003
NS: Final = 1_000_000_000
START_DELAY_NS: Final = 3 * NS  # two Pythons start meanwhile


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` commands from ``start_ns`` (UTC) on.

    ``rate`` is in commands a second, each sent when it is due, whatever became of those before; at 0 they are
    sent as fast as they are answered, with at most ``window`` orders unanswered. ``namespace`` stands before
    the names of the topics, so that another engine on the same broker can be measured.
    """

    kafka: dict[str, str | int | float | bool]
    topic: str
    partitions: int
    count: int
    start_ns: int
    rate: float = 0.0
    window: int = 20_000
    prefix: str = ""
    namespace: str = ""
    linger_ms: float = 0.2

    def due_ns(self, number: int) -> int:
        """When the n-th command is to be sent."""
        return self.start_ns + int(number * NS / self.rate) if self.rate else self.start_ns


class Progress:
    """What sender and probe tell each other, in shared memory; each word has one writer."""

    def __init__(self) -> None:
        self._words: Any = PROCESSES.RawArray(c_longlong, 3)

    def sent(self, orders: int, *, is_all: bool = False) -> None:
        """The sender has sent so many orders, and whether that is all."""
        self._words[0] = orders
        self._words[1] = is_all

    def reported(self, orders: int) -> None:
        """The probe has seen a report of so many orders."""
        self._words[2] = orders

    @property
    def unanswered(self) -> int:
        """Orders that were sent and have no report yet."""
        return int(self._words[0] - self._words[2])

    @property
    def is_complete(self) -> bool:
        """Whether all is sent, and every order has its report."""
        return bool(self._words[1]) and self.unanswered == 0


def send(load: Load, progress: Progress) -> float:
    """Sends all of it and returns by how many seconds the latest command was late."""
    producer = Producer(
        {
            **load.kafka,
            "linger.ms": load.linger_ms,
            "acks": "all",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 200_000,
        }
    )
    topic = load.namespace + load.topic
    late_ns = orders = 0
    for number, command in zip(range(load.count), commands(prefix=load.prefix), strict=False):
        due_ns = load.due_ns(number)
        while (now_ns := time.time_ns()) < due_ns or (not load.rate and progress.unanswered >= load.window):
            producer.poll(0)
            time.sleep(NAP_S)
        late_ns = max(late_ns, now_ns - due_ns)
        stamped = msgspec.structs.replace(command, at_ns=due_ns if load.rate else now_ns)
        value = codec.encode(stamped if load.topic == ORDERS else AccountCommands(items=(stamped,)))
        produce(producer, topic, value, partition_of(command.account, load.partitions))
        orders += type(command) is PlaceOrder
        progress.sent(orders)
    producer.flush()
    progress.sent(orders, is_all=True)
    return late_ns / NS if load.rate else 0.0


def produce(producer: Producer, topic: str, value: bytes | None, partition: int) -> None:
    """Waits where the client's queue is full."""
    while True:
        try:
            producer.produce(topic, value, None, partition)
        except BufferError:
            producer.poll(0.01)
        else:
            return
