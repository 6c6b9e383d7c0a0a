"""`trading audit`: the key of the seals, the proof that the log is as it was sealed, and the story of one order."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Table

from connectors.views.reference import moment
from infra.acts import acting
from infra.auditor.log import Log, Place
from infra.commands.kafka import engine_log
from infra.commands.shown import shown
from infra.errors import OperatorError
from infra.sealing import keys
from infra.sealing.findings import Verification
from infra.settings import Settings
from infra.topics_admin import sealed
from infra.trail import Step, trail_of_account, trail_of_order, trail_of_trade

SOURCES: Final[dict[str, Callable[[Settings], AbstractContextManager[Log]]]] = {"kafka": engine_log}
"""Where records come from: whatever gives a `Log`."""
NS_PER_MS: Final = 10**6
_from = click.option(
    "--from",
    "source",
    type=click.Choice(list(SOURCES)),
    default="kafka",
    show_default=True,
    help="What to read.",
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def audit() -> None:
    """Prove that the log is as it was sealed, and tell the story of one order, account or trade.

    \b
    Example:
      trading audit verify
      trading audit trail --account alice
    """  # noqa: D301


@audit.command()
@click.option("--rotate", is_flag=True, help="Take a new key; seals of the old one stay trusted.")
@_as_json
def keygen(*, rotate: bool, as_json: bool) -> None:
    """Make the Ed25519 key that seals the log; `trading up` does so at its first start.

    The audit worker takes a new key at its next start. Keep a copy of `seal.pub` where whoever has this machine cannot
    change it: a proof is worth as much as the public key that it is checked by.

    \b
    Example:
      trading audit keygen
    """  # noqa: D301
    settings = Settings.load()
    file = keys.key_file(settings)
    if rotate and file.exists():
        old = keys.private(settings).key_id
        with acting(settings, "ROTATE_AUDIT_KEY", "audit key", before={"key_id": old}) as deed:
            made = keys.generate(file, rotate=True)
            deed.after = {"key_id": made.key_id}
    else:
        made = keys.generate(file)
    public = file.with_name(keys.PUBLIC)
    if as_json:
        click.echo(json.dumps({"key_id": made.key_id, "private": str(file), "public": str(public)}))
    else:
        click.echo(f"key {made.key_id}: {file} (keep it secret), {public} (give it to whoever verifies)")


@audit.command()
@_from
@click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Only this topic; may be repeated.")
@click.option(
    "--public-key",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust exactly this key (PEM); may be repeated. Those beside the private key unless told.",
)
@click.option(
    "--unsealed-max",
    "unsealed_max_s",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Longest log time, in seconds, that a record may be without a seal.",
)
@_as_json
@click.pass_context
def verify(
    context: click.Context,
    *,
    source: str,
    topics: tuple[str, ...],
    files: tuple[Path, ...],
    unsealed_max_s: int,
    as_json: bool,
) -> None:
    """Check every seal, and every record that is still there against its seal.

    Each changed, missing, added or moved record is named, each forged or missing seal, and what has no seal.
    Records that retention has dropped are counted as expired. The exit code is 1 if anything was found.

    \b
    Example:
      trading audit verify --topic trades --json
    """  # noqa: D301
    from infra.sealing.verify import verify as verify_log

    settings = Settings.load()
    trusted = keys.trusted(settings, files)
    with SOURCES[source](settings) as log, _bar(Console(stderr=True)) as progress:
        places = _places(settings, log, topics)
        begun_s = time.monotonic()
        found = verify_log(
            log,
            trusted,
            places,
            now_ms=time.time_ns() // NS_PER_MS,
            unsealed_max_ms=unsealed_max_s * 1000,
            progress=progress,
        )
        took_s = time.monotonic() - begun_s
    if as_json:
        click.echo(json.dumps(found.as_json() | {"seconds": round(took_s, 3)}))
    else:
        _print(found, took_s)
    context.exit(1 if found.count else 0)


@audit.command()
@_from
@click.option("--order", metavar="ID", help="An order's id, or ACCOUNT/CLIENT_ORDER_ID.")
@click.option("--account", metavar="ACCOUNT", help="An account.")
@click.option("--trade", type=click.IntRange(min=0), metavar="ID", help="A trade's id.")
@_as_json
def trail(*, source: str, order: str | None, account: str | None, trade: int | None, as_json: bool) -> None:
    """Tell all that the log says of one order, account or trade, in its order, each with its place.

    A place is topic/partition/offset/index of the item in its record; behind it stands the seal that covers it.
    Prices are in ticks, quantities in lots, money in minor units, as they stand in the log.

    \b
    Example:
      trading audit trail --order alice/17
      trading audit trail --trade 42 --json
    """  # noqa: D301
    if sum(it is not None for it in (order, account, trade)) != 1:
        raise OperatorError("name one of --order, --account and --trade")
    settings = Settings.load()
    with SOURCES[source](settings) as log:
        places = _places(settings, log, ())
        if order is not None:
            steps = trail_of_order(log, places, _order(order))
        elif account is not None:
            steps = trail_of_account(log, places, account)
        else:
            assert trade is not None, "one of the three is named"
            steps = trail_of_trade(log, places, trade)
    if as_json:
        click.echo(json.dumps([_step(it) for it in steps]))
        return
    for line in _lines(steps):
        click.echo(line)


def _order(text: str) -> int | tuple[str, str]:
    account, slash, client_order_id = text.partition("/")
    if slash:
        return account, client_order_id
    if not text.isdecimal():
        raise OperatorError(f"{text!r} is neither an order's id nor ACCOUNT/CLIENT_ORDER_ID")
    return int(text)


def _places(settings: Settings, log: Log, topics: tuple[str, ...]) -> list[Place]:
    every = sealed(settings, log.topics())
    if unknown := set(topics) - {topic for topic, _ in every}:
        raise OperatorError(f"{', '.join(sorted(unknown))}: no such topic is sealed")
    return [place for place in every if not topics or place[0] in topics]


def _lines(steps: Sequence[Step]) -> Iterator[str]:
    """A line an item, in columns: time, place, its seal, what it is, what it says."""
    rows = [
        (
            moment(it.time_ms * NS_PER_MS)[:-7] + "Z",
            f"{it.topic}/{it.partition}/{it.offset}/{it.index}",
            "unsealed" if it.seal is None else f"seal {it.seal}",
            type(it.item).__name__,
            " ".join(f"{name}={value}" for name, value in _fields(it.item).items()),
        )
        for it in steps
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    for *columns, fields in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(columns, widths, strict=True))
        yield f"{'  '.join(cells)}  {fields}"


def _step(step: Step) -> dict[str, Any]:
    return {
        "topic": step.topic,
        "partition": step.partition,
        "offset": step.offset,
        "index": step.index,
        "time": moment(step.time_ms * NS_PER_MS),
        "seal": step.seal,
        "item": shown(step.item),
    }


def _fields(item: Any) -> dict[str, Any]:
    return {name: it for name, it in shown(item).items() if name != "type" and it not in (None, "", False)}


def _print(found: Verification, took_s: float) -> None:
    table = Table("topic", "partition", "seals", "expired", "records", "sealed to", "unsealed", "findings")
    for _, it in sorted(found.places.items()):
        to = moment(it.sealed_to_ms * NS_PER_MS)[:19] if it.seals else "-"
        counts = (it.partition, it.seals, it.expired_seals, it.records_checked)
        table.add_row(it.topic, *map(str, counts), to, str(it.unsealed_records), str(it.findings))
    Console().print(table)
    for finding in found.findings:
        click.echo(finding.line())
    if (more := found.count - len(found.findings)) > 0:
        click.echo(f"and {more} more")
    records = sum(it.records_checked for it in found.places.values())
    size_mb = sum(it.bytes_checked for it in found.places.values()) / 1e6
    click.echo(f"{records:,} records, {size_mb:,.1f} MB in {took_s:.1f} s")
    click.echo(f"{found.count} findings" if found.count else "Every seal holds.")


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Says on a terminal what is being read."""
    with console.status("reading the seals") as status:
        yield lambda what, done, total: status.update(f"{what} ({done + 1} of {total})")
