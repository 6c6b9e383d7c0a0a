"""The parts of ``make bench``: each measures one thing and gives its figures; ratios come from one run."""

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from infra.bench import stages
from infra.bench.load import PROCESSES, START_DELAY_NS, Load
from infra.bench.session import Costs, Latency, Session, Throughput, session
from infra.embedded.broker import EmbeddedBroker
from infra.settings import Settings
from schemas.codec import ENGINE
from schemas.topics import ACCOUNT_COMMANDS, ORDERS, PartitionCounts
from tests.bench import bare_chain, codec, restart, sealing, sinks, stock_faust_run
from tests.bench.figures import Bound, Figure, Goal

TRAVERSALS: Final = {ACCOUNT_COMMANDS: 3, ORDERS: 4}
TRAVERSALS_TO_SETTLED: Final = 5  # orders, account-commands, book-commands, account-events, settlement-events
BARE_FIRST_RATE: Final = 20_000
QUICK_STORE_INTERVAL_MS: Final = 500
MS: Final = 1000.0
MB: Final = 1e6


class Scale(NamedTuple):
    """How much is measured; goals are judged at full scale only."""

    seconds: float = 60.0
    warm_up_s: float = 20.0
    rates: tuple[float, ...] = (2_000, 5_000, 10_000)
    stage_orders: int = 40_000
    matching_orders: int = 1_000_000
    restart_orders: int = 1_000_000
    restart_accounts: int = 100_000
    sink_records: int = 1_000_000
    sink_turns: int = 2
    lag_rate: float = 500
    is_quick: bool = False


QUICK: Final = Scale(2.0, 1.0, (200,), 500, 20_000, 2_000, 200, 2_000, 1, 100, is_quick=True)


class Run:
    """One run on one broker; what a part found stays for the ratios of those behind it."""

    def __init__(self, scale: Scale, settings: Settings, broker: EmbeddedBroker) -> None:
        self._scale, self._broker = scale, broker
        self._settings = settings.model_copy(update={"kafka_bootstrap": broker.bootstrap})
        self._latencies: dict[tuple[str, float], Latency] = {}
        self._throughput: Throughput | None = None

    def engine(self) -> Iterator[Figure]:
        """The bars, with whatever codec is there."""
        with session(self._settings, self._broker) as running:
            yield from self._bars("engine", running, self._scale.rates)

    def bare(self) -> Iterator[Figure]:
        """The limit: chains of bare clients, as long as the engine's ways."""
        for topic, traversals in TRAVERSALS.items():
            for rate in self._scale.rates:
                yield from self._bare_latency(topic, traversals, rate)
        load = self._bare_load(int(self._scale.seconds * BARE_FIRST_RATE), 0)
        _, rate = bare_chain.measure(load, TRAVERSALS_TO_SETTLED, 0)
        figure = self._figure("bare")
        yield figure(f"bare chain, {TRAVERSALS_TO_SETTLED} traversals", rate, "records/s")
        if ours := self._throughput:
            note = f"{ours.commands / ours.seconds / rate:.2f} with cancels counted, which are records too"
            yield figure(
                "engine's orders/s of the bare chain's", ours.rate / rate, "", ("at least", 0.4), note
            )

    def stock(self) -> Iterator[Figure]:
        """The peer: the same rules on stock Faust."""
        peer = stock_faust_run.measure(self._settings, self._scale.seconds, self._broker.pid)
        figure = self._figure("stock")
        yield figure(
            "stock Faust, orders to settled positions", peer.rate, "orders/s", None, _spent(peer.cpu_us)
        )
        if ours := self._throughput:
            yield figure("engine's orders/s to stock Faust's", ours.rate / peer.rate, "x", ("at least", 10))

    def fastavro(self) -> Iterator[Figure]:
        """The first bars again, with fastavro in the workers."""
        with session(self._settings, self._broker, "fastavro") as running:
            yield from self._bars("fastavro", running, self._scale.rates[-1:])

    def stages(self) -> Iterator[Figure]:
        """CPU and records of each stage and order, over lists instead of Kafka."""
        counts = PartitionCounts(self._settings.account_partitions, self._settings.book_partitions)
        figure, orders_measured = self._figure("stages"), self._scale.stage_orders
        with ProcessPoolExecutor(1, PROCESSES) as pool:  # frozen garbage of one must not slow the other
            costs, orders, _ = pool.submit(stages.measure, orders_measured, 50, counts).result()
            each_ns = pool.submit(stages.each_ns, orders_measured, counts).result()
        for name, cost in costs.items():
            note = f"{cost.records_in / orders:.2f} records in, {cost.records_out / orders:.2f} out an order"
            yield figure(f"CPU in {name}, batches of 50", cost.cpu_ns / 1000 / orders, "us/order", None, note)
        total_ns = sum(cost.cpu_ns for cost in costs.values())
        yield figure("CPU in all stages", total_ns / 1000 / orders, "us/order", None, f"{ENGINE} codec")
        p99_ms = each_ns[int(len(each_ns) * 0.99)] / 1e6
        note = f"p50 {each_ns[len(each_ns) // 2] / 1e6:.3f} ms; each command alone, with all that follows"
        yield figure("time inside the stages, p99", p99_ms, "ms", ("at most", 1), note)

    def codec(self) -> Iterator[Figure]:
        """Both codecs, a record at a time."""
        figure = self._figure("codec")
        for cost in codec.costs():
            note = f"decode {cost.decode_us:.2f} us, {cost.value_bytes} bytes"
            yield figure(f"{cost.codec}: encode {cost.record}", cost.encode_us, "us", None, note)

    def matching(self) -> Iterator[Figure]:
        """Matching alone, in a process of its own."""
        command = (sys.executable, "-m", "tests.bench.matching_alone", str(self._scale.matching_orders))
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r": ([\d,]+) a second", said)
        assert found, said
        rate = float(found[1].replace(",", ""))
        figure, note = self._figure("matching"), said.splitlines()[-1]
        yield figure("matching alone, plain Python", rate, "orders/s", ("at least", 500_000), note)

    def restart(self) -> Iterator[Figure]:
        """Kill -9 with many open orders, on a broker of its own."""
        scale = self._scale
        overrides: dict[str, Any] = {"store_interval_ms": QUICK_STORE_INTERVAL_MS} if scale.is_quick else {}
        found = restart.measure(scale.restart_orders, scale.restart_accounts, **overrides)
        figure = self._figure("restart")
        for stage, seconds in found.ready_s.items():
            note = f"{found.orders:,} open orders, {found.accounts:,} accounts; {found.resident_mb[stage]:.0f} MB then"
            yield figure(f"{stage} ready after kill -9", seconds, "s", ("at most", 5), note)
            at_once = found.at_once_s[stage]
            yield figure(f"{stage} ready, both killed at once", at_once, "s", ("at most", 5))
        for stage, size in found.order_bytes.items():
            yield figure(f"{stage}: memory of a resting order", size, "bytes")
        yield figure("resting orders taken in", found.filled_per_s, "orders/s")

    def sinks(self) -> Iterator[Figure]:
        """A backlog into Postgres and into the archive, the lag of a row, and the proof of the seals."""
        figure, scale = self._figure("sinks"), self._scale
        with sinks.place() as (settings, broker):
            orders = sinks.fill(settings, broker, scale.sink_records)
            rows = sinks.drain(settings, broker, orders)
            note = f"{rows.records:,} records in {rows.seconds:.1f} s; CPU us/record: {_each(rows.cpu_us)}"
            yield figure("rows into Postgres, from a backlog", rows.rate, "records/s", None, note)
            an_order = rows.records / rows.orders
            goal: tuple[Bound, float] = ("at least", 10_000)
            note = f"{an_order:.1f} records an order"
            yield figure("orders whose rows these are", rows.rate / an_order, "orders/s", goal, note)
            with sinks.archived(settings, broker) as (engine, kept):
                note = (
                    f"{kept.records:,} records, {kept.size / MB:,.0f} MB in {kept.seconds:.1f} s, the first commit"
                    f" after {kept.first_s:.1f} s"
                )
                rate = kept.size / MB / kept.seconds
                yield figure("into the archive, from a backlog", rate, "MB/s", None, note)
                p50, p99 = sinks.lag_ms(engine, broker, scale.lag_rate, scale.seconds, scale.warm_up_s)
            what = f"from an order to its trade's row at {scale.lag_rate:,.0f}/s, p99"
            yield figure(what, p99, "ms", None, f"p50 {p50:.0f} ms")
        proof = sealing.measure(scale.sink_records)
        note = f"{proof.records / proof.verified_s:,.0f} records/s of {proof.size // proof.records} bytes"
        yield figure("verified against their seals", proof.gb_a_minute, "GB/min", None, note)

    def sinks_cost(self) -> Iterator[Figure]:
        """The engine's latency without the sinks and with them."""
        scale = self._scale
        rate = scale.rates[0]
        for has_sinks, found in sinks.cost(rate, scale.seconds, scale.warm_up_s, scale.sink_turns):
            what = f"report at {rate:,.0f}/s {'with' if has_sinks else 'without'} the sinks, p99"
            p50, p99, p999 = found.quantiles_ms
            note = f"p50 {p50:.1f}, p99.9 {p999:.1f} ms; {_spent(found.cpu_us)}"
            yield self._figure("sinks-cost")(what, p99, "ms", None, note)

    def _bars(self, part: str, running: Session, rates: tuple[float, ...]) -> Iterator[Figure]:
        for topic in TRAVERSALS:
            for rate in rates:
                yield self._latency(
                    part, running.latency(topic, rate, self._scale.seconds, self._scale.warm_up_s)
                )
        found = running.throughput(self._scale.seconds)
        if part == "engine":
            self._throughput = found
        trades, cancels = found.trades / found.orders, 1 - found.orders / found.commands
        note = f"{trades:.2f} trades an order, cancels {cancels:.0%} of commands; {_spent(found.cpu_us)}"
        goal: tuple[Bound, float] = ("at least", 10_000)
        yield self._figure(part)("orders to settled positions", found.rate, "orders/s", goal, note)

    def _latency(self, part: str, found: Latency) -> Figure:
        if part == "engine":
            self._latencies[found.topic, found.rate] = found
        p50, p99, p999 = found.quantiles_ms
        batches = max(found.batch_p99_ms.values())
        note = (
            f"p50 {p50:.1f}, p99.9 {p999:.1f} ms; {found.rejected} rejected, sender {found.late_ms:.1f} ms late"
            f" at worst; 99% of batches under {batches:g} ms; {_spent(found.cpu_us)}"
        )
        is_judged = (found.topic, found.rate) == (ACCOUNT_COMMANDS, self._scale.rates[-1])
        goal: tuple[Bound, float] | None = ("at most", 10) if is_judged else None
        what = f"{found.topic} to report at {found.rate:,.0f}/s, p99"
        return self._figure(part)(what, p99, "ms", goal, note)

    def _bare_latency(self, topic: str, traversals: int, rate: float) -> Iterator[Figure]:
        figure = self._figure("bare")
        load = self._bare_load(int(rate * (self._scale.warm_up_s + self._scale.seconds)), rate)
        seen, _ = bare_chain.measure(load, traversals, self._scale.warm_up_s)
        p50, p99, p999 = seen.quantiles_ms()
        note = f"p50 {p50:.1f}, p99.9 {p999:.1f} ms"
        yield figure(f"bare chain, {traversals} traversals at {rate:,.0f}/s, p99", p99, "ms", None, note)
        if ours := self._latencies.get((topic, rate)):
            is_judged = (topic, rate) == (ORDERS, self._scale.rates[-1])
            goal: tuple[Bound, float] | None = ("at most", 1.5) if is_judged else None
            note = f"p50 {ours.quantiles_ms[0] / p50:.1f} x"
            what = f"engine's p99 from {topic} at {rate:,.0f}/s to it"
            yield figure(what, ours.quantiles_ms[1] / p99, "x", goal, note)

    def _bare_load(self, count: int, rate: float) -> Load:
        return Load(
            kafka=self._settings.kafka(),
            topic=bare_chain.topics(1)[0],
            partitions=self._settings.account_partitions,
            count=count,
            start_ns=time.time_ns() + START_DELAY_NS,
            rate=rate,
        )

    def _figure(self, part: str) -> "Make":
        return partial(_figure, part, not self._scale.is_quick)


Make = Callable[..., Figure]


def _figure(
    part: str,
    is_judged: bool,
    what: str,
    value: float,
    unit: str,
    goal: tuple[Bound, float] | None = None,
    note: str = "",
) -> Figure:
    judged = Goal(*goal) if goal and is_judged else None
    return Figure(part=part, what=what, value=value, unit=unit, goal=judged, note=note)


def _spent(costs: Costs) -> str:
    return f"CPU us/order: {_each(costs)}"


def _each(costs: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {us:.0f}" for name, us in costs.items())


PARTS: Final = {
    "engine": Run.engine,
    "bare": Run.bare,
    "stock": Run.stock,
    "fastavro": Run.fastavro,
    "stages": Run.stages,
    "codec": Run.codec,
    "matching": Run.matching,
    "restart": Run.restart,
    "sinks": Run.sinks,
    "sinks-cost": Run.sinks_cost,
}
"""In the order of a run: what others are compared with comes first."""
