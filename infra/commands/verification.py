"""A verification as an operator asks for it, and sees it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from connectors.views.reference import moment
from infra.sealing.findings import Verification

NS_PER_MS = 10**6

public_key_option = click.option(
    "--public-key",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust exactly this key (PEM); may be repeated. Those beside the private key unless told.",
)
behind_max_option = click.option(
    "--behind-max",
    "behind_max_s",
    type=click.IntRange(min=0),
    default=600,
    show_default=True,
    help="Longest log time, in seconds, that the archive may be behind the seals.",
)


def print_verification(found: Verification, took_s: float) -> None:
    """A table of the places, a line for each finding, and the sums."""
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
def bar(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Says on a terminal what is being read."""
    with console.status("reading the seals") as status:
        yield lambda what, done, total: status.update(f"{what} ({done + 1} of {total})")
