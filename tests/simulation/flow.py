"""A small random day: reference data, cash, orders of many kinds, cancels, replaces, kills, ticks."""

from collections.abc import Iterator
from random import Random
from typing import Any

from schemas import codec
from schemas.commands import (
    CancelOrder,
    DefineAccount,
    DefineInstrument,
    Deposit,
    Halt,
    Kill,
    MassCancel,
    PlaceOrder,
    ReplaceOrder,
    Resume,
    SetMark,
    Tick,
    Withdraw,
)
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.partitioner import partition_of
from schemas.reference import Account, Instrument

ACCOUNTS = tuple(f"account-{number}" for number in range(6))
SYMBOLS = ("AAA", "BBB", "CCC")
SECOND_NS = 1_000_000_000
DAY_NS = 24 * 3600 * SECOND_NS
START_NS = 1_700_000_000 * SECOND_NS
COMMANDS = 60


def instrument(symbol: str) -> Instrument:
    """An equity with ticks of a cent and lots of one; CCC is a future, whose session ends in the middle."""
    return Instrument(
        symbol=symbol,
        kind="FUTURE" if symbol == "CCC" else "EQUITY",
        currency="USD",
        currency_exponent=2,
        tick_size_e9=10_000_000,
        lot_size_e9=1_000_000_000,
        multiplier=1,
        minor_per_tick_lot=1,
        maximum_quantity_lots=1_000_000,
        maximum_notional_minor=10**12,
        collar_bps=5_000,
        initial_margin_bps=1_000,
        settlement_days=2 if symbol == "AAA" else 0,
        session_end_minute_utc=10 * 60,
    )


def account(name: str) -> Account:
    """Half of them on margin."""
    return Account(account=name, account_type="MARGIN" if int(name[-1]) % 2 else "CASH")


def control_commands(chance: Random) -> Iterator[bytes]:
    """Reference data first, then what an operator and the clock do."""
    items: list[Any] = [
        DefineInstrument(command_id=f"i-{it}", instrument=instrument(it), at_ns=START_NS) for it in SYMBOLS
    ]
    items += [DefineAccount(command_id=f"a-{it}", account=account(it), at_ns=START_NS) for it in ACCOUNTS]
    items += [SetMark(command_id=f"m-{it}", instrument=it, price_ticks=100, at_ns=START_NS) for it in SYMBOLS]
    yield codec.encode(ControlCommands(items=tuple(items)))
    for number in range(12):
        at_ns = START_NS + number * 7200 * SECOND_NS
        yield codec.encode(ControlCommands(items=(Tick(tick_ns=at_ns, at_ns=at_ns),)))
        if number == 5:
            kill = Kill(command_id="k", account=chance.choice(ACCOUNTS), at_ns=at_ns)
            halt = Halt(command_id="h", instrument=chance.choice(SYMBOLS), at_ns=at_ns)
            yield codec.encode(ControlCommands(items=(kill, halt)))
        if number == 7:
            resumes = (Resume(command_id=f"r-{it}", instrument=it, at_ns=at_ns) for it in SYMBOLS)
            yield codec.encode(ControlCommands(items=tuple(resumes)))


def next_day() -> Iterator[bytes]:
    """The clock reaches the end of the next day's session, and a few ticks more."""
    for number in range(4):
        at_ns = START_NS + 2 * DAY_NS + number * SECOND_NS
        yield codec.encode(ControlCommands(items=(Tick(tick_ns=at_ns, at_ns=at_ns),)))


def account_commands(chance: Random, partitions: int) -> Iterator[tuple[int, bytes]]:
    """(partition, record) of account-commands; some ids come twice, some with other content."""
    for name in ACCOUNTS:
        for currency in ("USD",):
            deposit = Deposit(
                account=name, command_id="d", currency=currency, amount_minor=100_000, at_ns=START_NS
            )
            yield _packed(deposit, partitions)
    for number in range(COMMANDS):
        yield _packed(_command(chance, number), partitions)


def _packed(command: Any, partitions: int) -> tuple[int, bytes]:
    return partition_of(command.account, partitions), codec.encode(AccountCommands(items=(command,)))


def _command(chance: Random, number: int) -> Any:
    name = chance.choice(ACCOUNTS)
    at_ns = START_NS + number * 1800 * SECOND_NS
    earlier = f"c{chance.randrange(max(1, number))}"
    kind = chance.random()
    if kind < 0.12:
        return CancelOrder(
            account=name, client_order_id=f"c{number}", original_client_order_id=earlier, at_ns=at_ns
        )
    if kind < 0.22:
        return ReplaceOrder(
            account=name,
            client_order_id=f"c{number}",
            original_client_order_id=earlier,
            price_ticks=chance.randint(97, 103),
            quantity_lots=chance.randint(1, 30),
            at_ns=at_ns,
        )
    if kind < 0.25:
        return MassCancel(account=name, command_id=f"c{number}", at_ns=at_ns)
    if kind < 0.28:
        return Withdraw(
            account=name,
            command_id=f"c{number}",
            currency="USD",
            amount_minor=chance.randint(1, 90_000),
            at_ns=at_ns,
        )
    return _order(chance, name, f"c{number}" if chance.random() < 0.93 else earlier, at_ns)


def _order(chance: Random, name: str, client_order_id: str, at_ns: int) -> PlaceOrder:
    order_type = chance.choice(("LIMIT", "LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT"))
    quantity = chance.randint(1, 20)
    priced, stop = order_type in {"LIMIT", "STOP_LIMIT"}, order_type in {"STOP", "STOP_LIMIT"}
    force = chance.choice(("GTC", "GTC", "DAY", "IOC", "GTD")) if priced else "GTC"
    return PlaceOrder(
        account=name,
        client_order_id=client_order_id,
        instrument=chance.choice(SYMBOLS),
        side=chance.choice(("BUY", "SELL")),
        order_type=order_type,  # type: ignore[arg-type]
        time_in_force=force,  # type: ignore[arg-type]
        quantity_lots=quantity,
        price_ticks=chance.randint(97, 103) if priced else None,
        stop_price_ticks=chance.randint(97, 103) if stop else None,
        display_quantity_lots=max(1, quantity // 3)
        if order_type == "LIMIT" and chance.random() < 0.2
        else None,
        post_only=force in {"GTC", "DAY"} and order_type == "LIMIT" and chance.random() < 0.1,
        expires_at_ns=at_ns + 9000 * SECOND_NS if force == "GTD" else None,
        at_ns=at_ns,
    )
