"""Workers of all stages over a log in memory, each with the server of its views."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession
from faust.types import TP

from agents.control import CONTROL_STAGE
from agents.matching import MATCHING_STAGE
from agents.risk import RISK_STAGE
from agents.settlement import SETTLEMENT_STAGE
from agents.stage.config import StageConfig
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord, Stage
from agents.stage.partitions import Partitions
from connectors.views.server import Views, serving
from connectors.views.worker import Hosted
from schemas import codec
from schemas.commands import DefineAccount, DefineInstrument, Deposit, PlaceOrder, SetMark
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.partitioner import partition_of
from schemas.reference import Account, Instrument, Limits
from schemas.topics import ACCOUNT_COMMANDS, BY_NAME, CONTROL, PartitionCounts
from tables.checkpointed.rows import Rows
from tests.simulation.memory import Log, MemoryDisk, MemoryWorld

STAGES = (CONTROL_STAGE, RISK_STAGE, MATCHING_STAGE, SETTLEMENT_STAGE)
COUNTS = PartitionCounts(accounts=2, books=2)
NOW_NS = 1_700_000_000 * 10**9
CONFIG = StageConfig(env="town", kafka={}, counts=COUNTS, data_folder=Path())

X = Instrument(
    symbol="BTC/USD",
    kind="SPOT",
    currency="USD",
    currency_exponent=2,
    tick_size_e9=500_000_000,
    lot_size_e9=1_000_000_000,
    multiplier=1,
    minor_per_tick_lot=50,
    maximum_quantity_lots=1_000,
    maximum_notional_minor=10**12,
    initial_margin_bps=1_000,
)
ALICE = Account(account="alice", limits=Limits(maximum_open_orders=5, maximum_position_lots=100))
BOB = Account(account="bob", account_type="MARGIN", limits=Limits(maximum_messages_per_second=9))


class Town:
    """``stages``: by stage, one Partitions for each of its workers, with the partitions that it is to have."""

    def __init__(self, workers: Mapping[str, Iterable[Iterable[int]]] | None = None) -> None:
        """By default one worker of each stage has all its partitions; reference data and cash are there."""
        self.log = Log(seed=1)
        self.workers: dict[str, list[Partitions]] = {}
        for stage in STAGES:
            everything = [range(COUNTS.of(BY_NAME[stage.inbox]))]
            for mine in (workers or {}).get(stage.name, everything):
                worker = self._worker(stage)
                worker.take(TP(stage.inbox, it) for it in mine)
                self.workers.setdefault(stage.name, []).append(worker)
        self._define()

    def __getitem__(self, stage: str) -> Partitions:
        """The only worker of a stage."""
        (worker,) = self.workers[stage]
        return worker

    def order(self, account: str, client_order_id: str, side: Any, price_ticks: int, lots: int) -> None:
        """A GTC limit order, and all that follows from it."""
        self.command(
            PlaceOrder(
                account=account,
                client_order_id=client_order_id,
                instrument=X.symbol,
                side=side,
                order_type="LIMIT",
                time_in_force="GTC",
                quantity_lots=lots,
                price_ticks=price_ticks,
                at_ns=NOW_NS,
            )
        )

    def command(self, *commands: Any) -> None:
        """Commands of accounts, and all that follows from them."""
        for it in commands:
            place = ACCOUNT_COMMANDS, partition_of(it.account, COUNTS.accounts)
            self.log.records[place].append(codec.encode(AccountCommands(items=(it,))))
        self.settle()

    def settle(self) -> None:
        """Everybody works until nothing is left to do."""
        while any(self._advance(worker) for workers in self.workers.values() for worker in workers):
            pass

    def _advance(self, worker: Partitions) -> bool:
        moved = False
        for partition, owned in worker.owned.items():
            values = self.log.records[worker.stage.inbox, partition]
            new = [InboxRecord(it, 0, None, values[it]) for it in range(owned.fold.next_offset, len(values))]
            if new:
                worker.fold(Batch(worker.stage.inbox, partition, new))
                mouth = worker._outputs
                mouth.wait(mouth.mark())
                moved = True
        return moved

    def _worker(self, stage: Stage) -> Partitions:
        world = MemoryWorld(stage, self.log, MemoryDisk(self.log), COUNTS, "a")
        return Partitions(stage, CONFIG, world, lambda _: None)

    def _define(self) -> None:
        items = (
            DefineInstrument(command_id="i", instrument=X, at_ns=NOW_NS),
            DefineAccount(command_id="a", account=ALICE, at_ns=NOW_NS),
            DefineAccount(command_id="b", account=BOB, at_ns=NOW_NS),
            SetMark(command_id="m", instrument=X.symbol, price_ticks=200, at_ns=NOW_NS),
        )
        self.log.records[CONTROL, 0].append(codec.encode(ControlCommands(items=items)))
        self.settle()
        for name in "alice", "bob":
            self.command(
                Deposit(account=name, command_id="d", currency="USD", amount_minor=1_000_000, at_ns=NOW_NS)
            )


class Map:
    """A cluster that is what a test says: who has what, and that every inbox ends at 100."""

    def __init__(self) -> None:
        """Nobody has anything."""
        self.now: dict[tuple[str, int], str] = {}
        self.stale: dict[tuple[str, int], str] = {}

    async def owner(self, stage: str, partition: int, *, fresh: bool) -> str | None:
        """The stale answer, where there is one, until the fresh one is asked for."""
        place = stage, partition
        return self.now.get(place) if fresh else self.stale.get(place, self.now.get(place))

    async def ends(self, places: Iterable[TP]) -> dict[TP, int]:
        """100 everywhere."""
        return dict.fromkeys(places, 100)


def hosted(*workers: Partitions) -> list[Hosted]:
    """Stages that have all that they were assigned."""
    return [Hosted(worker.stage.name, lambda: None, worker, tables=tables_of(worker)) for worker in workers]


def tables_of(worker: Partitions) -> dict[str, Rows[Any, Any]]:
    """What the Faust tables of a worker show."""
    return {it.name: Rows(it, worker) for it in worker.stage.tables().sections.values()}


@asynccontextmanager
async def servers(
    groups: Iterable[list[Hosted]], cluster: Map, token: str | None = None
) -> AsyncIterator[list[ClientSession]]:
    """A server for each process, known to the cluster by what it owns, and a client of each."""
    async with AsyncExitStack() as stack:
        clients = []
        for group in groups:
            url = await stack.enter_async_context(
                serving(Views(group, COUNTS, cluster, token), "127.0.0.1", 0)
            )
            for it in group:
                cluster.now.update(
                    {(it.stage, p): url for p in (it.partitions.owned if it.partitions else ())}
                )
            clients.append(await stack.enter_async_context(ClientSession(url)))
        yield clients


async def get(client: ClientSession, path: str, status: int = 200) -> Any:
    """The JSON at a path, which must be answered with this status."""
    async with client.get(path) as response:
        body = await response.json()
        assert response.status == status, body
        return body
