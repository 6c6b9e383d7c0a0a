"""Load on the engine: one process that sends commands, when they are due (an open loop) or as they are answered."""

import gc
import time
from collections.abc import Iterator
from ctypes import c_longlong
from multiprocessing import get_context
from typing import Any, Final, NamedTuple

import msgspec
from confluent_kafka import Producer

from infra.bench.flow import commands
from schemas import codec
from schemas.commands import CancelOrder, PlaceOrder
from schemas.envelopes import AccountCommands
from schemas.partitioner import partition_of
from schemas.topics import ORDERS

PROCESSES: Final = get_context("spawn")
NAP_S: Final = 0.0003
NS: Final = 1_000_000_000
START_DELAY_NS: Final = 3 * NS  # two Pythons start meanwhile
PREPARE_NS: Final = 15_000  # and every command is made and encoded


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """``count`` commands from ``start_ns`` (UTC) on.

    ``rate`` is in commands a second, each sent when it is due, whatever became of those before; at 0 they are
    sent as fast as they are answered, with at most ``window`` orders unanswered. ``namespace`` stands before
    the names of the topics, so that another engine on the same broker can be measured. ``pace_s`` is how long
    a gateway packs what comes into one record, where the load stands in for one.
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
    pace_s: float = 0.0

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


class Shipment(NamedTuple):
    """A record of the load: when it is to be sent (UTC ns; 0: as soon as may be), and the orders in it."""

    due_ns: int
    partition: int
    value: bytes
    orders: int


def prepare(load: Load) -> list[Shipment]:
    """All of a load, encoded before it begins: what a client spends is not the engine's, and the cores are few."""
    if load.topic == ORDERS:
        return list(_orders(load))
    return sorted(_packed(load), key=lambda it: it.due_ns)


def send(load: Load, progress: Progress) -> float:
    """Sends all of it and returns by how many seconds the latest record was late."""
    producer = Producer(
        {
            **load.kafka,
            "linger.ms": load.linger_ms,
            "acks": "all",
            "enable.idempotence": True,
            "queue.buffering.max.messages": 200_000,
        }
    )
    topic, shipments = load.namespace + load.topic, prepare(load)
    gc.freeze()
    late_ns = orders = 0
    for due_ns, partition, value, count in shipments:
        while (now_ns := time.time_ns()) < due_ns or (not load.rate and progress.unanswered >= load.window):
            producer.poll(0)
            time.sleep(NAP_S)
        late_ns = max(late_ns, now_ns - due_ns)
        produce(producer, topic, value, partition)
        orders += count
        progress.sent(orders)
    producer.flush()
    progress.sent(orders, is_all=True)
    return late_ns / NS if load.rate else 0.0


def _orders(load: Load) -> Iterator[Shipment]:
    """A record a command, as a stranger's producer sends it."""
    for due_ns, partition, command in _commands(load):
        yield Shipment(due_ns, partition, codec.encode(command), type(command) is PlaceOrder)


def _packed(load: Load) -> Iterator[Shipment]:
    """As a gateway sends them: what came for one partition within its pace travels together, at its end."""
    packs: dict[tuple[int, int], list[PlaceOrder | CancelOrder]] = {}
    pace_ns = max(1, int(load.pace_s * NS))
    for due_ns, partition, command in _commands(load):
        packs.setdefault((-(-due_ns // pace_ns) * pace_ns, partition), []).append(command)
    for (due_ns, partition), commands_ in packs.items():
        orders = sum(type(it) is PlaceOrder for it in commands_)
        yield Shipment(due_ns, partition, codec.encode(AccountCommands(items=tuple(commands_))), orders)


def _commands(load: Load) -> Iterator[tuple[int, int, PlaceOrder | CancelOrder]]:
    for number, command in zip(range(load.count), commands(prefix=load.prefix), strict=False):
        due_ns = load.due_ns(number)
        stamped = msgspec.structs.replace(command, at_ns=due_ns)
        yield due_ns, partition_of(command.account, load.partitions), stamped


def start_ns(count: int) -> int:
    """When a load of so many commands can begin, if it is made now."""
    return time.time_ns() + START_DELAY_NS + count * PREPARE_NS


def produce(producer: Producer, topic: str, value: bytes | None, partition: int) -> None:
    """Waits where the client's queue is full."""
    while True:
        try:
            producer.produce(topic, value, None, partition)
        except BufferError:
            producer.poll(0.01)
        else:
            return
