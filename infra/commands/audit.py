"""`trading audit`: the key of the seals, the proof that the log is as it was sealed, and the story of one order."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from connectors.views.reference import moment
from infra.acts import acting
from infra.auditor.log import Log, Place
from infra.cluster import engine_log
from infra.commands.archived import archive_option, settings_at
from infra.commands.verification import bar, behind_max_option, print_verification, public_key_option
from infra.errors import OperatorError
from infra.sealing import keys
from infra.sealing.chains import Keys
from infra.sealing.findings import Verification
from infra.sealing.verify import Progress, chosen
from infra.sealing.verify import verify as verify_log
from infra.settings import Settings
from infra.shown import shown
from infra.topics_admin import sealed
from infra.trail import Step, trail_of_account, trail_of_order, trail_of_trade


def _archive(settings: Settings) -> AbstractContextManager[Log]:
    from infra.archive.log import archive_log

    return archive_log(settings)


SOURCES: Final[dict[str, Callable[[Settings], AbstractContextManager[Log]]]] = {
    "kafka": engine_log,
    "archive": _archive,
}
"""Where records come from: whatever gives a `Log`. The archive needs its bucket alone."""
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
@archive_option
@click.option("--topic", "topics", multiple=True, metavar="TOPIC", help="Only this topic; may be repeated.")
@public_key_option
@click.option(
    "--unsealed-max",
    "unsealed_max_s",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Longest log time, in seconds, that a record may be without a seal.",
)
@behind_max_option
@_as_json
@click.pass_context
def verify(
    context: click.Context,
    *,
    source: str,
    archive_url: str | None,
    topics: tuple[str, ...],
    files: tuple[Path, ...],
    unsealed_max_s: int,
    behind_max_s: int,
    as_json: bool,
) -> None:
    """Check every seal, and every record that is still there against its seal.

    Each changed, missing, added or moved record is named, each forged or missing seal, and what has no seal.
    Records that retention has dropped are counted as expired. The exit code is 1 if anything was found.

    \b
    Example:
      trading audit verify --topic trades --json
    """  # noqa: D301
    settings = settings_at(archive_url)
    trusted = keys.trusted(settings, files)
    begun_s = time.monotonic()
    with bar(Console(stderr=True)) as progress:
        if source == "archive":
            found = _verify_archive(
                settings, trusted, topics, (unsealed_max_s * 1000, behind_max_s * 1000), progress
            )
        else:
            found = _verify_log(settings, trusted, topics, unsealed_max_s * 1000, progress)
    took_s = time.monotonic() - begun_s
    if as_json:
        click.echo(json.dumps(found.as_json() | {"seconds": round(took_s, 3)}))
    else:
        print_verification(found, took_s)
    context.exit(1 if found.count else 0)


@audit.command()
@_from
@archive_option
@click.option("--order", metavar="ID", help="An order's id, or ACCOUNT/CLIENT_ORDER_ID.")
@click.option("--account", metavar="ACCOUNT", help="An account.")
@click.option("--trade", type=click.IntRange(min=0), metavar="ID", help="A trade's id.")
@_as_json
def trail(
    *,
    source: str,
    archive_url: str | None,
    order: str | None,
    account: str | None,
    trade: int | None,
    as_json: bool,
) -> None:
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
    settings = settings_at(archive_url)
    with SOURCES[source](settings) as log:
        places = _sealed(source, settings, log)
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


def _verify_log(
    settings: Settings, trusted: Keys, topics: tuple[str, ...], unsealed_max_ms: int, progress: Progress
) -> Verification:
    with engine_log(settings) as log:
        return verify_log(
            log,
            trusted,
            chosen(sealed(settings, log.topics()), topics),
            now_ms=time.time_ns() // NS_PER_MS,
            unsealed_max_ms=unsealed_max_ms,
            restored_from={place: moved.runs[0][1] for place, moved in log.offsets.items()},
            progress=progress,
        )


def _verify_archive(
    settings: Settings,
    trusted: Keys,
    topics: tuple[str, ...],
    times_ms: tuple[int, int],
    progress: Progress,
) -> Verification:
    from infra.archive.bucket import Bucket
    from infra.archive.proof import verify_archive

    unsealed_max_ms, behind_max_ms = times_ms
    _, found = verify_archive(
        Bucket.of(settings),
        trusted,
        settings,
        topics=topics,
        unsealed_max_ms=unsealed_max_ms,
        behind_max_ms=behind_max_ms,
        progress=progress,
    )
    return found


def _order(text: str) -> int | tuple[str, str]:
    account, slash, client_order_id = text.partition("/")
    if slash:
        return account, client_order_id
    if not text.isdecimal():
        raise OperatorError(f"{text!r} is neither an order's id nor ACCOUNT/CLIENT_ORDER_ID")
    return int(text)


def _sealed(source: str, settings: Settings, log: Log) -> list[Place]:
    if source == "kafka":
        return list(sealed(settings, log.topics()))
    from infra.archive.proof import sealed_places

    return sealed_places(settings, log)


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
