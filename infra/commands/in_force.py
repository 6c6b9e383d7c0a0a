"""What control has in force, read from its changelog: it takes Kafka alone, and no worker's address."""

import time
from typing import Final

from connectors.views.reference import Reference
from infra.auditor.cut import Checkpoint, changelogs, last_checkpoint
from infra.auditor.log import Log
from infra.errors import OperatorError
from schemas.topics import CONTROL
from tables.control import ControlTables

TIMEOUT_S: Final = 15.0  # control checkpoints twice a second, and a restart takes a few seconds
POLL_S: Final = 0.05


def in_force(log: Log, env: str, timeout_s: float = TIMEOUT_S) -> ControlTables:
    """Give instruments and accounts as they are after all that control was asked before this call.

    A checkpoint may be half a second old, so this waits for the one that covers control's whole inbox.

    Raises:
        OperatorError: there is none in time.

    """
    asked = log.bounds((CONTROL, 0))[1]
    until = time.monotonic() + timeout_s
    while True:
        latest = _latest(log, env)
        if latest is not None and latest.meta.next_offset >= asked:
            return _load(log, latest)
        if time.monotonic() > until:
            raise OperatorError(
                f"control has not taken in what it was asked within {timeout_s:.0f} s: see `trading status`"
                " whether its worker runs, and TRADING_ENV"
            )
        time.sleep(POLL_S)


def latest_tables(log: Log, env: str) -> ControlTables:
    """Give instruments and accounts of the last checkpoint, however old; none before the first."""
    latest = _latest(log, env)
    return ControlTables() if latest is None else _load(log, latest)


def units_in(tables: ControlTables) -> Reference:
    """Ticks, lots and minor units of the instruments in force."""
    reference = Reference()
    for row in tables.instruments.values():
        reference.define(row.instrument)
    return reference


def _latest(log: Log, env: str) -> Checkpoint | None:
    """Give the checkpoint of the replica that is furthest."""
    known = (last_checkpoint(log, name, 0) for name in changelogs(log, env, "control"))
    return max(filter(None, known), key=lambda it: it.meta.next_offset, default=None)


def _load(log: Log, checkpoint: Checkpoint) -> ControlTables:
    tables, place = ControlTables(), (checkpoint.changelog, 0)
    wanted = {tables.instruments.code, tables.accounts.code}
    for record in log.read(place, (log.bounds(place)[0], checkpoint.end)):
        if record.key is not None and record.key[0] in wanted:
            tables.load(record.key, record.value)
    return tables
