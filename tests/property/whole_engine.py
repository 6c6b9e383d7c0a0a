"""All stages under random flow: what is sent, in which order records are read, and when state is restored."""

from collections import defaultdict
from collections.abc import Sequence
from random import Random
from typing import Any

from agents.rules.matching import Matching
from agents.rules.pipeline import Inbox, Pipeline
from agents.rules.risk import Risk, check_risk
from agents.rules.settlement import check_settlement
from schemas import commands, events
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.record import Record
from schemas.reference import Account, FeeRate, Instrument, Limits
from schemas.settlement_events import VariationSettled
from schemas.topics import ACCOUNT_EVENTS, ANSWERS, BOOK_COMMANDS, PartitionCounts
from tables.books import check_books
from tables.matching import MatchingTables
from tables.risk import RiskTables, unpair
from tables.settlement import SettlementTables

START_NS = 20_000 * NANOSECONDS_PER_DAY
_COMMON: dict[str, Any] = {
    "currency": "USD",
    "currency_exponent": 2,
    "tick_size_e9": 10_000_000,
    "lot_size_e9": 10**9,
    "multiplier": 1,
    "minor_per_tick_lot": 1,
    "maximum_quantity_lots": 1_000,
    "maximum_notional_minor": 10**7,
    "collar_bps": 2_000,
    "initial_margin_bps": 1_000,
}
INSTRUMENTS = (
    Instrument(symbol="SPOT", kind="SPOT", **_COMMON),
    Instrument(symbol="EQ", kind="EQUITY", settlement_days=2, **_COMMON),
    Instrument(symbol="FUT", kind="FUTURE", settlement_days=1, session_end_minute_utc=17 * 60, **_COMMON),
    Instrument(symbol="EUR", kind="FUTURE", **_COMMON | {"currency": "EUR"}),
)
_FEES = (FeeRate(fee_class="default", maker_bps=-3, taker_bps=12),)
ACCOUNTS = (
    Account(account="cash-1", fee_rates=_FEES),
    Account(account="cash-2"),
    *(Account(account=f"margin-{n}", account_type="MARGIN", fee_rates=_FEES) for n in range(4)),
    Account(
        account="desk",
        account_type="MARGIN",
        self_trade_group="margin-0",
        limits=Limits(maximum_open_orders=9),
    ),
)
FORCES = ("GTC", "GTC", "GTC", "DAY", "GTD", "IOC", "FOK")
NAMES = [account.account for account in ACCOUNTS]
SYMBOLS = [instrument.symbol for instrument in INSTRUMENTS]


class WholeEngine(Pipeline):
    """Reads the oldest record of any inbox, whichever the generator takes, and counts what is said."""

    def __init__(self, counts: PartitionCounts, random: Random) -> None:
        """Starts with instruments, accounts, marks and some cash."""
        super().__init__(counts, self._count)
        self.random = random
        self.now_ns = START_NS
        self.number = 0
        self.named: list[tuple[str, str]] = []  # accounts and the ids they used
        self.paid_in: dict[str, int] = defaultdict(int)
        self.total: dict[int, int] = {}  # an order's quantity as it stands
        self.filled: dict[int, int] = defaultdict(int)
        self.cancelled: dict[int, int] = defaultdict(int)
        self.variations = 0
        self._start()

    def go(self, steps: int) -> None:
        """Sends so many bursts of commands, each worked off in an order of its own."""
        for _ in range(steps):
            self.now_ns += self.random.choice((0, 10**6, 10**9, 4 * 3_600 * 10**9))
            self.send(*(self._command() for _ in range(self.random.randint(1, 4))))

    def end(self) -> None:
        """Lifts what is off, cancels all orders, and lets every settlement day come."""
        for instrument in (None, *SYMBOLS):
            self.send(commands.Resume(command_id=self._id(), instrument=instrument, at_ns=self.now_ns))
        self.send(commands.MassCancel(command_id=self._id(), at_ns=self.now_ns))
        for _ in range(6):
            self.now_ns += NANOSECONDS_PER_DAY
            self.send(commands.Tick(tick_ns=self.now_ns, at_ns=self.now_ns))
        self.rest()

    def rest(self) -> None:
        """Lets ticks go on with what is due and did not fit into one record."""
        while self._is_something_due():
            self.now_ns += 1
            self.send(commands.Tick(tick_ns=self.now_ns, at_ns=self.now_ns))

    def _is_something_due(self) -> bool:
        today = self.now_ns // NANOSECONDS_PER_DAY
        return (
            any(tables.variations for tables in self.risks)
            or any(tables.variations for tables in self.settlements)
            or any(day <= today for tables in self.settlements for day, _, _ in tables.releases)
        )

    def check(self) -> None:
        """Asserts what must hold when nothing is on its way."""
        self._check_stages()
        self._check_cash()
        self._check_positions()
        self._check_agreement()
        self._check_orders()

    def _start(self) -> None:
        at = {"at_ns": self.now_ns}
        for instrument in INSTRUMENTS:
            self.send(commands.DefineInstrument(command_id=self._id(), instrument=instrument, **at))
        for account in ACCOUNTS:
            self.send(commands.DefineAccount(command_id=self._id(), account=account, **at))
        for symbol in SYMBOLS:
            self.send(commands.SetMark(command_id=self._id(), instrument=symbol, price_ticks=100, **at))
        for name in NAMES:
            for currency in ("USD", "EUR"):
                self.send(
                    commands.Deposit(
                        account=name, command_id=self._id(), currency=currency, amount_minor=50_000, **at
                    )
                )

    def _next(self) -> tuple[Inbox, Sequence[Record]]:
        if self.random.random() < 0.02:
            self.readers[self.random.choice(list(self.readers))].restore()
        inbox = self.random.choice(self._waiting)[0]
        oldest = next(record for record in self._waiting if record[0] == inbox)
        self._waiting.remove(oldest)
        return oldest

    def _count(self, channel: str, partition: int, said: Sequence[Record]) -> None:  # noqa: ARG002
        self.variations += sum(isinstance(it, VariationSettled) for it in said)
        for event in said if channel in {ANSWERS, ACCOUNT_EVENTS} else ():
            if getattr(event, "possible_resend", False):
                continue
            match event:
                case events.OrderAccepted():
                    self.total[event.order_id] = event.quantity_lots
                case events.OrderReplaced():
                    self.total[event.order_id] = event.quantity_lots
                case events.OrderReduced():
                    self.total[event.order_id] -= event.reduced_quantity_lots
                case events.OrderFilled():
                    self.filled[event.order_id] += event.last_quantity_lots
                case events.OrderCancelled() | events.OrderExpired():
                    self.cancelled[event.order_id] += event.cancelled_quantity_lots
                case events.CashDeposited():
                    self.paid_in[event.currency] += event.amount_minor
                case events.CashWithdrawn():
                    self.paid_in[event.currency] -= event.amount_minor
                case _:
                    pass

    # What must hold.

    def _check_stages(self) -> None:
        for (topic, _), reader in self.readers.items():
            if topic == ACCOUNT_EVENTS:
                assert isinstance(reader.tables, SettlementTables)
                check_settlement(reader.tables)
            elif isinstance(reader.rules, Risk):
                check_risk(reader.rules)
            elif isinstance(reader.rules, Matching):
                check_books(reader.rules.books)

    def _check_cash(self) -> None:
        """Cash is what was paid in, and clearing owes the futures' open cost."""
        cash: dict[str, int] = defaultdict(int)
        clearing: dict[str, int] = defaultdict(int)
        for tables in self.settlements:
            for (account, currency), row in tables.balances.items():
                cash[currency] += 0 if account.startswith("cash:") else row.cash_minor
                clearing[currency] += row.cash_minor if account.startswith("clearing:") else 0
            for position in tables.positions.values():
                clearing[position.currency] += position.open_cost_minor if position.kind == "FUTURE" else 0
        assert cash == self.paid_in, "cash is not what was paid in"
        assert not any(clearing.values()), f"clearing is left with {dict(clearing)}"

    def _check_positions(self) -> None:
        """Every lot that one is long, others are short."""
        net: dict[str, int] = defaultdict(int)
        for tables in self.settlements:
            for (_, instrument), position in tables.positions.items():
                net[instrument] += position.quantity_lots
        assert not any(net.values()), f"positions are left at {dict(net)}"

    def _check_agreement(self) -> None:
        """Risk holds what settlement has booked: cash, what of it waits, lots, and what they cost."""
        booked: dict[tuple[str, str, str], tuple[int, int]] = {}
        known: dict[tuple[str, str, str], tuple[int, int]] = {}
        for settlement in self.settlements:
            for key, row in settlement.positions.items():
                booked["position", *key] = row.quantity_lots, row.open_cost_minor
            for key, balance in settlement.balances.items():
                if key[0] in NAMES:
                    booked["cash", *key] = balance.cash_minor, balance.unsettled_minor
        for risk in self.risks:
            for pair_key, held in risk.positions.items():
                known["position", *unpair(pair_key)] = held.quantity_lots, held.open_cost_minor
            for pair_key, purse in risk.cash.items():
                known["cash", *unpair(pair_key)] = purse.cash_minor, purse.unsettled_minor
        nothing = (0, 0)
        for name in booked | known:
            assert booked.get(name, nothing) == known.get(name, nothing), (
                f"risk and settlement differ: {name}"
            )

    def _check_orders(self) -> None:
        """Ordered is filled and open and cancelled, order by order; risk knows just the open ones."""
        open_lots = {
            order_id: order.leaves_quantity_lots
            for (topic, _), reader in self.readers.items()
            if topic == BOOK_COMMANDS and isinstance(reader.tables, MatchingTables)
            for order_id, order in reader.tables.orders.items()
        }
        for order_id, total in self.total.items():
            parts = self.filled[order_id], open_lots.get(order_id, 0), self.cancelled[order_id]
            assert sum(parts) == total, f"order {order_id}: {total} is not filled + open + cancelled {parts}"
        assert {order_id for tables in self.risks for order_id in tables.orders} == set(open_lots)

    @property
    def settlements(self) -> list[SettlementTables]:
        """Settlement's tables, by partition."""
        return [it.tables for it in self.readers.values() if isinstance(it.tables, SettlementTables)]

    @property
    def risks(self) -> list[RiskTables]:
        """Risk's tables, by partition."""
        return [it.tables for it in self.readers.values() if isinstance(it.tables, RiskTables)]

    # What is sent.

    def _id(self) -> str:
        self.number += 1
        return str(self.number)

    def _command(self) -> Any:
        kinds = (self._place, self._change, self._cash, self._control)
        return self.random.choices(kinds, (12, 5, 1, 1))[0]()

    def _place(self) -> commands.PlaceOrder:
        random, name = self.random, self._id()
        account = random.choice(NAMES)
        order_type = random.choice(("LIMIT", "LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT"))
        force = "IOC" if order_type == "MARKET" else random.choice(FORCES)
        quantity = random.randint(1, 12)
        limit = order_type == "LIMIT"
        self.named.append((account, name))
        return commands.PlaceOrder(
            account=account,
            client_order_id=name,
            instrument=random.choice(SYMBOLS),
            side=random.choice(("BUY", "SELL")),
            order_type=order_type,  # type: ignore[arg-type]
            time_in_force=force,  # type: ignore[arg-type]
            quantity_lots=quantity,
            price_ticks=random.randint(94, 106) if order_type.endswith("LIMIT") else None,
            stop_price_ticks=random.randint(94, 106) if order_type.startswith("STOP") else None,
            display_quantity_lots=random.choice((None, None, 1, quantity)) if limit else None,
            minimum_quantity_lots=random.choice((None, None, None, 2 if quantity > 1 else 1)),
            post_only=limit and force in {"GTC", "DAY"} and random.random() < 0.2,
            expires_at_ns=self.now_ns + random.randint(1, 10**13)
            if force == "GTD" and order_type != "MARKET"
            else None,
            self_trade_prevention=random.choice(
                (None, None, "NONE", "CANCEL_OLDEST", "CANCEL_BOTH", "DECREMENT")
            ),
            at_ns=self.now_ns,
        )

    def _change(self) -> commands.CancelOrder | commands.ReplaceOrder:
        random, name = self.random, self._id()
        account, original = random.choice(self.named[-40:] or [(NAMES[0], "none")])
        ids = {"account": account, "client_order_id": name, "original_client_order_id": original}
        if random.random() < 0.4:
            return commands.CancelOrder(**ids, at_ns=self.now_ns)
        self.named.append((account, name))
        price, quantity = random.choice(((None, 1), (None, 7), (100, None), (97, 9), (103, 20)))
        return commands.ReplaceOrder(**ids, price_ticks=price, quantity_lots=quantity, at_ns=self.now_ns)

    def _cash(self) -> commands.Deposit | commands.Withdraw:
        kind = self.random.choice((commands.Deposit, commands.Withdraw))
        return kind(
            account=self.random.choice(NAMES),
            command_id=self._id(),
            currency=self.random.choice(("USD", "EUR")),
            amount_minor=self.random.randint(1, 60_000),
            at_ns=self.now_ns,
        )

    def _control(self) -> Any:
        name, symbol, account = self._id(), self.random.choice(SYMBOLS), self.random.choice(NAMES)
        price = self.random.randint(97, 103)
        kinds: tuple[tuple[Any, dict[str, Any]], ...] = (
            (commands.Halt, {"instrument": symbol}),
            (commands.Kill, {"account": account, "allow_reducing": True}),
            (commands.Kill, {"instrument": symbol}),
            (commands.Resume, {"account": account}),
            (commands.Resume, {"instrument": symbol}),
            (commands.Resume, {"instrument": symbol}),
            (commands.MassCancel, {"account": account}),
            (commands.SetMark, {"instrument": symbol, "price_ticks": price}),
        )
        if self.random.random() < 0.25:
            return commands.Tick(tick_ns=self.now_ns, at_ns=self.now_ns)
        kind, fields = self.random.choice(kinds)
        return kind(command_id=name, at_ns=self.now_ns, **fields)
