"""What the desk says to a running engine: kills, halts, mass cancels, marks, limits."""

from typing import Any

import click
import msgspec

from infra.cluster import engine_log
from infra.commands.in_force import in_force, switch_states, units_in
from infra.commands.outcomes import in_words, new_id, operator_options, report
from infra.desk import Outcome, States, open_desk, unknown_states
from infra.errors import OperatorError
from infra.settings import Settings
from schemas.commands import ControlCommand, Halt, Kill, MassCancel, Resume, SetLimits, SetMark
from schemas.maximums import INT64_MAX
from schemas.record import Side
from schemas.reference import Limits

_account = click.option("--account", metavar="ACCOUNT", help="Of this account only.")
_instrument = click.option("--instrument", metavar="SYMBOL", help="Of this instrument only.")


@click.command()
@_account
@_instrument
@click.option("--allow-reducing", is_flag=True, help="Let orders through that only reduce a position.")
@click.option("--yes", is_flag=True, help="Do not ask before everyone is killed.")
@operator_options
def kill(
    *,
    account: str | None,
    instrument: str | None,
    allow_reducing: bool,
    yes: bool,
    command_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Cancel all working orders of an account, of an instrument, or of everyone, and refuse new ones.

    It waits until the orders are gone, and says how many there were. `trading resume` with the same scope lifts it.

    \b
    Example:
      trading kill --account alice
      trading kill --instrument BTC-USD --allow-reducing
      trading kill --yes                # everyone
    """  # noqa: D301  (\b keeps click from filling the lines)
    if account is None and instrument is None and not yes:
        click.confirm(
            "This cancels all orders of everyone and stops all trading. Go on?", abort=True, err=True
        )
    order = Kill(
        command_id=command_id or new_id(),
        account=account,
        instrument=instrument,
        allow_reducing=allow_reducing,
    )
    scope = in_words((("account", account), ("instrument", instrument)), "everyone")
    _sweep(order, f"killed {scope}", timeout_s, as_json=as_json)


@click.command("mass-cancel")
@_account
@_instrument
@click.option("--side", type=click.Choice(["BUY", "SELL"]), help="Of this side only.")
@operator_options
def mass_cancel(
    *,
    account: str | None,
    instrument: str | None,
    side: Side | None,
    command_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Cancel the working orders that match all filters; new orders are taken as before.

    \b
    Example:
      trading mass-cancel --account alice --side BUY
    """  # noqa: D301
    if account is None and instrument is None and side is None:
        raise OperatorError(
            "name an account, an instrument or a side; `trading kill` is for all orders of everyone"
        )
    order = MassCancel(command_id=command_id or new_id(), account=account, instrument=instrument, side=side)
    scope = in_words((("account", account), ("instrument", instrument), ("side", side)), "everyone")
    _sweep(order, f"cancelled orders of {scope}", timeout_s, as_json=as_json)


@click.command()
@_instrument
@operator_options
def halt(*, instrument: str | None, command_id: str | None, timeout_s: float, as_json: bool) -> None:
    """Halt an instrument, or all: new orders and replaces are refused, orders stay, cancels work.

    \b
    Example:
      trading halt --instrument BTC-USD
    """  # noqa: D301
    outcome = _switch(Halt(command_id=command_id or new_id(), instrument=instrument), timeout_s)
    report(outcome, f"halted {instrument or 'all instruments'}", as_json=as_json)


@click.command()
@_account
@_instrument
@operator_options
def resume(
    *,
    account: str | None,
    instrument: str | None,
    command_id: str | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Lift the halts and kills that name exactly this account, this instrument, or neither.

    \b
    Example:
      trading resume --instrument BTC-USD
      trading resume                    # what was halted or killed for everyone
    """  # noqa: D301
    order = Resume(command_id=command_id or new_id(), account=account, instrument=instrument)
    scope = in_words((("account", account), ("instrument", instrument)), "everyone")
    report(_switch(order, timeout_s), f"resumed {scope}", as_json=as_json)


@click.command()
@click.argument("instrument")
@click.argument("price")
@operator_options
def mark(*, instrument: str, price: str, command_id: str | None, timeout_s: float, as_json: bool) -> None:
    """Set an instrument's mark price; it stands until it is set again.

    \b
    Example:
      trading mark BTC-USD 236.05
    """  # noqa: D301
    settings = Settings.load()
    with engine_log(settings) as log:
        tables = in_force(log, settings.env)
    if instrument not in tables.instruments:
        raise OperatorError(f"instrument {instrument!r} is not defined: see `trading instruments list`")
    try:
        ticks = units_in(tables).of(instrument)[0].parse(price)
    except ValueError as error:
        raise OperatorError(str(error)) from error
    order = SetMark(command_id=command_id or new_id(), instrument=instrument, price_ticks=ticks)
    report(_ask(order, timeout_s), f"{instrument} is marked at {price}", as_json=as_json)


class _Bound(click.ParamType):
    """A count, or `none` for no bound."""

    name = "bound"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "none" or isinstance(value, int):
            return value
        if value.isascii() and value.isdecimal() and int(value) <= INT64_MAX:
            return int(value)
        return self.fail(f"{value!r} is neither a whole number from 0 to {INT64_MAX} nor none", param, ctx)


def _limit_options(function: Any) -> Any:
    for name in reversed(Limits.__struct_fields__):
        flag = f"--{name.replace('_', '-')}"
        function = click.option(flag, name, type=_Bound(), metavar="N|none")(function)
    return function


@click.command()
@click.argument("account")
@_limit_options
@operator_options
def limits(
    *, account: str, command_id: str | None, timeout_s: float, as_json: bool, **given: int | str | None
) -> None:
    """Change an account's limits at once; what is not named stays, and `none` lifts a bound.

    Quantities and positions are in lots, notionals in minor units of the currency.

    \b
    Example:
      trading limits alice --maximum-open-orders 100 --maximum-position-lots none
    """  # noqa: D301
    changes = {name: None if bound == "none" else bound for name, bound in given.items() if bound is not None}
    if not changes:
        raise OperatorError("name at least one limit: `trading limits --help` lists them")
    settings = Settings.load()
    with engine_log(settings) as log:
        tables = in_force(log, settings.env)
    if account not in tables.accounts:
        raise OperatorError(f"account {account!r} is not defined: see `trading accounts list`")
    before = tables.accounts[account].account.limits
    changed = msgspec.structs.replace(before, **changes)
    order = SetLimits(command_id=command_id or new_id(), account=account, limits=changed)
    bounds = {name: getattr(changed, name) for name in Limits.__struct_fields__}
    words = ", ".join(f"{name} {'none' if bound is None else bound}" for name, bound in bounds.items())
    outcome = _ask(order, timeout_s, lambda _: (before, changed))
    report(outcome, f"limits of {account}: {words}", as_json=as_json, limits=bounds)


def _ask(order: ControlCommand, timeout_s: float, states: States = unknown_states) -> Outcome:
    with open_desk(Settings.load(), timeout_s) as desk:
        return desk.control([order], states)[0]


def _switch(order: Halt | Kill | Resume, timeout_s: float) -> Outcome:
    settings = Settings.load()
    with engine_log(settings) as log, open_desk(settings, timeout_s) as desk:
        return desk.control([order], switch_states(log, settings.env))[0]


def _sweep(order: Kill | MassCancel, done: str, timeout_s: float, *, as_json: bool) -> None:
    """Ask, and wait until the orders are gone; a repeat was swept at its first time."""
    settings = Settings.load()
    with engine_log(settings) as log, open_desk(settings, timeout_s) as desk:
        states = unknown_states if isinstance(order, MassCancel) else switch_states(log, settings.env)
        outcome = desk.control([order], states)[0]
        is_swept = hasattr(outcome, "reason") or outcome.possible_resend
        count = None if is_swept else desk.swept(order.command_id, order.account)
    words = "" if count is None else f": {count} orders cancelled"
    report(outcome, done + words, as_json=as_json, cancelled=count)
