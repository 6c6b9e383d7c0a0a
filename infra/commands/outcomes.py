"""What an operator sees of a command's outcome, and the options that every such command has."""

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

import click

from infra.desk import TIMEOUT_S, Outcome
from infra.errors import OperatorError
from schemas.events import CommandRefused

F = TypeVar("F", bound=Callable[..., Any])


class RefusedError(OperatorError):
    """The engine refused a command; the message has its reason."""


def operator_options(function: F) -> F:
    """Add --id, --timeout and --json."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object."),
        timeout_option,
        click.option(
            "--id", "command_id", help="The command's id: a repeat is not done twice. Made up unless told."
        ),
    ):
        function = option(function)
    return function


def timeout_option(function: F) -> F:
    """Add --timeout."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0.1),
        default=TIMEOUT_S,
        show_default=True,
        help="Longest wait for an outcome, in seconds.",
    )(function)


def new_id() -> str:
    """Make up an id that nobody has."""
    return f"desk-{uuid.uuid4().hex[:20]}"


def report(outcome: Outcome, done: str, *, as_json: bool, **more: object) -> None:
    """Print what came of a command: `done` says it in a sentence, `more` goes into the JSON.

    Raises:
        RefusedError: it was refused.

    """
    if isinstance(outcome, CommandRefused):
        _refused(outcome, as_json=as_json)
    if as_json:
        click.echo(json.dumps({"outcome": "applied", **identity(outcome), **more}))
    else:
        again = ", at the first time this id was sent" if outcome.possible_resend else ""
        click.echo(f"{done}{again} (id {outcome.command_id})")


def identity(outcome: Outcome) -> dict[str, Any]:
    """Which command an outcome is of."""
    return {"command_id": outcome.command_id, "possible_resend": outcome.possible_resend}


def refusal(outcome: CommandRefused) -> dict[str, Any]:
    """Give a refusal's reason for JSON."""
    return {"reason": outcome.reason, "reason_code": outcome.reason_code, "detail": outcome.detail}


def in_words(names: Sequence[tuple[str, str | None]], everyone: str) -> str:
    """Say a scope: `account a, instrument X`, or `everyone` where nothing is named."""
    return ", ".join(f"{kind} {name}" for kind, name in names if name is not None) or everyone


def _refused(outcome: CommandRefused, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"outcome": "refused", **identity(outcome), **refusal(outcome)}))
    detail = f": {outcome.detail}" if outcome.detail else ""
    raise RefusedError(f"refused, {outcome.reason} ({outcome.reason_code}){detail}")
