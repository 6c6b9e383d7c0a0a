"""`trading deposit` and `trading withdraw`: cash of one account, in the currency's own units."""

import click

from agents.rules.intake import is_identifier, not_identifier
from connectors.decimals import Grid
from infra.cluster import engine_log
from infra.commands.in_force import in_force, units_in
from infra.commands.outcomes import new_id, operator_options, report
from infra.desk import open_desk
from infra.errors import OperatorError
from infra.settings import Settings
from schemas.commands import CashCommand, Deposit, Withdraw
from schemas.maximums import INT64_MAX
from tables.control import ControlTables


@click.command()
@click.argument("account")
@click.argument("currency")
@click.argument("amount")
@operator_options
def deposit(
    *, account: str, currency: str, amount: str, command_id: str | None, timeout_s: float, as_json: bool
) -> None:
    """Add cash to an account.

    \b
    Example:
      trading deposit alice USD 1000.50 --id wire-4711
    """  # noqa: D301
    order = Deposit(
        account=account,
        command_id=command_id or new_id(),
        currency=currency,
        amount_minor=_minor(currency, amount),
    )
    _move(order, f"deposited {amount} {currency} to {account}", timeout_s, as_json=as_json)


@click.command()
@click.argument("account")
@click.argument("currency")
@click.argument("amount")
@operator_options
def withdraw(
    *, account: str, currency: str, amount: str, command_id: str | None, timeout_s: float, as_json: bool
) -> None:
    """Take free cash from an account.

    \b
    Example:
      trading withdraw alice USD 250 --id payout-17
    """  # noqa: D301
    order = Withdraw(
        account=account,
        command_id=command_id or new_id(),
        currency=currency,
        amount_minor=_minor(currency, amount),
    )
    _move(order, f"withdrew {amount} {currency} from {account}", timeout_s, as_json=as_json)


def amount_minor(tables: ControlTables, currency: str, amount: str) -> int:
    """Read an amount in the currency's minor units, which its instruments define.

    Raises:
        OperatorError: no instrument is in that currency, or the amount is not one.

    """
    known = {row.instrument.currency for row in tables.instruments.values()}
    if currency not in known:
        raise OperatorError(
            f"no instrument is in {currency!r}, so its minor unit is not known; there is {', '.join(sorted(known))}"
        )
    grid: Grid = units_in(tables).money(currency)
    try:
        minor = grid.parse(amount)
    except ValueError as error:
        raise OperatorError(f"{currency}: {error}") from error
    if not 0 < minor <= INT64_MAX:
        raise OperatorError(f"{amount} {currency} is not from {grid.format(1)} to {grid.format(INT64_MAX)}")
    return minor


def _minor(currency: str, amount: str) -> int:
    settings = Settings.load()
    with engine_log(settings) as log:
        return amount_minor(in_force(log, settings.env), currency, amount)


def _move(order: CashCommand, done: str, timeout_s: float, *, as_json: bool) -> None:
    for name in ("account", "command_id", "currency"):
        if not is_identifier(getattr(order, name)):
            raise OperatorError(not_identifier(name, getattr(order, name))[1])
    with open_desk(Settings.load(), timeout_s) as desk:
        outcome = desk.cash([order])[0]
    report(outcome, done, as_json=as_json)
