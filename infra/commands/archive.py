"""`trading archive`: what is kept for good, in a bucket or a folder; each command's module is imported when it runs."""

from typing import Final

import click

from infra.cli import Commands, Targets

COMMANDS: Final[Targets] = {
    "status": (
        "infra.commands.archive_status:status",
        "Show how far each topic is archived, and what is held for it.",
    ),
    "list": ("infra.commands.archive_read:show_list", "List what is archived: days, topics, offsets, sizes."),
    "export": ("infra.commands.archive_read:export", "Write records of the archive as NDJSON or Parquet."),
    "verify": ("infra.commands.archive_verify:verify", "Prove the archive by its seals, and by Kafka."),
    "restore": ("infra.commands.archive_restore:restore", "Rebuild a day from the archive alone."),
    "compact": ("infra.commands.archive_compact:command", "Make few files of a closed day's many."),
}


@click.group(cls=Commands, targets=COMMANDS)
def archive() -> None:
    """What is kept for good: every record of every topic, in a bucket or a folder.

    \b
    Example:
      trading archive list --day 2026-11-25
      trading archive verify --archive s3://bucket/engine
    """  # noqa: D301
