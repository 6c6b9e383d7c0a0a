"""What an order costs inside the stages: the real folds and codec over lists instead of Kafka."""

import gc
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, Final

import msgspec

from agents.intake import Intake
from agents.matching import MATCHING_STAGE
from agents.risk import RISK_STAGE
from agents.settlement import SETTLEMENT_STAGE
from agents.stage.fetch import Batch
from agents.stage.fold import Fold, InboxRecord, Output
from infra.bench.flow import accounts, commands, deposits, instruments
from schemas import codec
from schemas.commands import PlaceOrder
from schemas.control_events import AccountDefined, InstrumentDefined, MarkSet
from schemas.envelopes import AccountCommands, AccountEvents, BookCommands
from schemas.partitioner import partition_of
from schemas.topics import BY_NAME, ORDERS, PartitionCounts

STAGES: Final = (RISK_STAGE, MATCHING_STAGE, SETTLEMENT_STAGE)
START_NS: Final = 1_700_000_000_000_000_000


class Cost(msgspec.Struct):
    """CPU time and records of one stage."""

    cpu_ns: int = 0
    records_in: int = 0
    records_out: int = 0


class Lists:
    """The engine with a list for each topic partition; ``run`` feeds batches of orders to the end of their effects."""

    def __init__(self, counts: PartitionCounts) -> None:
        self.counts = counts
        self.costs: defaultdict[str, Cost] = defaultdict(Cost)
        self._intake = Intake(counts.accounts)
        self._folds: dict[tuple[str, int], Fold] = {}
        self._inboxes: defaultdict[tuple[str, int], deque[bytes]] = defaultdict(deque)
        self._offsets: defaultdict[tuple[str, int], int] = defaultdict(int)
        for stage in STAGES:
            for partition in range(counts.of(BY_NAME[stage.inbox])):
                fold = self._folds[stage.inbox, partition] = Fold(stage, counts, partition)
                fold.begin()
        self._load_reference()

    def run(self, batch: Iterable[Any]) -> None:
        """One fetched batch of orders through all stages."""
        values = [codec.encode(command) for command in batch]
        records = [InboxRecord(offset, START_NS // 10**6, None, value) for offset, value in enumerate(values)]
        outputs = self._timed("intake", lambda: list(self._intake.decide(Batch(ORDERS, 0, records))))
        self.costs["intake"].records_in += len(records)
        self._deliver("intake", outputs)
        self._settle()

    def checkpoint(self) -> None:
        """What a checkpoint costs the interpreter: the take, and the encoding of what changed."""
        for fold in self._folds.values():
            name = f"{fold.stage.name} checkpoint"
            entries = self._timed(name, partial(_entries, fold))
            self.costs[name].records_out += entries

    def _settle(self) -> None:
        moved = True
        while moved:
            moved = False
            for place, fold in self._folds.items():
                if inbox := self._inboxes[place]:
                    moved = True
                    self._fold(fold, place, inbox)

    def _fold(self, fold: Fold, place: tuple[str, int], inbox: deque[bytes]) -> None:
        name = fold.stage.name
        while inbox:
            record = InboxRecord(self._offsets[place], 0, None, inbox.popleft())
            self._offsets[place] += 1
            self._deliver(name, self._timed(name, partial(fold.apply, record)))
            self.costs[name].records_in += 1

    def _deliver(self, name: str, outputs: Iterable[Output]) -> None:
        for topics, partition, value, _ in outputs:
            for topic in topics:
                self.costs[name].records_out += 1
                if (topic, partition) in self._folds:
                    self._inboxes[topic, partition].append(value)

    def _timed(self, name: str, act: Callable[[], Any]) -> Any:
        started_ns = time.thread_time_ns()
        result = act()
        self.costs[name].cpu_ns += time.thread_time_ns() - started_ns
        return result

    def _load_reference(self) -> None:
        news: list[Any] = [InstrumentDefined(instrument=it, at_ns=START_NS) for it in instruments()]
        news += [MarkSet(instrument=it.symbol, price_ticks=10_000, at_ns=START_NS) for it in instruments()]
        owners: list[Any] = [AccountDefined(account=it, at_ns=START_NS) for it in accounts()]
        for topic, partition in self._folds:
            mine = [
                it for it in owners if partition_of(it.account.account, self.counts.accounts) == partition
            ]
            match topic:
                case "book-commands":
                    envelope: Any = BookCommands(items=tuple(news))
                case "account-commands":
                    cash = [
                        msgspec.structs.replace(it, at_ns=START_NS)
                        for it in deposits()
                        if partition_of(it.account, self.counts.accounts) == partition
                    ]
                    envelope = AccountCommands(items=(*news, *mine, *cash))
                case _:
                    envelope = AccountEvents(items=(*news, *mine))
            self._inboxes[topic, partition].append(codec.encode(envelope))
        self._settle()


def _entries(fold: Fold) -> int:
    return sum(1 for _ in fold.checkpoint().entries())


def measure(orders: int, batch: int, counts: PartitionCounts) -> tuple[dict[str, Cost], int, int]:
    """The costs of so many commands fed in batches; how many of them were orders, and how many commands."""
    lists = Lists(counts)
    lists.checkpoint()
    flow = commands()
    _run(lists, islice(flow, orders // 4), batch)
    lists.costs.clear()
    gc.collect()
    gc.freeze()
    measured = list(islice(flow, orders))
    _run(lists, iter(measured), batch)
    return dict(lists.costs), sum(isinstance(it, PlaceOrder) for it in measured), len(measured)


def each_ns(orders: int, counts: PartitionCounts) -> list[int]:
    """What each command, fed alone, takes of all stages in CPU time, with all that follows from it."""
    lists = Lists(counts)
    flow = commands()
    _run(lists, islice(flow, orders // 4), 1)
    gc.collect()
    gc.freeze()
    took: list[int] = []
    for command in islice(flow, orders):
        lists.costs.clear()
        lists.run([command])
        took.append(sum(cost.cpu_ns for cost in lists.costs.values()))
    return sorted(took)


def _run(lists: Lists, flow: Iterator[Any], batch: int) -> None:
    done = 0
    while part := list(islice(flow, batch)):
        lists.run(part)
        done += len(part)
        if done // 5000 != (done - len(part)) // 5000:
            lists.checkpoint()
