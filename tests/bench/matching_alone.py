"""Matching alone: a million orders through the rules, with no Kafka, no codec and no other stage.

    python -m tests.bench.matching_alone [orders]

The flow: limit orders around a price that wanders, in 50 instruments; a third of the commands are cancels.
"""

import gc
import random
import sys
import time
from collections.abc import Iterator

from agents.rules.matching import Matching
from agents.rules.outbox import Outbox, Place
from schemas.book_commands import EnterOrder, RemoveOrder, Terms
from schemas.control_events import InstrumentDefined
from schemas.envelopes import BookCommandItem
from schemas.ids import place_id
from schemas.reference import Instrument
from schemas.topics import TRADES, PartitionCounts
from tables.books import check_books
from tables.matching import MatchingTables

INSTRUMENTS = 50
ACCOUNTS = 1_000
CANCELLED_SHARE = 1 / 3
CHECKPOINT_ORDERS = 5_000  # about four a second at the engine's goal
TERMS = Terms(kind="SPOT", currency="USD", minor_per_tick_lot=1, maker_bps=1, taker_bps=2, settlement_days=2)


def instruments() -> Iterator[InstrumentDefined]:
    """The instruments of the flow."""
    for number in range(INSTRUMENTS):
        instrument = Instrument(
            symbol=f"S{number}",
            kind="SPOT",
            currency="USD",
            currency_exponent=2,
            tick_size_e9=10_000_000,
            lot_size_e9=10**9,
            multiplier=1,
            minor_per_tick_lot=1,
            maximum_quantity_lots=10**9,
            maximum_notional_minor=10**15,
        )
        yield InstrumentDefined(instrument=instrument, at_ns=0)


def flow(count: int) -> Iterator[BookCommandItem]:
    """``count`` commands, the same ones each time."""
    chance = random.Random(7)
    entered: list[EnterOrder] = []
    middles = [10_000] * INSTRUMENTS
    for offset in range(count):
        if entered and chance.random() < CANCELLED_SHARE:
            yield cancel(entered.pop(chance.randrange(max(0, len(entered) - 2_000), len(entered))), offset)
            continue
        number = chance.randrange(INSTRUMENTS)
        middles[number] += chance.randrange(-1, 2)
        entered.append(order(chance, offset, f"S{number}", middles[number]))
        yield entered[-1]


def order(chance: random.Random, offset: int, instrument: str, middle: int) -> EnterOrder:
    """A limit order, as likely as not to cross."""
    account = f"account-{chance.randrange(ACCOUNTS)}"
    buys = chance.random() < 0.5
    distance = int(chance.expovariate(0.15)) - 8
    return EnterOrder(
        order_id=place_id(0, offset, 0),
        account=account,
        client_order_id=f"order-{offset}",
        instrument=instrument,
        side="BUY" if buys else "SELL",
        order_type="LIMIT",
        time_in_force="GTC" if chance.random() < 0.8 else "DAY",
        quantity_lots=chance.randrange(1, 100),
        price_ticks=middle - distance if buys else middle + distance,
        stop_price_ticks=None,
        display_quantity_lots=None,
        minimum_quantity_lots=None,
        post_only=False,
        expires_at_ns=None,
        self_trade_group=account,
        self_trade_prevention="CANCEL_NEWEST",
        worst_price_ticks=None,
        terms=TERMS,
        at_ns=offset,
    )


def cancel(entered: EnterOrder, offset: int) -> RemoveOrder:
    """A cancel of an order, which may be closed by now."""
    return RemoveOrder(
        order_id=entered.order_id,
        account=entered.account,
        client_order_id=f"cancel-{offset}",
        original_client_order_id=entered.client_order_id,
        instrument=entered.instrument,
        at_ns=offset,
    )


def run(commands: list[BookCommandItem]) -> None:
    """Applies the commands, one a record, and prints the rate."""
    tables = MatchingTables()
    matching = Matching(tables, PartitionCounts(accounts=4, books=1), 0)
    for offset, event in enumerate(instruments()):
        matching.apply(event, Place(0, offset, 0, 0), Outbox())
    gc.collect()
    gc.freeze()
    lanes = trades = 0
    start = time.process_time()
    for offset, command in enumerate(commands, INSTRUMENTS):
        outbox = Outbox()
        matching.apply(command, Place(0, offset, 0, offset), outbox)
        items = outbox.items
        lanes += len(items)
        if (TRADES, 0) in items:
            trades += len(items[TRADES, 0])
        if offset % CHECKPOINT_ORDERS == 0:
            tables.take_dirty()
    seconds = time.process_time() - start
    check_books(matching.books)
    count, resting = len(commands), len(tables.orders)
    rate, each_us = count / seconds, seconds / count * 1e6
    print(f"{count:,} commands in {seconds:.2f} s of CPU: {rate:,.0f} a second, {each_us:.2f} us each")
    print(
        f"{trades / count:.2f} trades and {lanes / count:.2f} output records a command; {resting:,} orders rest"
    )


if __name__ == "__main__":
    run(list(flow(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)))
