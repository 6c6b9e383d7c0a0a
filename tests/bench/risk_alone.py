"""Risk alone: CPU microseconds of ``Risk.apply`` an item, in plain Python, without codec and broker.

``python -m tests.bench.risk_alone [ORDERS]``. Orders are placed and answered in rounds of 2,000, as the engine
does: each is accepted, a third cancelled, the others filled in two. Cash accounts buy and then sell what they
have; margin accounts run with one instrument and with fifty, whose marks all move between two rounds.
"""

import gc
import sys
from collections import defaultdict
from collections.abc import Sequence
from time import process_time_ns

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk, check_risk
from schemas.book_commands import EnterOrder
from schemas.commands import CancelOrder, Deposit, PlaceOrder
from schemas.control_events import AccountDefined, ClockTicked, InstrumentDefined
from schemas.events import MarkChanged, OrderAccepted, OrderCancelled, OrderFilled
from schemas.record import AccountType, Record, Side
from schemas.reference import Account, FeeRate, Instrument
from schemas.topics import BOOK_COMMANDS, PartitionCounts
from tables.risk import RiskTables

ACCOUNTS = 200
ROUND = 2_000
START_NS = 10**18
COUNTS = PartitionCounts(accounts=1, books=4)
FEES = (FeeRate(fee_class="default", maker_bps=1, taker_bps=5),)
CASES: tuple[tuple[AccountType, int], ...] = (("CASH", 1), ("MARGIN", 1), ("MARGIN", 50))


class Run:
    """A partition of risk, and what each kind of item cost in each round."""

    def __init__(self, account_type: AccountType, instruments: int) -> None:
        self.risk = Risk(RiskTables(), COUNTS, 0)
        self.costs_us: defaultdict[str, list[float]] = defaultdict(list)
        self.offset = 0
        self.now_ns = START_NS
        self.symbols = [f"I{number}" for number in range(instruments)]
        self.accounts = [f"account-{number}" for number in range(ACCOUNTS)]
        self.apply([InstrumentDefined(instrument=_instrument(symbol), at_ns=0) for symbol in self.symbols])
        self.move_marks(10_000)
        for name in self.accounts:
            account = Account(account=name, account_type=account_type, fee_rates=FEES)
            cash = Deposit(
                account=name, command_id="cash", currency="EUR", amount_minor=10**12, at_ns=START_NS
            )
            self.apply([AccountDefined(account=account, at_ns=0), cash])

    def apply(self, items: Sequence[Record]) -> list[Record]:
        """Applies items of one kind, notes what one cost, and gives what goes to the books."""
        boxes = []
        start = process_time_ns()
        for item in items:
            self.offset += 1
            outbox = Outbox()
            boxes.append(outbox)
            self.risk.apply(item, Place(0, self.offset, 0, self.now_ns), outbox)  # type: ignore[arg-type]
        cost_us = (process_time_ns() - start) / 1000 / len(items)
        self.costs_us[type(items[0]).__name__].append(cost_us)
        said = [pair for box in boxes for pair in box.items.items()]
        return [item for (channel, _), sent in said for item in sent if channel == BOOK_COMMANDS]

    def move_marks(self, price: int) -> None:
        """Moves every mark, and lets a tick pass."""
        self.apply([MarkChanged(instrument=it, price_ticks=price, at_ns=self.now_ns) for it in self.symbols])
        self.apply([ClockTicked(tick_ns=self.now_ns, at_ns=self.now_ns)])

    def round(self, number: int) -> None:
        """One round: orders, their answers, a third cancelled, the rest filled in two."""
        price, side = 10_000 + number % 5, "SELL" if number % 2 else "BUY"
        orders = [self._order(it, side, price) for it in range(number * ROUND, (number + 1) * ROUND)]  # type: ignore[arg-type]
        entered = [it for it in self.apply(orders) if isinstance(it, EnterOrder)]
        self.apply([_accepted(it) for it in entered])
        gone = [it for it in entered if it.order_id // 4096 % 3 == 0]
        self.apply([_cancel(it) for it in gone])
        self.apply([_cancelled(it) for it in gone])
        kept = [it for it in entered if it.order_id // 4096 % 3]
        self.apply([_filled(it, 4, 4, 6) for it in kept])
        self.apply([_filled(it, 6, 10, 0) for it in kept])
        self.now_ns += 200_000_000
        self.move_marks(price)

    def _order(self, number: int, side: Side, price: int) -> PlaceOrder:
        return PlaceOrder(
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


def main() -> None:
    """Prints, for each case, the best and the mean round."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
    for account_type, instruments in CASES:
        run = Run(account_type, instruments)
        gc.collect()
        gc.freeze()
        run.costs_us.clear()
        for number in range(orders // ROUND):
            run.round(number)
        check_risk(run.risk)
        print(f"{account_type} accounts, {instruments} instruments: CPU us an item (best, mean of rounds)")
        for name, costs in sorted(run.costs_us.items()):
            print(f"  {name:15} {min(costs):9.2f} {sum(costs) / len(costs):9.2f}")


def _accepted(enter: EnterOrder) -> OrderAccepted:
    return OrderAccepted(
        account=enter.account,
        client_order_id=enter.client_order_id,
        instrument=enter.instrument,
        order_id=enter.order_id,
        side=enter.side,
        order_type=enter.order_type,
        time_in_force=enter.time_in_force,
        quantity_lots=enter.quantity_lots,
        price_ticks=enter.price_ticks,
        stop_price_ticks=None,
        at_ns=enter.at_ns,
    )


def _cancel(enter: EnterOrder) -> CancelOrder:
    return CancelOrder(
        account=enter.account,
        client_order_id=f"c{enter.client_order_id}",
        original_client_order_id=enter.client_order_id,
        at_ns=enter.at_ns,
    )


def _cancelled(enter: EnterOrder) -> OrderCancelled:
    return OrderCancelled(
        account=enter.account,
        client_order_id=enter.client_order_id,
        instrument=enter.instrument,
        order_id=enter.order_id,
        reason="requested",
        reason_code=300,
        command_id=f"c{enter.client_order_id}",
        cancelled_quantity_lots=enter.quantity_lots,
        cum_quantity_lots=0,
        at_ns=enter.at_ns,
    )


def _filled(enter: EnterOrder, lots: int, cum: int, leaves: int) -> OrderFilled:
    return OrderFilled(
        account=enter.account,
        client_order_id=enter.client_order_id,
        instrument=enter.instrument,
        order_id=enter.order_id,
        trade_id=enter.order_id,
        side=enter.side,
        liquidity="MAKER",
        last_price_ticks=enter.price_ticks or 0,
        last_quantity_lots=lots,
        cum_quantity_lots=cum,
        leaves_quantity_lots=leaves,
        terms=enter.terms,
        at_ns=enter.at_ns,
    )


def _instrument(symbol: str) -> Instrument:
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


if __name__ == "__main__":
    main()
