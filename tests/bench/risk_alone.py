"""Risk alone: microseconds of ``Risk.apply`` an item, in plain Python, without codec and broker.

``python -m tests.bench.risk_alone [ORDERS]``. Orders are placed and answered in rounds as the engine does: each
is accepted, a third cancelled, the others filled in two. Cash accounts buy what they then sell; margin accounts
are run with one instrument and with fifty, the marks of all of them moving between rounds.
"""

import gc
import sys
from collections import defaultdict
from time import perf_counter_ns

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk, check_risk
from schemas.book_commands import EnterOrder, RemoveOrder
from schemas.commands import CancelOrder, Deposit, PlaceOrder
from schemas.control_events import AccountDefined, ClockTicked, InstrumentDefined
from schemas.events import MarkChanged, OrderAccepted, OrderCancelled, OrderFilled
from schemas.record import AccountType, Record, Side
from schemas.reference import Account, FeeRate, Instrument
from schemas.topics import BOOK_COMMANDS, PartitionCounts
from tables.risk import RiskTables

ACCOUNTS = 200
ROUND = 2_000
COUNTS = PartitionCounts(accounts=1, books=4)
FEES = (FeeRate(fee_class="default", maker_bps=1, taker_bps=5),)


class Run:
    """A partition of risk, and the time that each kind of item took."""

    def __init__(self, account_type: AccountType, instruments: int) -> None:
        self.risk = Risk(RiskTables(), COUNTS, 0)
        self.spent_ns: defaultdict[str, list[int]] = defaultdict(list)
        self.offset = 0
        self.now_ns = 10**18
        self.symbols = [f"I{number}" for number in range(instruments)]
        self.accounts = [f"account-{number}" for number in range(ACCOUNTS)]
        for symbol in self.symbols:
            self.apply(InstrumentDefined(instrument=instrument(symbol), at_ns=0))
            self.apply(MarkChanged(instrument=symbol, price_ticks=10_000, at_ns=0))
        for name in self.accounts:
            account = Account(account=name, account_type=account_type, fee_rates=FEES)
            self.apply(AccountDefined(account=account, at_ns=0))
            cash = Deposit(
                account=name, command_id="cash", currency="EUR", amount_minor=10**12, at_ns=self.now_ns
            )
            self.apply(cash)

    def apply(self, item: Record) -> list[Record]:
        self.offset += 1
        place, outbox = Place(0, self.offset, 0, self.now_ns), Outbox()
        start = perf_counter_ns()
        self.risk.apply(item, place, outbox)  # type: ignore[arg-type]  # any item of the inbox
        self.spent_ns[type(item).__name__].append(perf_counter_ns() - start)
        return [
            it for (channel, _), items in outbox.items.items() for it in items if channel == BOOK_COMMANDS
        ]

    def round(self, first: int, side: Side, price: int) -> None:
        entered = []
        for number in range(first, first + ROUND):
            order = PlaceOrder(
                account=self.accounts[number % ACCOUNTS],
                client_order_id=f"order-{number}",
                instrument=self.symbols[number // 7 % len(self.symbols)],
                side=side,
                order_type="LIMIT",
                time_in_force="GTC",
                quantity_lots=10,
                price_ticks=price,
                at_ns=self.now_ns,
            )
            entered += self.apply(order)
            if number % 200 == 0:
                self.now_ns += 10_000_000
        for enter in entered:
            assert isinstance(enter, EnterOrder)
            self.answer(enter)
        for symbol in self.symbols:
            self.now_ns += 1
            self.apply(MarkChanged(instrument=symbol, price_ticks=price, at_ns=self.now_ns))
        self.apply(ClockTicked(tick_ns=self.now_ns, at_ns=self.now_ns))

    def answer(self, enter: EnterOrder) -> None:
        common = {
            "account": enter.account,
            "client_order_id": enter.client_order_id,
            "instrument": enter.instrument,
            "order_id": enter.order_id,
            "at_ns": self.now_ns,
        }
        self.apply(
            OrderAccepted(
                **common,  # type: ignore[arg-type]  # one mapping for three records
                side=enter.side,
                order_type="LIMIT",
                time_in_force="GTC",
                quantity_lots=10,
                price_ticks=enter.price_ticks,
                stop_price_ticks=None,
            )
        )
        if enter.order_id % 3 == 0:
            self.cancel(enter, common)
            return
        for cum, leaves in ((4, 6), (10, 0)):
            self.apply(
                OrderFilled(
                    **common,  # type: ignore[arg-type]
                    trade_id=enter.order_id,
                    side=enter.side,
                    liquidity="MAKER",
                    last_price_ticks=enter.price_ticks or 0,
                    last_quantity_lots=4 if leaves else 6,
                    cum_quantity_lots=cum,
                    leaves_quantity_lots=leaves,
                    terms=enter.terms,
                )
            )

    def cancel(self, enter: EnterOrder, common: dict[str, object]) -> None:
        cancel = CancelOrder(
            account=enter.account,
            client_order_id=f"c{enter.client_order_id}",
            original_client_order_id=enter.client_order_id,
            at_ns=self.now_ns,
        )
        (remove,) = self.apply(cancel)
        assert isinstance(remove, RemoveOrder)
        self.apply(
            OrderCancelled(
                **common,  # type: ignore[arg-type]
                reason="requested",
                reason_code=300,
                command_id=cancel.client_order_id,
                cancelled_quantity_lots=10,
                cum_quantity_lots=0,
            )
        )


def instrument(symbol: str) -> Instrument:
    return Instrument(
        symbol=symbol,
        kind="SPOT",
        currency="EUR",
        currency_exponent=2,
        tick_size_e9=10**7,
        lot_size_e9=10**9,
        multiplier=1,
        minor_per_tick_lot=1,
        maximum_quantity_lots=10**9,
        maximum_notional_minor=10**15,
        collar_bps=5_000,
        initial_margin_bps=1_000,
    )


def main() -> None:
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    for account_type, instruments in (("CASH", 1), ("MARGIN", 1), ("MARGIN", 50)):
        run = Run(account_type, instruments)  # type: ignore[arg-type]  # mypy widens the literal
        gc.collect()
        gc.freeze()
        run.spent_ns.clear()
        for number in range(orders // ROUND):
            run.round(number * ROUND, "SELL" if number % 2 else "BUY", 10_000 + number % 5)
        check_risk(run.risk)
        print(
            f"{account_type} accounts, {instruments} instruments, {orders} orders: us an item (median, mean, p99)"
        )
        for name, spent in sorted(run.spent_ns.items()):
            spent.sort()
            median, p99 = (spent[len(spent) * part // 100] / 1000 for part in (50, 99))
            mean = sum(spent) / len(spent) / 1000
            print(f"  {name:15} {len(spent):8} {median:8.2f} {mean:8.2f} {p99:8.2f}")


if __name__ == "__main__":
    main()
