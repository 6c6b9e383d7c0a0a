"""The command `trading`. A command's module is imported when it is run: `trading --help` imports none."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import click

from infra.errors import OperatorError

COMMANDS: Final = {
    "up": ("infra.commands.up:up", "Run the whole engine: broker, topics, workers, views."),
    "demo": ("infra.demo.command:demo", "Run a recorded market session through the engine, and check it."),
    "simulate": ("infra.simulate:simulate", "Run the rules with no Kafka: commands in, events out."),
    "send": ("infra.commands.send:send", "Send orders from a file (NDJSON or CSV) into `orders`."),
    "status": (
        "infra.commands.status:status",
        "Show stages, partitions, lag, checkpoints and the last trade.",
    ),
    "accounts": ("infra.commands.reference:accounts", "Apply a file of accounts, or list them."),
    "instruments": ("infra.commands.reference:instruments", "Apply a file of instruments, or list them."),
    "deposit": ("infra.commands.cash:deposit", "Add cash to an account."),
    "withdraw": ("infra.commands.cash:withdraw", "Take free cash from an account."),
    "limits": ("infra.commands.desk:limits", "Change an account's limits."),
    "kill": (
        "infra.commands.desk:kill",
        "Cancel all orders of an account, an instrument or everyone, and refuse new.",
    ),
    "halt": ("infra.commands.desk:halt", "Halt an instrument, or all."),
    "resume": ("infra.commands.desk:resume", "Lift a halt or a kill."),
    "mass-cancel": ("infra.commands.desk:mass_cancel", "Cancel the working orders that match."),
    "mark": ("infra.commands.desk:mark", "Set an instrument's mark price."),
    "dead-letters": (
        "infra.commands.dead_letters:dead_letters",
        "List, show and replay what could not be read.",
    ),
    "skip": ("infra.commands.skip:skip", "Make one inbox record a no-op, on every replica."),
    "sinks": (
        "infra.commands.sinks:sinks",
        "Apply, show, restart the connectors; skip what one cannot store.",
    ),
    "check": ("infra.commands.check:check", "Audit the topics: conservation, pairs, chains, tables, views."),
    "audit": (
        "infra.commands.audit:audit",
        "Prove that the log is as it was sealed; tell one order's story.",
    ),
    "report": (
        "infra.commands.report:report",
        "Write a day's report: orders, trades, positions, obligations.",
    ),
    "archive": (
        "infra.commands.archive:archive",
        "List, export, prove and bring back what is kept for good.",
    ),
    "reconcile": (
        "infra.commands.reconcile:reconcile",
        "Compare positions and balances with Postgres, a replay, a statement.",
    ),
    "bench": ("infra.bench.command:bench", "Measure how fast the engine is on this machine."),
    "topics": ("infra.commands.topics:topics", "Make and list the engine's topics."),
    "db": ("infra.commands.db:db", "Make and keep the tables in Postgres."),
    "broker": ("infra.commands.broker:broker", "Run the embedded broker alone, in the foreground."),
    "worker": (
        "infra.worker:worker",
        "Run stages in this process (started by `up`, or by your own supervisor).",
    ),
}


Targets = Mapping[str, tuple[str, str]]
"""Of each command: where it is, module:attribute, and what it does in one line."""


class Commands(click.Group):
    """A group that looks its commands up in a table, and prints an operator's error in one line."""

    def __init__(self, *args: Any, targets: Targets = COMMANDS, **more: Any) -> None:
        """``targets`` is the table; all else is click's."""
        super().__init__(*args, **more)
        self.targets = targets

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (the signature is click's)
        """The names, in the order of the table: first what a newcomer runs."""
        return [name for name, (target, _) in self.targets.items() if find_spec(target.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, attribute = self.targets[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands out of the table, with no import."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.targets[name][1]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what the operator must mend ends in one line and code 1."""
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trading-engine")
def main() -> None:
    """An order-processing engine on Kafka.

    \b
    Example:
      trading up                 # all of it, on this machine
      trading simulate < commands.ndjson

    Settings come from TRADING_* variables and from trading.toml; infra/settings.py lists them.
    """  # noqa: D301  (\b keeps click from filling the lines)


if __name__ == "__main__":
    main()
