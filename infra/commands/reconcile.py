"""`trading reconcile`: the engine's positions and balances against what others say."""

import json
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from connectors.views.reference import moment
from infra.cluster import engine_log
from infra.commands.archived import archive_option, settings_at
from infra.commands.audit import SOURCES
from infra.errors import OperatorError
from infra.reconciliation.breaks import Break
from infra.reconciliation.run import POSTGRES, Result
from infra.reconciliation.run import reconcile as run
from schemas.risk_events import BreakFound

HOUR_NS: Final = 3_600 * 10**9
SHOWN_CAUSES: Final = 5


@click.command()
@click.option(
    "--against",
    required=True,
    metavar=f"[{POSTGRES}|{'|'.join(SOURCES)}|FILE.csv]",
    help="Postgres' tables, a replay of the archive or of Kafka's log, or a statement from outside.",
)
@click.option(
    "--name",
    default="statement",
    show_default=True,
    help="Whose statement a file is: breaks are followed under it from day to day.",
)
@click.option(
    "--timeout",
    "timeout_s",
    default=10.0,
    show_default=True,
    help="Longest wait for sides that are still on their way, in seconds.",
)
@archive_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def reconcile(
    context: click.Context,
    *,
    against: str,
    name: str,
    timeout_s: float,
    archive_url: str | None,
    as_json: bool,
) -> None:
    """Compare the engine's positions and balances with Postgres, a replay, or a statement; list the breaks.

    Each break has the trades behind it and its age, and is written to `risk-events`, so that the next run knows how
    old it is. The exit code is 1 if there are any. A statement is a CSV file with the columns account, instrument,
    currency, quantity, amount: an instrument with its quantity or a currency with its amount, as decimals.

    \b
    Example:
      trading reconcile --against postgres
      trading reconcile --against custodian-2026-11-25.csv --name custodian --json
    """  # noqa: D301
    settings = settings_at(archive_url)
    with engine_log(settings) as log:
        if against == POSTGRES:
            result = run(settings, log, POSTGRES, None, timeout_s)
        elif against in SOURCES:
            result = run(settings, log, f"replay of {against}", SOURCES[against], timeout_s)
        elif (path := Path(against)).is_file():
            result = run(settings, log, name, path, 0.0)
        else:
            raise OperatorError(
                f"{against} is neither {POSTGRES}, {', '.join(SOURCES)}, nor a file that is there"
            )
    if as_json:
        click.echo(json.dumps(_shape(result)))
    else:
        _print(result)
    context.exit(1 if result.breaks else 0)


def _shape(result: Result) -> dict[str, Any]:
    return {
        "against": result.against,
        "ok": not result.breaks,
        "compared": result.compared,
        "breaks": [
            {
                "break_id": said.break_id,
                "account": said.account,
                "instrument": said.instrument,
                "currency": said.currency,
                "engine": _decimals(result, it, it.engine),
                "other": _decimals(result, it, it.other),
                **it.values(),
                "since": None if said.since_ns is None else moment(said.since_ns),
                "first_seen": moment(said.first_seen_ns),
                "age_s": (said.at_ns - said.first_seen_ns) // 10**9,
                "cause_count": it.cause_count,
                "causes": msgspec.to_builtins(it.causes),
            }
            for it, said in zip(result.breaks, result.found, strict=True)
        ],
        "closed": [it.break_id for it in result.closed],
    }


def _decimals(result: Result, it: Break, values: tuple[int, ...] | None) -> str:
    return result.units.text(it.key, None if values is None else values[0])


def _print(result: Result) -> None:
    for it, said in zip(result.breaks, result.found, strict=True):
        ours, theirs = (_decimals(result, it, values) for values in (it.engine, it.other))
        what = f"{ours}, and {result.against} says {theirs}"
        if ours == theirs:
            what = f"{ours} in both, but {_differing(it)}"
        click.echo(f"{it.key}: the engine has {what}; {_age(said)}")
        for cause in it.causes[-SHOWN_CAUSES:]:
            click.echo(f"  {moment(cause.at_ns)} {cause.kind} {cause.source_id}")
        if it.cause_count > SHOWN_CAUSES:
            click.echo(f"  and {it.cause_count - SHOWN_CAUSES} earlier")
    for closed in result.closed:
        click.echo(f"{closed.break_id}: closed, first seen {moment(closed.first_seen_ns)}")
    count = len(result.breaks)
    click.echo(f"{result.compared} holdings compared with {result.against}: {count or 'no'} breaks")


def _differing(it: Break) -> str:
    values = it.values()
    ours, theirs = values["engine_values"] or {}, values["other_values"] or {}
    return ", ".join(
        f"{name} {ours.get(name, 0)} is {theirs.get(name, 0)} there (minor units)"
        for name in (ours or theirs)
        if ours.get(name, 0) != theirs.get(name, 0)
    )


def _age(said: BreakFound) -> str:
    hours = (time.time_ns() - said.first_seen_ns) // HOUR_NS
    since = "" if said.since_ns is None else f"they differ since {moment(said.since_ns)}, "
    return f"{since}first seen {moment(said.first_seen_ns)} ({hours} h ago)"
