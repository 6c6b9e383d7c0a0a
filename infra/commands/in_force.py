"""What control has in force, read from its changelog: it takes Kafka alone, and no worker's address."""

import time
from typing import Any, Final

import msgspec

from connectors.views.reference import Reference
from infra.auditor.cut import Checkpoint, changelogs, last_checkpoint
from infra.auditor.log import Log
from infra.desk import States
from infra.errors import OperatorError
from schemas.commands import Halt, Kill, Resume
from schemas.topics import CONTROL
from tables.control import ControlTables, SwitchRow

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


def switch_states(log: Log, env: str) -> States:
    """Give what says which halt and kill were on, as of now, and which are after a command to control.

    A kill must not wait: this looks up control's last checkpoint only, which is read once the command is applied.
    """
    latest = _latest(log, env)

    def states(command: Halt | Kill | Resume) -> tuple[Any, Any]:
        tables = ControlTables() if latest is None else _load(log, latest, ("halts", "kills"))
        account, instrument = getattr(command, "account", None), command.instrument
        kill = tables.kills.get((account, instrument))
        before = {
            "halt": _shown(tables.halts.get(instrument) if account is None else None),
            "kill": _shown(kill),
        }
        match command:
            case Halt():
                return before, before | {"halt": _shown(SwitchRow(command.command_id, allow_reducing=False))}
            case Kill():
                on = SwitchRow(command.command_id, command.allow_reducing)
                return before, before | {"kill": _shown(on)}
            case Resume():
                return before, {"halt": None, "kill": None}

    return states


def units_in(tables: ControlTables) -> Reference:
    """Ticks, lots and minor units of the instruments in force."""
    reference = Reference()
    for row in tables.instruments.values():
        reference.define(row.instrument)
    return reference


def _shown(switch: SwitchRow | None) -> dict[str, Any] | None:
    return None if switch is None else msgspec.structs.asdict(switch)


def _latest(log: Log, env: str) -> Checkpoint | None:
    """Give the checkpoint of the replica that is furthest."""
    known = (last_checkpoint(log, name, 0) for name in changelogs(log, env, "control"))
    return max(filter(None, known), key=lambda it: it.meta.next_offset, default=None)


def _load(
    log: Log, checkpoint: Checkpoint, sections: tuple[str, ...] = ("instruments", "accounts")
) -> ControlTables:
    tables, place = ControlTables(), (checkpoint.changelog, 0)
    wanted = {getattr(tables, name).code for name in sections}
    for record in log.read(place, (log.bounds(place)[0], checkpoint.end)):
        if record.key is not None and record.key[0] in wanted:
            tables.load(record.key, record.value)
    return tables
