"""The order flow of the benchmark: deterministic, about 0.8 trades an order, a cancel for every third order.

Measured on 40,000 commands after 20,000: 0.81 trades an order, and 65% of the cancels find their order filled.
With all of them in time there could be at most 0.67: a trade fills at least one order whole, so the trades an
order are at most the share of orders that are filled.
"""

from collections import deque
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Final

from schemas.commands import CancelOrder, Deposit, PlaceOrder
from schemas.record import Side
from schemas.reference import Account, FeeRate, Instrument

ACCOUNTS: Final = 1000
INSTRUMENTS: Final = 50
MID_TICKS: Final = 10_000
DEPTH_TICKS: Final = 10
AGGRESSIVE: Final = 0.65  # priced to cross; what does not trade at once rests, but for the immediate ones
IMMEDIATE: Final = 0.1  # of the aggressive ones are IOC
ORDERS_A_CANCEL: Final = 3
CANCEL_AGE: Final = 600  # an order is cancelled this many passive orders later
DEPOSIT_MINOR: Final = 10**15


def instruments() -> list[Instrument]:
    """Equities with ticks of a cent and lots of one."""
    return [
        Instrument(
            symbol=f"BENCH{number:02}",
            kind="EQUITY",
            currency="USD",
            currency_exponent=2,
            tick_size_e9=10_000_000,
            lot_size_e9=1_000_000_000,
            multiplier=1,
            minor_per_tick_lot=1,
            maximum_quantity_lots=10**6,
            maximum_notional_minor=10**12,
            initial_margin_bps=1_000,
        )
        for number in range(INSTRUMENTS)
    ]


def accounts() -> list[Account]:
    """Margin accounts that pay fees."""
    fees = (FeeRate(fee_class="default", maker_bps=1, taker_bps=3),)
    return [
        Account(account=f"bench{number:04}", account_type="MARGIN", fee_rates=fees)
        for number in range(ACCOUNTS)
    ]


def deposits() -> list[Deposit]:
    """Enough for whatever comes."""
    return [
        Deposit(account=it.account, command_id="bench-deposit", currency="USD", amount_minor=DEPOSIT_MINOR)
        for it in accounts()
    ]


def commands(seed: int = 1, *, prefix: str = "") -> Iterator[PlaceOrder | CancelOrder]:
    """Endless orders and cancels. The n-th command's id is ``prefix`` and n: a probe knows when it was due."""
    chance = Random(seed)  # noqa: S311 - a flow that can be repeated
    passive: deque[tuple[str, str]] = deque()
    orders = 0
    for number in count():
        if orders >= ORDERS_A_CANCEL and len(passive) > CANCEL_AGE:
            orders = 0
            account, original = passive.popleft()
            yield CancelOrder(
                account=account, client_order_id=f"{prefix}{number}", original_client_order_id=original
            )
            continue
        orders += 1
        is_aggressive = chance.random() < AGGRESSIVE
        order = _order(chance, f"{prefix}{number}", is_aggressive=is_aggressive)
        yield order
        if not is_aggressive:
            passive.append((order.account, order.client_order_id))


def _order(chance: Random, client_order_id: str, *, is_aggressive: bool) -> PlaceOrder:
    side: Side = "BUY" if chance.random() < 0.5 else "SELL"  # noqa: PLR2004 - a coin
    distance = chance.randint(1, DEPTH_TICKS)
    return PlaceOrder(
        account=f"bench{chance.randrange(ACCOUNTS):04}",
        client_order_id=client_order_id,
        instrument=f"BENCH{chance.randrange(INSTRUMENTS):02}",
        side=side,
        order_type="LIMIT",
        time_in_force="IOC" if is_aggressive and chance.random() < IMMEDIATE else "GTC",
        quantity_lots=chance.randint(1, 20),
        price_ticks=MID_TICKS + (distance if (side == "BUY") == is_aggressive else -distance),
    )
