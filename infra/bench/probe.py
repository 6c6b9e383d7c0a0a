"""When execution reports come out: one process that reads ``account-events`` beside the load."""

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec

from infra.bench.load import NS, Load, Progress
from infra.tail import consumer_at_end
from schemas import codec
from schemas.events import OrderAccepted, OrderRejected
from schemas.topics import ACCOUNT_EVENTS

QUANTILES: Final = (0.5, 0.99, 0.999)


class Seen(msgspec.Struct, kw_only=True):
    """What a probe counted, and the latencies in ms of what came after the warm-up, from the time it was due."""

    accepted: int = 0
    rejected: int = 0
    latencies_ms: list[float] = msgspec.field(default_factory=list)

    def quantiles_ms(self, of: Sequence[float] = QUANTILES) -> list[float]:
        """The latencies at the given quantiles; empty where nothing was measured."""
        ordered = sorted(self.latencies_ms)
        return [ordered[min(len(ordered) - 1, int(len(ordered) * it))] for it in of] if ordered else []


def watch(load: Load, progress: Progress, warm_up_s: float, patience_s: float, ready: Connection) -> None:
    """Reads until the last order's report is in, or nothing came for ``patience_s``; sends Seen as msgpack."""
    topics = [(load.namespace + ACCOUNT_EVENTS, load.partitions)]
    consumer = consumer_at_end(load.kafka, topics)
    ready.send_bytes(b"ready")
    seen = Seen()
    measured_from = int(warm_up_s * load.rate)
    last_at = max(time.monotonic(), time.monotonic() + (load.start_ns - time.time_ns()) / NS)
    while not progress.is_complete and time.monotonic() - last_at < patience_s:
        first = consumer.poll(0.1)
        if first is None:
            continue
        for message in [first, *consumer.consume(500, 0)]:
            now_ns = time.time_ns()
            envelope: Any = codec.decode(message.value())
            for item in envelope.items:
                if type(item) is OrderAccepted or type(item) is OrderRejected:
                    last_at = time.monotonic()
                    _take(seen, item, load, now_ns, measured_from)
        progress.reported(seen.accepted + seen.rejected)
    consumer.close()
    ready.send_bytes(msgspec.msgpack.encode(seen))


def _take(seen: Seen, report: OrderAccepted | OrderRejected, load: Load, now_ns: int, measured: int) -> None:
    """Counts an order's first report; what an earlier load left behind is not ours."""
    if not report.client_order_id.startswith(load.prefix):
        return
    if type(report) is OrderRejected:
        seen.rejected += 1
        return
    seen.accepted += 1
    if load.rate and (number := int(report.client_order_id[len(load.prefix) :])) >= measured:
        seen.latencies_ms.append((now_ns - load.due_ns(number)) * 1000 / NS)
