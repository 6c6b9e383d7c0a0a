"""When execution reports come out: one process that reads ``account-events`` beside the load."""

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec
from confluent_kafka import OFFSET_END, Consumer, TopicPartition

from infra.bench.load import NS, Load
from schemas import codec
from schemas.events import OrderAccepted, OrderFilled, OrderRejected
from schemas.topics import ACCOUNT_EVENTS

QUANTILES: Final = (0.5, 0.99, 0.999)


class Seen(msgspec.Struct, kw_only=True):
    """What a probe counted, and the latencies in ms of what came after the warm-up, from the time it was due."""

    accepted: int = 0
    rejected: int = 0
    fills: int = 0
    latencies_ms: list[float] = msgspec.field(default_factory=list)

    def quantiles_ms(self, of: Sequence[float] = QUANTILES) -> list[float]:
        """The latencies at the given quantiles; empty where nothing was measured."""
        ordered = sorted(self.latencies_ms)
        return [ordered[min(len(ordered) - 1, int(len(ordered) * it))] for it in of] if ordered else []


def watch(load: Load, warm_up_s: float, patience_s: float, ready: Connection) -> None:
    """Reads until the last order's report is in, or nothing came for ``patience_s``; sends Seen as msgpack."""
    consumer = Consumer(
        {
            **load.kafka,
            "group.id": "bench-probe",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
            "fetch.queue.backoff.ms": 1,
        }
    )
    consumer.assign([TopicPartition(ACCOUNT_EVENTS, it, OFFSET_END) for it in range(load.partitions)])
    consumer.poll(1.0)
    ready.send_bytes(b"ready")
    seen = Seen()
    measured_from = int(warm_up_s * load.rate)
    last_at, is_done = time.monotonic(), False
    while not is_done and time.monotonic() - last_at < patience_s:
        first = consumer.poll(0.1)
        if first is None:
            continue
        for message in [first, *consumer.consume(500, 0)]:
            now_ns = time.time_ns()
            envelope: Any = codec.decode(message.value())
            for item in envelope.items:
                if type(item) is OrderFilled:
                    seen.fills += 1
                elif type(item) is OrderAccepted or type(item) is OrderRejected:
                    last_at = time.monotonic()
                    is_done = _take(seen, item, load, now_ns, measured_from) or is_done
    consumer.close()
    ready.send_bytes(msgspec.msgpack.encode(seen))


def _take(
    seen: Seen, report: OrderAccepted | OrderRejected, load: Load, now_ns: int, measured_from: int
) -> bool:
    """Counts a report; True when it is of the last commands (a cancel has none)."""
    if not report.client_order_id.startswith(load.prefix):
        return False
    number = int(report.client_order_id[len(load.prefix) :])
    if type(report) is OrderRejected:
        seen.rejected += 1
    else:
        seen.accepted += 1
        if number >= measured_from:
            seen.latencies_ms.append((now_ns - load.due_ns(number)) * 1000 / NS)
    return number >= load.count - 2
