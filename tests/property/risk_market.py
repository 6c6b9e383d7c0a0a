"""A toy market around one partition of risk: it answers in any legal way, at any legal time.

It knows no priority and no rule of matching but what an answer may say; two copies of risk hear all of it, one
that lives on and one that is made anew from its rows whenever asked, and must say the same.
"""

from collections import deque
from typing import Any

import msgspec

from agents.rules.money import fee_minor
from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk, check_risk
from schemas import book_commands, commands, control_events, events, settlement_events
from schemas.partitioner import partition_of
from schemas.reasons import CODES
from schemas.record import Record
from schemas.reference import Account, FeeRate, Instrument, Limits
from schemas.topics import BOOK_COMMANDS, PartitionCounts
from tables.risk import PENDING, RiskTables, pair

COUNTS = PartitionCounts(accounts=1, books=2)
START_NS = 10**18
STEP_NS = 50_000_000
MARK = 100

ACCOUNTS = (
    Account(account="cash-1", fee_rates=(FeeRate(fee_class="default", maker_bps=5, taker_bps=30),)),
    Account(account="cash-2", limits=Limits(maximum_open_orders=5, maximum_repeated_orders_per_second=2)),
    Account(
        account="margin-1",
        account_type="MARGIN",
        fee_rates=(FeeRate(fee_class="default", maker_bps=-20, taker_bps=25),),
    ),
    Account(
        account="margin-2",
        account_type="MARGIN",
        limits=Limits(maximum_position_lots=30, maximum_messages_per_second=8),
    ),
)
_COMMON: dict[str, Any] = {
    "currency": "EUR",
    "currency_exponent": 2,
    "tick_size_e9": 10**9,
    "lot_size_e9": 10**9,
    "multiplier": 1,
    "maximum_quantity_lots": 50,
    "maximum_notional_minor": 10**6,
    "collar_bps": 3_000,
    "initial_margin_bps": 1_333,
}
INSTRUMENTS = (
    Instrument(symbol="SPOT", kind="SPOT", minor_per_tick_lot=7, settlement_days=1, **_COMMON),
    Instrument(symbol="FUT", kind="FUTURE", minor_per_tick_lot=3, **_COMMON),
)


class Working(msgspec.Struct):
    """An order in the toy's book."""

    enter: book_commands.EnterOrder
    name: str
    price: int
    quantity: int
    cum: int = 0

    @property
    def leaves(self) -> int:
        """What may still trade."""
        return self.quantity - self.cum


class Market:
    """Risk twice, the commands on their way to the books, the books, and the answers on their way back."""

    def __init__(self) -> None:
        self.lived, self.restored = (Risk(RiskTables(), COUNTS, 0) for _ in range(2))
        self.offset = 0
        self.now_ns = START_NS
        self.asked: deque[tuple[int, Record]] = deque()
        self.answers: deque[Record] = deque()
        self.working: dict[int, Working] = {}
        self.names: list[tuple[str, str]] = []  # account and id of orders and replaces
        self.id_count = 0
        self.put_in = 0
        self.fees = 0
        for instrument in INSTRUMENTS:
            self.tell(control_events.InstrumentDefined(instrument=instrument, at_ns=0))
            self.tell(events.MarkChanged(instrument=instrument.symbol, price_ticks=MARK, at_ns=0))
        for account in ACCOUNTS:
            self.tell(control_events.AccountDefined(account=account, at_ns=0))
            self.move_cash("deposit", account.account, 20_000 if account.account_type == "CASH" else 4_000)

    def tell(self, item: Record) -> list[Any]:
        """Both copies take an item and say the same; what must hold does."""
        self.offset += 1
        self.now_ns += STEP_NS
        place = Place(0, self.offset, 0, self.now_ns)
        said, twins = Outbox(), Outbox()
        self.lived.apply(item, place, said)  # type: ignore[arg-type]  # any item of the inbox
        self.restored.apply(item, place, twins)  # type: ignore[arg-type]
        assert said.items == twins.items, f"the restored copy says otherwise about {item}"
        check_risk(self.lived)
        for (channel, partition), items in said.items.items():
            if channel == BOOK_COMMANDS:
                self.asked.extend((partition, it) for it in items)
        return [it for items in said.items.values() for it in items]

    def restore(self) -> None:
        """One copy goes on with its rows alone."""
        tables = RiskTables()
        for key, value in self.restored.desk.tables.entries():
            tables.load(key, value)
        self.restored = Risk(tables, COUNTS, 0)

    # What clients do.

    def place(self, account: str, instrument: str, side: str, order_type: str, price: int, lots: int) -> None:
        """An order of any type."""
        is_priced, is_stop = order_type in {"LIMIT", "STOP_LIMIT"}, order_type in {"STOP", "STOP_LIMIT"}
        name = self._new_name()
        order = commands.PlaceOrder(
            account=account,
            client_order_id=name,
            instrument=instrument,
            side=side,  # type: ignore[arg-type]
            order_type=order_type,  # type: ignore[arg-type]
            time_in_force="GTC",
            quantity_lots=lots,
            price_ticks=price if is_priced else None,
            stop_price_ticks=price if is_stop else None,
            at_ns=self.now_ns,
        )
        self.names.append((account, name))
        self.tell(order)

    def request(
        self, number: int, *, replace: bool, price: int | None = None, lots: int | None = None
    ) -> None:
        """A cancel or a replace of something that was named before."""
        if not self.names:
            return
        account, original = self.names[number % len(self.names)]
        name = self._new_name()
        common = {
            "account": account,
            "client_order_id": name,
            "original_client_order_id": original,
            "at_ns": self.now_ns,
        }
        if replace:
            self.names.append((account, name))
            self.tell(commands.ReplaceOrder(**common, price_ticks=price, quantity_lots=lots))  # type: ignore[arg-type]
        else:
            self.tell(commands.CancelOrder(**common))  # type: ignore[arg-type]

    def mass_cancel(self, account: str, side: str | None) -> None:
        """A mass cancel of an account's orders."""
        name = self._new_name()
        self.tell(commands.MassCancel(account=account, command_id=name, side=side, at_ns=self.now_ns))  # type: ignore[arg-type]

    def move_cash(self, way: str, account: str, amount: int) -> None:
        """A deposit or a withdrawal."""
        kind = commands.Deposit if way == "deposit" else commands.Withdraw
        name = self._new_name()
        said = self.tell(
            kind(account=account, command_id=name, currency="EUR", amount_minor=amount, at_ns=self.now_ns)
        )
        if isinstance(said[0], events.CashDeposited | events.CashWithdrawn):
            self.put_in += amount if way == "deposit" else -amount

    # What the books do.

    def turn(self, *, yes: bool) -> None:
        """The books take the next thing that was asked of them, and say yes or no where they may."""
        if self.asked:
            partition, item = self.asked.popleft()
            match item:
                case book_commands.EnterOrder():
                    self._enter(item, yes=yes)
                case book_commands.AmendOrder():
                    self._amend(item, yes=yes)
                case book_commands.RemoveOrder():
                    self._remove(item)
                case book_commands.RemoveOrders():
                    self._sweep(item, partition)
                case _:
                    raise AssertionError(f"risk asked its books for {item}")

    def trade(self, number: int, lots: int, at: int) -> None:
        """Two orders that may meet trade somewhere between their bounds."""
        books = list(self.working.values())
        pairs = [
            (buy, sell)
            for buy in books
            for sell in books
            if buy.enter.side == "BUY" and sell.enter.side == "SELL" and _meet(buy, sell)
        ]
        if not pairs:
            return
        buy, sell = pairs[number % len(pairs)]
        price = sell.price + at % (buy.price - sell.price + 1)
        count = 1 + lots % min(buy.leaves, sell.leaves)
        for order, liquidity in ((buy, "MAKER"), (sell, "TAKER")):
            self._fill(order, liquidity, price, count)

    def end(self, number: int, *, expires: bool) -> None:
        """An order ends without anybody's asking."""
        if self.working:
            order_id = sorted(self.working)[number % len(self.working)]
            if expires:
                order = self.working.pop(order_id)
                self._say(
                    events.OrderExpired,
                    order,
                    cancelled_quantity_lots=order.leaves,
                    cum_quantity_lots=order.cum,
                )
            else:
                self._cancelled(order_id, "self_trade_prevention", None)

    def reduce(self, number: int) -> None:
        """Self-trade prevention takes a lot off an order."""
        if self.working:
            order = self.working[sorted(self.working)[number % len(self.working)]]
            order.quantity -= 1
            self._say(
                events.OrderReduced,
                order,
                reduced_quantity_lots=1,
                cum_quantity_lots=order.cum,
                leaves_quantity_lots=order.leaves,
            )
            if not order.leaves:
                self._cancelled(order.enter.order_id, "self_trade_prevention", None)

    def tick(self) -> None:
        """The clock ticks."""
        self.tell(control_events.ClockTicked(tick_ns=self.now_ns, at_ns=self.now_ns))

    def hear(self) -> None:
        """Risk hears the next answer."""
        if self.answers:
            self.tell(self.answers.popleft())

    def settle(self, account: str) -> None:
        """Settlement releases what waits."""
        tables = self.lived.desk.tables
        waits = tables.cash[pair(account, "EUR")].unsettled_minor
        if waits > 0:
            self.tell(
                settlement_events.CashReleased(
                    account=account, currency="EUR", settlement_day=0, amount_minor=waits, at_ns=0
                )
            )

    def end_session(self, mark: int) -> None:
        """The future's session ends; risk hears of it behind the fills that were before."""
        self.answers.append(
            events.SessionEnded(
                instrument="FUT", mark_price_ticks=mark, session_end_ns=self.now_ns, at_ns=self.now_ns
            )
        )

    def calm(self) -> None:
        """Lets everything that is on its way arrive."""
        while self.asked or self.answers:
            self.turn(yes=True)
            self.hear()
        while self.lived.desk.tables.variations:
            self.tick()

    def close(self) -> None:
        """Ends every order."""
        self.calm()
        while self.working:
            self.end(0, expires=False)
        self.calm()

    # What must hold when nothing is on its way.

    def check_calm(self) -> None:
        """Holds, cash and positions against what the toy's books and trades say."""
        tables = self.lived.desk.tables
        assert set(tables.orders) == set(self.working)
        for account in ACCOUNTS:
            ledger = self.lived.desk.ledgers[account.account]
            mine = [it for it in self.working.values() if it.enter.account == account.account]
            assert ledger.open_orders == len(mine)
            assert ledger.purses["EUR"].open_minor == sum(_worst_cost(it) for it in mine)
            if account.account_type == "CASH":
                buys = sum(_worst_cost(it) for it in mine if it.enter.side == "BUY")
                futures = tables.positions.get(pair(account.account, "FUT"))
                paid = futures.open_cost_minor if futures else 0
                assert ledger.purses["EUR"].held_minor == buys + paid
        assert not [key for key, row in tables.commands.items() if row.reason_code == PENDING]
        self._check_conservation()
        assert list(tables.entries()) == list(self.restored.desk.tables.entries())

    def _check_conservation(self) -> None:
        tables = self.lived.desk.tables
        for instrument in INSTRUMENTS:
            ending = f" {instrument.symbol}"
            assert not sum(row.quantity_lots for key, row in tables.positions.items() if key.endswith(ending))
        cost = sum(row.open_cost_minor for key, row in tables.positions.items() if key.endswith(" FUT"))
        assert sum(row.cash_minor for row in tables.cash.values()) - cost == self.put_in - self.fees

    def _new_name(self) -> str:
        self.id_count += 1
        return f"n{self.id_count}"

    def _enter(self, item: book_commands.EnterOrder, *, yes: bool) -> None:
        bound = item.price_ticks if item.price_ticks is not None else item.worst_price_ticks
        assert bound is not None
        order = Working(item, item.client_order_id, bound, item.quantity_lots)
        if not yes:
            self._say(
                events.OrderRejected,
                order,
                reason="fok_not_fillable",
                reason_code=CODES["fok_not_fillable"],
            )
            return
        self.working[item.order_id] = order
        self._say(
            events.OrderAccepted,
            order,
            side=item.side,
            order_type=item.order_type,
            time_in_force=item.time_in_force,
            quantity_lots=item.quantity_lots,
            price_ticks=item.price_ticks,
            stop_price_ticks=item.stop_price_ticks,
        )
        if item.order_type in {"STOP", "STOP_LIMIT"}:
            self._say(events.OrderTriggered, order, trigger_price_ticks=item.stop_price_ticks)

    def _amend(self, item: book_commands.AmendOrder, *, yes: bool) -> None:
        order = self.working.get(item.order_id)
        if order is None or not yes:
            self._no(
                events.ReplaceRejected, item, "post_only_would_trade" if order is not None else "order_closed"
            )
            return
        order.name = item.client_order_id
        order.price = order.price if item.price_ticks is None else item.price_ticks
        total = order.quantity if item.quantity_lots is None else item.quantity_lots
        order.quantity = max(total, order.cum)
        self._say(
            events.OrderReplaced,
            order,
            original_client_order_id=item.original_client_order_id,
            price_ticks=None if order.enter.price_ticks is None else order.price,
            quantity_lots=total,
            cum_quantity_lots=order.cum,
            leaves_quantity_lots=order.leaves,
        )
        if not order.leaves:
            self._cancelled(item.order_id, "replaced_to_filled", item.client_order_id)

    def _remove(self, item: book_commands.RemoveOrder) -> None:
        if item.order_id in self.working:
            self._cancelled(item.order_id, "requested", item.client_order_id)
        else:
            self._no(events.CancelRejected, item, "order_closed")

    def _sweep(self, item: book_commands.RemoveOrders, partition: int) -> None:
        swept = [
            order_id
            for order_id, it in sorted(self.working.items())
            if it.enter.account == item.account
            and item.side in {None, it.enter.side}
            and partition_of(it.enter.instrument, COUNTS.books) == partition
        ]
        for order_id in swept:
            self._cancelled(order_id, item.reason, item.command_id)
        self.answers.append(
            events.OrdersRemoved(
                command_id=item.command_id,
                book_partition=partition,
                removed_count=len(swept),
                at_ns=self.now_ns,
                sweep_id=item.sweep_id,
            )
        )

    def _fill(self, order: Working, liquidity: str, price: int, lots: int) -> None:
        terms = order.enter.terms
        bps = terms.maker_bps if liquidity == "MAKER" else terms.taker_bps
        self.fees += fee_minor(price * lots * terms.minor_per_tick_lot, bps)
        order.cum += lots
        self._say(
            events.OrderFilled,
            order,
            trade_id=self.offset,
            side=order.enter.side,
            liquidity=liquidity,
            last_price_ticks=price,
            last_quantity_lots=lots,
            cum_quantity_lots=order.cum,
            leaves_quantity_lots=order.leaves,
            terms=terms,
        )
        if not order.leaves:
            del self.working[order.enter.order_id]

    def _cancelled(self, order_id: int, reason: str, command_id: str | None) -> None:
        order = self.working.pop(order_id)
        self._say(
            events.OrderCancelled,
            order,
            reason=reason,
            reason_code=CODES[reason],
            command_id=command_id,
            cancelled_quantity_lots=order.leaves,
            cum_quantity_lots=order.cum,
        )

    def _say(self, kind: type[Record], order: Working, **fields: Any) -> None:
        self.answers.append(
            kind(
                account=order.enter.account,
                client_order_id=order.name,
                instrument=order.enter.instrument,
                order_id=order.enter.order_id,
                at_ns=self.now_ns,
                **fields,
            )
        )

    def _no(self, kind: type[Record], item: Any, reason: str) -> None:
        self.answers.append(
            kind(
                account=item.account,
                client_order_id=item.client_order_id,
                original_client_order_id=item.original_client_order_id,
                instrument=item.instrument,
                order_id=item.order_id,
                reason=reason,
                reason_code=CODES[reason],
                at_ns=self.now_ns,
            )
        )


def _meet(buy: Working, sell: Working) -> bool:
    return buy.enter.instrument == sell.enter.instrument and buy.price >= sell.price


def _worst_cost(order: Working) -> int:
    """What an order may cost, lot by lot: a bound of its own, by the terms it was entered with."""
    terms = order.enter.terms
    unit = order.price * terms.minor_per_tick_lot
    fee = -(-unit * max(terms.maker_bps, terms.taker_bps, 0) // 10_000)
    return order.leaves * (unit + fee)
