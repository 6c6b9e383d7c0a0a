"""`trading accounts` and `trading instruments`: reference data, from a file to control, and as control has it.

What differs from what is in force is sent, under a new id each time. An id made of the content alone would be
known to control when a file goes back to what it said an hour ago, and the old terms would not come back.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import msgspec

from infra.cluster import engine_log
from infra.commands.in_force import in_force
from infra.commands.outcomes import identity, new_id, refusal, timeout_option
from infra.desk import Outcome, open_desk
from infra.errors import OperatorError
from infra.reference_files import read_accounts, read_instruments
from infra.settings import Settings
from schemas.commands import DefineAccount, DefineInstrument
from schemas.events import CommandRefused
from schemas.reference import Account, Instrument
from tables.control import ControlTables

T = TypeVar("T", Account, Instrument)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print a JSON list, an object for each entry."
)


class Entry(NamedTuple):
    """What came of one entry of a file; `outcome` is None where nothing had to change."""

    name: str
    outcome: Outcome | None

    @property
    def word(self) -> str:
        """applied, unchanged or refused."""
        if self.outcome is None:
            return "unchanged"
        return "refused" if isinstance(self.outcome, CommandRefused) else "applied"


@click.group()
def accounts() -> None:
    """Apply a file of accounts, or list those in force.

    \b
    Example:
      trading accounts apply accounts.yaml
    """  # noqa: D301


@click.group()
def instruments() -> None:
    """Apply a file of instruments, or list those in force.

    \b
    Example:
      trading instruments apply instruments.yaml
    """  # noqa: D301


@accounts.command("apply")
@click.argument("file", type=_FILE)
@timeout_option
@_as_json
def apply_accounts(*, file: Path, timeout_s: float, as_json: bool) -> None:
    """Make the accounts of FILE.yaml (connectors/README.md has the form) what it says; others stay.

    Applying a file again changes nothing, but for limits that were changed since: they become the file's. The exit
    code is 1 if one was refused; the others are applied.

    \b
    Example:
      trading accounts apply accounts.yaml
    """  # noqa: D301
    wanted = {it.account: it for it in read_accounts(file)}

    def known(tables: ControlTables) -> dict[str, Account]:
        return {name: row.account for name, row in tables.accounts.items()}

    def define(account: Account) -> DefineAccount:
        return DefineAccount(command_id=new_id(), account=account)

    _report(_apply(wanted, known, define, timeout_s), as_json=as_json)


@instruments.command("apply")
@click.argument("file", type=_FILE)
@timeout_option
@_as_json
def apply_instruments(*, file: Path, timeout_s: float, as_json: bool) -> None:
    """Make the instruments of FILE.yaml (connectors/README.md has the form) what it says; others stay.

    Tick, lot, multiplier, kind and currency of a symbol never change. The exit code is 1 if one was refused; the
    others are applied.

    \b
    Example:
      trading instruments apply instruments.yaml
    """  # noqa: D301
    wanted = {it.symbol: it for it in read_instruments(file)}

    def known(tables: ControlTables) -> dict[str, Instrument]:
        return {name: row.instrument for name, row in tables.instruments.items()}

    def define(instrument: Instrument) -> DefineInstrument:
        return DefineInstrument(command_id=new_id(), instrument=instrument)

    _report(_apply(wanted, known, define, timeout_s), as_json=as_json)


@accounts.command("list")
@_as_json
def list_accounts(*, as_json: bool) -> None:
    """List the accounts in force, in lots and minor units.

    \b
    Example:
      trading accounts list --json
    """  # noqa: D301
    _list((row.account for _, row in sorted(_in_force().accounts.items())), as_json=as_json)


@instruments.command("list")
@_as_json
def list_instruments(*, as_json: bool) -> None:
    """List the instruments in force, as control has them: sizes in billionths, bounds in lots and minor units.

    \b
    Example:
      trading instruments list
    """  # noqa: D301
    _list((row.instrument for _, row in sorted(_in_force().instruments.items())), as_json=as_json)


def _apply(
    wanted: Mapping[str, T],
    known: Callable[[ControlTables], Mapping[str, T]],
    define: Callable[[T], DefineAccount | DefineInstrument],
    timeout_s: float,
) -> list[Entry]:
    """Send what differs from what is in force, and wait for the outcomes; in the file's order."""
    there = known(_in_force())
    commands = {name: define(it) for name, it in wanted.items() if there.get(name) != it}
    names = {command.command_id: name for name, command in commands.items()}

    def states(command: DefineAccount | DefineInstrument) -> tuple[T | None, T]:
        name = names[command.command_id]
        return there.get(name), wanted[name]

    outcomes: dict[str, Outcome] = {}
    if commands:
        with open_desk(Settings.load(), timeout_s) as desk:
            answers = desk.control(list(commands.values()), states)
            outcomes = dict(zip(commands, answers, strict=True))
    return [Entry(name, outcomes.get(name)) for name in wanted]


def _in_force() -> ControlTables:
    settings = Settings.load()
    with engine_log(settings) as log:
        return in_force(log, settings.env)


def _report(entries: Sequence[Entry], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_shape(entry) for entry in entries]))
    else:
        for entry in entries:
            it = entry.outcome
            why = f", {it.reason} ({it.reason_code}): {it.detail}" if isinstance(it, CommandRefused) else ""
            click.echo(f"{entry.name}: {entry.word}{why}")
    if refused := [entry.name for entry in entries if entry.word == "refused"]:
        raise OperatorError(f"{len(refused)} of {len(entries)} refused: {', '.join(refused)}")


def _shape(entry: Entry) -> dict[str, Any]:
    it = entry.outcome
    shown: dict[str, Any] = {"name": entry.name, "outcome": entry.word}
    if it is None:
        return shown
    return shown | identity(it) | (refusal(it) if isinstance(it, CommandRefused) else {})


def _list(rows: Iterable[Account | Instrument], *, as_json: bool) -> None:
    shown = [msgspec.to_builtins(row) for row in rows]
    if as_json:
        click.echo(json.dumps(shown))
        return
    for row in shown:
        name, *rest = row.items()
        click.echo(
            f"{name[1]}: " + ", ".join(f"{field}={_plain(it)}" for field, it in rest if it not in (None, ()))
        )


def _plain(value: object) -> str:
    if isinstance(value, dict):  # limits
        return "(" + ", ".join(f"{name}={it}" for name, it in value.items() if it is not None) + ")"
    return json.dumps(value) if isinstance(value, list) else str(value)
