"""What accounts hold, by whoever says so: the engine's committed tables, Postgres, or a replay of the log."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from agents.stage.errors import StageError
from agents.stage.fold import Fold, InboxRecord
from infra.auditor.agreement import entries_of, loaded
from infra.auditor.audit import skips_by_stage
from infra.auditor.cut import Checkpoint, changelogs, last_checkpoint
from infra.auditor.log import AuditError, Log, LogRecord
from infra.database import connected
from infra.settings import Settings
from schemas.reference import Instrument
from schemas.topics import ACCOUNT_EVENTS, PartitionCounts
from tables.control import ControlTables
from tables.settlement import SettlementTables

SETTLEMENT: Final = "settlement"


class Key(NamedTuple):
    """Whose holding of what: an instrument, or cash of a currency."""

    account: str
    asset: str
    is_cash: bool

    def __str__(self) -> str:
        """`alice BTC-USD`, `alice cash USD`."""
        return f"{self.account} cash {self.asset}" if self.is_cash else f"{self.account} {self.asset}"


Values = tuple[int, ...]
"""Of a position its lots, cost and realised profit; of cash its amount and what of it is unsettled; minor units."""
NAMES: Final = {False: ("quantity", "open_cost", "realised_profit"), True: ("cash", "unsettled")}

Holdings = dict[Key, Values]
"""What is nothing at all (all values 0) is the same as no holding."""


class EngineState(NamedTuple):
    """What the engine holds, and the checkpoints of settlement that say so, by partition."""

    holdings: Holdings
    checkpoints: Mapping[int, Checkpoint]


def engine_state(log: Log, env: str, counts: PartitionCounts) -> EngineState:
    """The committed tables of settlement; AuditError where there is no checkpoint yet."""
    holdings: Holdings = {}
    checkpoints = {}
    for partition in range(counts.accounts):
        checkpoint = checkpoints[partition] = _furthest(log, env, SETTLEMENT, partition)
        tables = loaded(SettlementTables(), entries_of(log, checkpoint, partition))
        holdings |= holdings_of(tables)
    return EngineState(holdings, checkpoints)


def instruments(log: Log, env: str) -> Sequence[Instrument]:
    """What control has defined."""
    checkpoint = _furthest(log, env, "control", 0)
    tables = loaded(ControlTables(), entries_of(log, checkpoint, 0))
    return [row.instrument for row in tables.instruments.values()]


def holdings_of(tables: SettlementTables) -> Holdings:
    """What one partition's tables hold."""
    found: Holdings = {}
    for (account, instrument), held in tables.positions.items():
        values = held.quantity_lots, held.open_cost_minor, held.realised_profit_minor
        found[Key(account, instrument, is_cash=False)] = values
    for (account, currency), row in tables.balances.items():
        found[Key(account, currency, is_cash=True)] = row.cash_minor, row.unsettled_minor
    return found


def replayed(log: Log, live: Log, checkpoints: Mapping[int, Checkpoint], counts: PartitionCounts) -> Holdings:
    """A fold of settlement's inbox, by the stage's own rules, up to where the engine's checkpoints stand.

    An archive is a minute or more behind: what it has not yet is read from the live log.

    Raises:
        AuditError: the inbox is not there from its start on, or not without a hole, or is not as the rules have it.

    """
    from infra.worker import stage_named

    holdings: Holdings = {}
    skips = skips_by_stage(live)
    for partition, checkpoint in checkpoints.items():
        fold = Fold(stage_named(SETTLEMENT), counts, partition)
        fold.skips = skips.get((SETTLEMENT, partition), frozenset())
        fold.begin()
        try:
            for record in _inbox(log, live, partition, checkpoint.meta.next_offset):
                fold.apply(InboxRecord(*record))
        except StageError as error:
            raise AuditError(
                f"the replay of {ACCOUNT_EVENTS} {partition} stops at {error.offset}: {error.reason}"
            ) from error
        tables: Any = fold.tables
        holdings |= holdings_of(tables)
    return holdings


def _inbox(log: Log, live: Log, partition: int, end: int) -> Iterator[LogRecord]:
    place = ACCOUNT_EVENTS, partition
    begin, behind = log.bounds(place)
    if begin:
        raise AuditError(
            f"{ACCOUNT_EVENTS} {partition} is there from {begin} on: without its start nothing can be replayed"
        )
    yield from log.read(place, (0, min(behind, end)))
    if behind < end:
        kept = live.bounds(place)[0]
        if kept > behind:
            raise AuditError(f"{ACCOUNT_EVENTS} {partition} from {behind} to {kept} is nowhere any more")
        yield from live.read(place, (behind, end))


def postgres_holdings(settings: Settings) -> Holdings:
    """The tables `positions` and `balances`, in one snapshot; DatabaseError where they cannot be read."""
    return asyncio.run(_postgres(settings))


async def _postgres(settings: Settings) -> Holdings:
    async with (
        connected(settings) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        held = await connection.fetch(
            "SELECT account, instrument, quantity_lots, open_cost_minor, realised_profit_minor"
            " FROM trading.positions WHERE epoch = $1",
            settings.epoch,
        )
        cash = await connection.fetch(
            "SELECT account, currency, cash_minor, unsettled_minor FROM trading.balances WHERE epoch = $1",
            settings.epoch,
        )
    found: Holdings = {Key(row[0], row[1], is_cash=False): tuple(row)[2:] for row in held}
    return found | {Key(row[0], row[1], is_cash=True): tuple(row)[2:] for row in cash}


def _furthest(log: Log, env: str, stage: str, partition: int) -> Checkpoint:
    names = changelogs(log, env, stage)
    known = [it for name in names if (it := last_checkpoint(log, name, partition)) is not None]
    if not known:
        raise AuditError(f"{stage} {partition} has no checkpoint: has the engine ever run?")
    return max(known, key=lambda it: it.meta.next_offset)
