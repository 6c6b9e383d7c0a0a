"""`trading archive restore`: a day brought back from its bucket alone, into a folder or cluster of its own."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from connectors.views.reference import moment
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.log import ArchiveLog
from infra.archive.restore import NS_PER_MS, Restored, plan, settings_of
from infra.archive.restore import restore as restore_day
from infra.archive.restored_config import overridden, secrets_of, write_config
from infra.archive.state import Day, State, read_state
from infra.commands.archived import archive_option, settings_at
from infra.commands.progress import jar_bar
from infra.commands.verification import public_key_option
from infra.embedded.broker import EmbeddedBroker
from infra.sealing import keys
from infra.settings import CONFIG_VARIABLE, Settings

UNFINISHED: Final = ".restoring"  # in the folder until all is there


@click.command()
@click.option("--day", "name", required=True, metavar="DAY", help="UTC day, as 2026-11-25.")
@click.option(
    "--to",
    "folder",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder of the engine to be: new, or empty.",
)
@archive_option
@public_key_option
@click.option(
    "--as-far-as-archived", is_flag=True, help="Take a day that is not over, or not wholly archived."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(
    *,
    name: str,
    folder: Path,
    archive_url: str | None,
    files: tuple[Path, ...],
    as_far_as_archived: bool,
    as_json: bool,
) -> None:
    """Rebuild a day from the archive alone: its topics, and the state that it began with.

    It takes the bucket and the public key of the seals. The topics come into a new embedded broker in FOLDER, or with
    TRADING_EMBEDDED_BROKER=false into the empty cluster at TRADING_KAFKA_BOOTSTRAP; the stages started there fold the
    day again, and end where the engine did. Killed, it is run again into another folder.

    \b
    Example:
      trading archive restore --day 2026-11-25 --to again --archive s3://bucket/engine --public-key seal.pub
    """  # noqa: D301
    given = settings_at(archive_url)
    day, trusted = Day.of(name), keys.trusted(given, files)
    bucket = Bucket.of(given)
    state = read_state(bucket, day.name, trusted)
    log = ArchiveLog(bucket)
    folder = folder.absolute()
    _demand_unused(folder)
    console = Console(stderr=as_json)
    base = given.model_copy(update={"data_folder": folder, "archive": False, "archive_url": ""})
    engine = settings_of(state, base)
    what = plan(log, state, engine, day, as_far_as_archived=as_far_as_archived)
    _claim(folder)  # only now: who is refused may try again with the same folder
    with _cluster(engine, console) as settings:
        done = restore_day(log, state, settings, what, report=console.print)
    keys.keep(folder / "audit", trusted.values())
    config = write_config(folder, base, state)
    (folder / UNFINISHED).unlink()
    if as_json:
        click.echo(json.dumps({"day": day.name, "config": str(config), **done._asdict()}))
    else:
        click.echo(_what_next(day, given, config, done, state))


def _demand_unused(folder: Path) -> None:
    """Refuses a folder that anything is in; a restore that was killed has left it half full."""
    if (folder / UNFINISHED).exists():
        raise ArchiveError(
            f"{folder} has a restore that did not end: remove it (and the topics, in a cluster of yours), and restore"
            " anew"
        )
    if folder.exists() and any(folder.iterdir()):
        raise ArchiveError(f"{folder} is not empty: a day is restored into a folder of its own")


def _claim(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / UNFINISHED).touch()


@contextmanager
def _cluster(settings: Settings, console: Console) -> Iterator[Settings]:
    """A fresh broker in the folder, while records come in; or the cluster that the settings name."""
    if not settings.embedded_broker:
        yield settings
        return
    broker = EmbeddedBroker(
        settings.data_folder / "broker", heap_mb=settings.broker_heap_mb, java_home=settings.java_home
    )
    with jar_bar(console) as on_jar:
        broker.start(settings.start_timeout_s, on_jar)
    try:
        yield settings.model_copy(update={"kafka_bootstrap": broker.bootstrap})
    finally:
        broker.stop(settings.stop_timeout_s)


def _what_next(day: Day, given: Settings, config: Path, done: Restored, state: State) -> str:
    against, secrets = overridden(given, os.environ), secrets_of(given)
    run, until = f"  {CONFIG_VARIABLE}={config} trading", moment(done.until_ms * NS_PER_MS)
    epoch = f"{state.manifest.env}, epoch {state.manifest.epoch}"
    lines = [
        f"{day.name} is restored in {config.parent}, up to {until}: {done.records} records, {done.rows} rows of state.",
        f"{done.waiting} orders were not taken in by then: intake takes them now." if done.waiting else "",
        f"Unset {', '.join(against)} first: they would go before what was restored." if against else "",
        f"Keep {', '.join(secrets)} in the environment: no secret is in {config.name}." if secrets else "",
        "Next:",
        f"{run} up      # the stages fold the day again",
        f"{run} status  # until there is no lag; then, with the folds of the day:",
        f"{run} check --state {day.name} --archive {state.bucket.url}",
        "Never:",
        f"  let it write to the archive that it came from ({state.bucket.url}), or to the first engine's Postgres;",
        f"  let both engines trade: new orders of both would have the same ids ({epoch});",
        "  delete the topic `restored`, or lower the retention of the others: their records are old.",
    ]
    return "\n".join(line for line in lines if line)
