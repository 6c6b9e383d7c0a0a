"""`trading skip`: an operator's decision that one inbox record is a no-op, on every replica."""

import json
import time
from typing import Any, cast

import click

from infra.acts import Actor, acting
from infra.auditor.cut import changelogs, last_checkpoint
from infra.auditor.log import Log
from infra.cluster import Outgoing, counts_of, engine_log, write
from infra.errors import OperatorError
from infra.settings import Settings
from infra.shown import shown
from schemas import codec
from schemas.envelopes import Envelope, SkippedRecord
from schemas.topics import BY_NAME, INBOXES, ORDER_STATES, SKIPS, inbox_of


class SkipRefusedError(OperatorError):
    """The record cannot be made a no-op; the message says why."""


@click.command()
@click.argument("stage", type=click.Choice([*INBOXES, ORDER_STATES]))
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--index", type=click.IntRange(min=0), help="Only this item of the record, from 0.")
@click.option("--note", required=True, metavar="WHY", help="Why, for the audit.")
@click.option("--json", "as_json", is_flag=True, help="Print what was skipped as one JSON object.")
def skip(*, stage: str, partition: int, offset: int, index: int | None, note: str, as_json: bool) -> None:
    """Make the record at OFFSET of a stage's inbox, or one item of it, a no-op, on every replica.

    For a record at which a rule fails: the worker's last line names it. Refused if any replica of the stage has passed
    it, as replicas would differ then. A stage reads this at its start: a worker that stays down must be started again.

    \b
    Example:
      trading skip risk 2 4711 --index 0 --note "rule bug 12: amount of zero"
    """  # noqa: D301
    settings = Settings.load()
    with engine_log(settings) as log:
        items = _items(log, stage, partition, offset, settings)
        if index is not None and index >= len(items):
            raise SkipRefusedError(
                f"{stage} {partition} {offset} has {len(items)} items: --index is too large"
            )
        _refuse_if_passed(log, settings, stage, partition, offset)
        # A worker that runs may be past it in memory: it says so in its next checkpoint.
        time.sleep(2 * settings.checkpoint_interval_ms / 1000)
        _refuse_if_passed(log, settings, stage, partition, offset)
    record = SkippedRecord(
        stage=stage,
        partition=partition,
        offset=offset,
        index=index,
        operator=Actor.of(settings).operator,
        note=note,
        at_ns=time.time_ns(),
    )
    place = "/".join(str(it) for it in (stage, partition, offset, index) if it is not None)
    skipped = items if index is None else [items[index]]
    before = {"is_skipped": False}
    with acting(
        settings, "SKIP", f"inbox {place}", note=note, details={"skipped": skipped}, before=before
    ) as deed:
        write(settings, [Outgoing(SKIPS, codec.encode(record), place)])
        deed.after = {"is_skipped": True}
    if as_json:
        click.echo(json.dumps({"stage": stage, "partition": partition, "offset": offset, "skipped": skipped}))
        return
    click.echo(f"skipped at {stage}, partition {partition}, offset {offset}, from the stage's next start on:")
    for item in skipped:
        click.echo(f"  {json.dumps(item)}")


def _items(log: Log, stage: str, partition: int, offset: int, settings: Settings) -> list[Any]:
    """What the record holds, for people; a record that no codec reads is one item of hex."""
    inbox = BY_NAME[inbox_of(stage)]
    if partition >= (count := counts_of(settings).of(inbox)):
        raise SkipRefusedError(f"{stage} has {count} partitions, from 0: there is no {partition}")
    start, end = log.bounds((inbox.name, partition))
    if not start <= offset < end:
        raise SkipRefusedError(
            f"{inbox.name} {partition} holds offsets from {start} to {end - 1}: {offset} is none of them"
        )
    value = next(log.read((inbox.name, partition), (offset, offset + 1))).value or b""
    try:
        return [shown(item) for item in cast("Envelope", codec.decode(value)).items]
    except codec.DecodeError:
        return [value.hex()]


def _refuse_if_passed(log: Log, settings: Settings, stage: str, partition: int, offset: int) -> None:
    for changelog in changelogs(log, settings.env, stage):
        checkpoint = last_checkpoint(log, changelog, partition)
        if checkpoint is not None and checkpoint.meta.next_offset > offset:
            replica = changelog.removeprefix(f"{settings.env}-{stage}-").removesuffix("-changelog")
            raise SkipRefusedError(
                f"replica {replica} of {stage} has passed offset {offset} of partition {partition} (it goes on at"
                f" {checkpoint.meta.next_offset}): what it decided there holds; correct it by a new command"
            )
