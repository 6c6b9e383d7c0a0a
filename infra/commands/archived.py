"""How a command names the archive that it reads: another one than the settings', or theirs."""

import click

from infra.settings import Settings

archive_option = click.option(
    "--archive",
    "archive_url",
    metavar="URL",
    help="Where the archive is, file:///FOLDER or s3://BUCKET/PREFIX; that of the settings unless told.",
)


def settings_at(archive_url: str | None) -> Settings:
    """The settings, with the archive that was named; SettingsError where that is no address."""
    return Settings.load() if archive_url is None else Settings.load(archive_url=archive_url)
