"""`trading broker`: the embedded broker alone."""

import click
from rich.console import Console

from infra.commands.progress import jar_bar, uninterrupted, until_interrupted
from infra.embedded.broker import BrokerError, EmbeddedBroker
from infra.engine import embedded_broker
from infra.processes import wait_until
from infra.settings import Settings

FOREVER = float("inf")


@click.command()
def broker() -> None:
    """Run the embedded broker alone, in the foreground, until Ctrl-C or SIGTERM; its data stay.

    \b
    Example:
      TRADING_DATA_FOLDER=/var/lib/trading trading broker
    """  # noqa: D301
    settings = Settings.load()
    console = Console()
    embedded = embedded_broker(settings)
    try:
        with until_interrupted():
            with jar_bar(console) as on_jar:
                embedded.start(settings.start_timeout_s, on_jar)
            console.print(f"Kafka listens on {embedded.bootstrap}; its data and log are in {embedded.folder}")
            wait_until(lambda: _is_dead(embedded), FOREVER)
            raise BrokerError(f"the broker stopped: {embedded.why_dead()}")
    finally:
        with uninterrupted():
            embedded.stop(settings.stop_timeout_s)


def _is_dead(embedded: EmbeddedBroker) -> bool:
    embedded.log.trim()
    return embedded.exit_code() is not None
