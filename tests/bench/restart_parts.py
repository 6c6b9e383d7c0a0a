"""What a restart's seconds go into, for one partition of risk and of matching: reading, decoding, deriving.

    python -m tests.bench.restart_parts [ORDERS]

The partition's rows are made here and written to a local store, read with everything else quiet in the process.
An engine with several partitions recovers them one after the other.
"""

import gc
import sys
import tempfile
import time
from collections import deque
from pathlib import Path
from random import Random
from typing import Final

from agents.matching import MATCHING_STAGE
from agents.risk import RISK_STAGE
from agents.stage.fold import Fold, Stage
from infra.bench.flow import MID_TICKS, instruments
from schemas.book_commands import Terms
from schemas.record import Side
from schemas.reference import Account
from schemas.topics import PartitionCounts
from tables.checkpointed.rocks import RocksStore
from tables.matching import BookOrder, BookRow, MatchingTables
from tables.meta import META_KEY, Meta, encode_meta
from tables.risk import AccountRow, CashRow, OrderRow, RiskTables, pair
from tables.section import Tables

COUNTS: Final = PartitionCounts(accounts=1, books=1)
LEVELS: Final = 1_000
ORDERS_PER_ACCOUNT: Final = 10
LATER_NS: Final = 2**60
TERMS: Final = Terms(
    kind="SPOT", currency="USD", minor_per_tick_lot=1, maker_bps=1, taker_bps=2, settlement_days=0
)


def matching_rows(orders: int) -> MatchingTables:
    """Books with so many orders at rest."""
    chance, tables, accounts = Random(1), MatchingTables(), orders // ORDERS_PER_ACCOUNT
    symbols = [it.symbol for it in instruments()]
    for symbol in symbols:
        tables.books[symbol] = BookRow(0, LATER_NS, "OPEN")
    for number in range(orders):
        account, side, price = _order(chance, number, accounts)
        tables.orders[number] = BookOrder(
            order_id=number,
            account=account,
            client_order_id=f"order-{number}",
            instrument=chance.choice(symbols),
            side=side,
            order_type="LIMIT",
            time_in_force="GTC",
            price_ticks=price,
            stop_price_ticks=None,
            worst_price_ticks=None,
            display_quantity_lots=None,
            minimum_quantity_lots=None,
            post_only=False,
            expires_at_ns=None,
            self_trade_group="",
            self_trade_prevention="NONE",
            terms=TERMS,
            cum_quantity_lots=0,
            leaves_quantity_lots=5,
            shown_lots=5,
            priority=number,
            waiting=False,
        )
    return tables


def risk_rows(orders: int) -> RiskTables:
    """Accounts with so many open orders."""
    chance, tables, accounts = Random(1), RiskTables(), orders // ORDERS_PER_ACCOUNT
    made = list(instruments())
    for instrument in made:
        tables.instruments[instrument.symbol] = instrument
    for number in range(accounts):
        name = f"rest{number:06}"
        tables.accounts[name] = AccountRow(number, Account(account=name, account_type="MARGIN"))
        tables.cash[pair(name, "USD")] = CashRow(10**12, 0)
    for number in range(orders):
        account, side, price = _order(chance, number, accounts)
        tables.orders[number] = OrderRow(
            account=account,
            client_order_id=f"order-{number}",
            instrument=chance.choice(made).symbol,
            side=side,
            order_type="LIMIT",
            time_in_force="GTC",
            state="NEW",
            quantity_lots=5,
            cum_quantity_lots=0,
            price_ticks=price,
            stop_price_ticks=None,
            hold_price_ticks=price,
            fee_bps=2,
            digest=number * 7919,
            at_ns=LATER_NS,
        )
    return tables


def _order(chance: Random, number: int, accounts: int) -> tuple[str, Side, int]:
    """Account, side and price; the orders of an account came far apart, so they lie far apart in memory."""
    account, distance = f"rest{number % accounts:06}", chance.randint(1, LEVELS)
    side: Side = chance.choice(("BUY", "SELL"))
    return account, side, MID_TICKS + (distance if side == "SELL" else -distance)


def measure(stage: Stage, tables: Tables, folder: Path) -> tuple[float, float, float]:
    """Seconds for reading the store, for decoding its rows, for deriving what the rules need."""
    store = RocksStore(folder)
    store.write([*tables.entries(), (META_KEY, encode_meta(Meta()))], 1)
    started = time.perf_counter()
    deque(store.entries(), maxlen=0)
    read = time.perf_counter()
    fold = Fold(stage, COUNTS, 0)
    fold.load_all(store.entries())
    loaded = time.perf_counter()
    fold.begin()
    begun = time.perf_counter()
    store.close()
    return read - started, (loaded - read) - (read - started), begun - loaded


def main(orders: str = "1000000") -> None:
    """Prints a line a stage."""
    with tempfile.TemporaryDirectory() as folder:
        for stage, tables in (
            (MATCHING_STAGE, matching_rows(int(orders))),
            (RISK_STAGE, risk_rows(int(orders))),
        ):
            gc.collect()
            gc.freeze()
            gc.disable()  # as in a worker
            read_s, decode_s, derive_s = measure(stage, tables, Path(folder) / stage.name)
            print(
                f"{stage.name}: {int(orders):,} open orders: reading {read_s:.2f} s, decoding {decode_s:.2f} s,"
                f" books or totals {derive_s:.2f} s"
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
