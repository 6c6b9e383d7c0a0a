"""Acts: every deed of an operator is written to `audit` before it is done, and again with its outcome.

    with acting(settings, "SKIP_SINK_RECORD", "sink jdbc-trades", note=why, details={"offset": 17}) as deed:
        deed.before = {"next_offset": 17}
        ...  # do it
        deed.after = {"next_offset": 18}

A deed that cannot be written down is not done. Commands to the engine's inboxes go through `infra/desk.py`, which
writes their acts itself.
"""

import getpass
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple, Self

import msgspec

from infra.cluster import Outgoing, write
from infra.settings import Settings
from schemas import codec
from schemas.audit import Act, ActOutcome
from schemas.commands import (
    ActivateRules,
    CashCommand,
    ControlCommand,
    DefineAccount,
    DefineInstrument,
    Tick,
)
from schemas.topics import AUDIT

PROGRAM: Final = "trading"  # the command line; a gateway names itself


class Deed(msgspec.Struct, kw_only=True):
    """What somebody is about to do; ``before`` and ``after`` are the state of ``target``, as JSON can hold it.

    ``action`` is a verb in capitals (KILL, SET_LIMITS); ``target`` says whose: "account alice", "everyone".
    """

    action: str
    target: str
    command_id: str | None = None
    details: Any = None
    before: Any = None
    after: Any = None
    note: str | None = None
    act_id: str = msgspec.field(default_factory=lambda: f"act-{uuid.uuid4().hex}")


class Actor(NamedTuple):
    """Who acts, and from where: the operator that the settings name, the user of the system, its host."""

    operator: str
    os_user: str
    host: str
    program: str

    @classmethod
    def of(cls, settings: Settings, program: str = PROGRAM) -> Self:
        """Whoever runs this process."""
        user = _os_user()
        return cls(settings.operator or user, user, socket.gethostname(), program)

    def act(self, deed: Deed, outcome: ActOutcome, reason: str | None = None) -> Act:
        """The record of a deed: asked for, or what came of it."""
        return Act(
            act_id=deed.act_id,
            outcome=outcome,
            action=deed.action,
            target=deed.target,
            operator=self.operator,
            os_user=self.os_user,
            host=self.host,
            program=self.program,
            command_id=deed.command_id,
            details=_json(deed.details),
            before=_json(deed.before),
            after=_json(deed.after),
            reason=reason,
            note=deed.note,
            at_ns=time.time_ns(),
        )


@contextmanager
def acting(
    settings: Settings,
    action: str,
    target: str,
    *,
    note: str | None = None,
    details: Any = None,
    before: Any = None,
    program: str = PROGRAM,
) -> Iterator[Deed]:
    """Writes the act as ASKED, runs the block, and writes it as APPLIED, or as FAILED where the block raises.

    The block may set `before` and `after` of the deed that it is given.

    Raises:
        OperatorError: Kafka did not take the act; before the block, nothing has been done.

    """
    actor = Actor.of(settings, program)
    deed = Deed(action=action, target=target, note=note, details=details, before=before)
    _write(settings, actor.act(deed, "ASKED"))
    try:
        yield deed
    except BaseException as error:
        _write(settings, actor.act(deed, "FAILED", str(error) or type(error).__name__))
        raise
    _write(settings, actor.act(deed, "APPLIED"))


def deed_of(command: ControlCommand | CashCommand) -> Deed:
    """What a command to the engine is, as a deed: all of its fields are the details."""
    assert not isinstance(command, Tick), "the clock is no operator"
    match command:
        case DefineInstrument():
            target = f"instrument {command.instrument.symbol}"
        case DefineAccount():
            target = f"account {command.account.account}"
        case ActivateRules():
            target = "rules"
        case _:
            target = _scope(getattr(command, "account", None), getattr(command, "instrument", None))
    return Deed(
        action=_verb(type(command).__name__), target=target, command_id=command.command_id, details=command
    )


def _scope(account: str | None, instrument: str | None) -> str:
    named = (("account", account), ("instrument", instrument))
    return ", ".join(f"{kind} {name}" for kind, name in named if name is not None) or "everyone"


def _verb(name: str) -> str:
    """`SetLimits` gives SET_LIMITS."""
    return "".join(f"_{it}" if it.isupper() else it.upper() for it in name).removeprefix("_")


def _write(settings: Settings, act: Act) -> None:
    write(settings, [Outgoing(AUDIT, codec.encode(act), act.operator)])


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid-{os.getuid()}"


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value, order="sorted").decode()
