"""One reconciliation: both sides, the breaks, and the record of it."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import msgspec

from infra.acts import acting
from infra.auditor.log import Log
from infra.cluster import Outgoing, counts_of, write
from infra.reconciliation.breaks import Break, compare, explain, open_breaks, records_of
from infra.reconciliation.holdings import Key, engine_state, instruments, postgres_holdings, replayed
from infra.reconciliation.statement import Units, covered, read_statement
from infra.settings import Settings
from schemas import codec
from schemas.envelopes import Reconciliations
from schemas.partitioner import partition_of
from schemas.risk_events import BreakClosed, BreakFound, ReconciliationEvent
from schemas.topics import RISK_EVENTS

POSTGRES: Final = "postgres"
LOOK_S: Final = 0.5  # between two looks at sides that are still on their way
Source = Callable[[Settings], AbstractContextManager[Log]]


class Result(msgspec.Struct, frozen=True):
    """What a reconciliation found: how many holdings were compared, the breaks, and what was said of them."""

    against: str
    compared: int
    breaks: tuple[Break, ...]
    found: tuple[BreakFound, ...]
    closed: tuple[BreakClosed, ...]
    units: Units


def reconcile(
    settings: Settings, log: Log, against: str, other: Path | Source | None, timeout_s: float
) -> Result:
    """Compares the engine with a statement's file, a log's replay, or (None) Postgres, and writes down what it finds.

    Raises:
        OperatorError: a side cannot be read, or Kafka does not take the record.

    """
    with acting(settings, "RECONCILE", "positions and balances", details={"against": against}) as deed:
        units = Units(instruments(log, settings.env))
        compared, breaks = _breaks(settings, log, other, units, timeout_s)
        explain(log, breaks)
        said = records_of(breaks, open_breaks(log, against), against, time.time_ns())
        _write(settings, said)
        found = tuple(it for it in said if isinstance(it, BreakFound))
        closed = tuple(it for it in said if isinstance(it, BreakClosed))
        deed.after = {"compared": compared, "breaks": len(found), "closed": len(closed)}
    return Result(against, compared, tuple(breaks.values()), found, closed, units)


def _breaks(
    settings: Settings, log: Log, other: Path | Source | None, units: Units, timeout_s: float
) -> tuple[int, dict[Key, Break]]:
    """Looks again while there are differences and time is left: what is under way is no break."""
    deadline = time.monotonic() + timeout_s
    while True:
        compared, found = _look(settings, log, other, units)
        if not found or time.monotonic() > deadline:
            return compared, found
        time.sleep(LOOK_S)


def _look(
    settings: Settings, log: Log, other: Path | Source | None, units: Units
) -> tuple[int, dict[Key, Break]]:
    counts = counts_of(settings)
    if isinstance(other, Path):
        theirs = read_statement(other, units)
        ours = covered(theirs, engine_state(log, settings.env, counts).holdings)
    elif other is None:
        ours, theirs = engine_state(log, settings.env, counts).holdings, postgres_holdings(settings)
    else:
        ours, checkpoints = engine_state(log, settings.env, counts)
        with other(settings) as source:
            theirs = replayed(source, log, checkpoints, counts)
    return len(ours.keys() | theirs.keys()), compare(ours, theirs)


def _write(settings: Settings, said: Iterable[ReconciliationEvent]) -> None:
    partitions = settings.account_partitions
    records = [
        Outgoing(
            RISK_EVENTS,
            codec.encode(Reconciliations(items=(it,))),
            it.account,
            partition_of(it.account, partitions),
        )
        for it in said
    ]
    if records:
        write(settings, records)
