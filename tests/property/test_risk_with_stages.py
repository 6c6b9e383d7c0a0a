"""Risk beside the real matching and settlement, their inboxes read in any interleaving."""

from collections import deque
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.rules.pipeline import Inbox, Pipeline
from agents.rules.risk import Risk, check_risk
from schemas import commands
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.record import Record
from schemas.reference import Account, FeeRate, Instrument
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BOOK_COMMANDS, PartitionCounts
from tables.risk import PENDING, pair

COUNTS = PartitionCounts(accounts=2, books=2)
START_NS = 10**18
ACCOUNTS = ("a", "b", "c", "d", "e")
SYMBOLS = ("SPOT", "FUT")
FEES = (FeeRate(fee_class="default", maker_bps=-3, taker_bps=11),)
LAST = ("LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT")


class AnyOrder(Pipeline):
    """Reads a record of any inbox next, of that inbox the oldest."""

    def __init__(self, random: Random) -> None:
        super().__init__(COUNTS, lambda _channel, _partition, _items: None)
        self.random = random

    def _next(self) -> tuple[Inbox, Sequence[Record]]:
        inboxes = sorted({inbox for inbox, _ in self._waiting})
        chosen = self.random.choice(inboxes)
        for index, (inbox, items) in enumerate(self._waiting):
            if inbox == chosen:
                del self._waiting[index]
                return inbox, items
        raise AssertionError("an inbox that has records has an oldest one")

    def steps(self, count: int) -> None:
        """Reads so many records, if there are."""
        for _ in range(count):
            if self._waiting:
                self.step(*self._next())

    def risks(self) -> Iterator[Risk]:
        """The partitions of risk, each as it was rebuilt from its rows or lived on."""
        for partition in range(COUNTS.accounts):
            yield self.readers[ACCOUNT_COMMANDS, partition].rules


def reference() -> Iterator[commands.ControlCommand]:
    """Two instruments with their marks, and accounts of both types."""
    for symbol in SYMBOLS:
        kind = "SPOT" if symbol == "SPOT" else "FUTURE"
        instrument = Instrument(
            symbol=symbol,
            kind=kind,  # type: ignore[arg-type]  # mypy widens the literals
            currency="EUR",
            currency_exponent=2,
            tick_size_e9=10**9,
            lot_size_e9=10**7,
            multiplier=1,
            minor_per_tick_lot=1,
            maximum_quantity_lots=100,
            maximum_notional_minor=10**6,
            collar_bps=2_000,
            initial_margin_bps=1_000,
        )
        yield commands.DefineInstrument(command_id=f"i{symbol}", instrument=instrument, at_ns=START_NS)
        yield commands.SetMark(command_id=f"m{symbol}", instrument=symbol, price_ticks=100, at_ns=START_NS)
    for name in ACCOUNTS:
        kind = "CASH" if name == "a" else "MARGIN"
        modes = ("NONE", "CANCEL_NEWEST", "CANCEL_OLDEST", "CANCEL_BOTH", "DECREMENT")
        account = Account(
            account=name,
            account_type=kind,  # type: ignore[arg-type]
            fee_rates=FEES,
            self_trade_prevention=modes[ACCOUNTS.index(name)],  # type: ignore[arg-type]
        )
        yield commands.DefineAccount(command_id=f"a{name}", account=account, at_ns=START_NS)


def deposits() -> Iterator[commands.Deposit]:
    """Some cash for everyone."""
    for name in ACCOUNTS:
        yield commands.Deposit(
            account=name, command_id="cash", currency="EUR", amount_minor=20_000, at_ns=START_NS
        )


class Clients:
    """They place, cancel and replace at random."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.now_ns = START_NS
        self.names: deque[tuple[str, str]] = deque(maxlen=12)
        self.count = 0

    def next(self) -> Any:
        """A command."""
        self.count += 1
        self.now_ns += self.random.randrange(10**8)
        if self.random.random() < 0.03:
            self.now_ns += NANOSECONDS_PER_DAY // 2  # every other time a session ends
        random, name = self.random, f"n{self.count}"
        account = random.choice(ACCOUNTS)
        choice = random.random()
        if choice < 0.55 or not self.names:
            self.names.append((account, name))
            return self._order(account, name)
        target, original = random.choice(self.names)
        common: dict[str, Any] = {
            "account": target,
            "client_order_id": name,
            "original_client_order_id": original,
            "at_ns": self.now_ns,
        }
        if choice < 0.67:
            return commands.CancelOrder(**common)
        if choice < 0.85:
            self.names.append((target, name))
            price = random.randrange(90, 111) if random.random() < 0.6 else None
            lots = random.randrange(1, 15) if price is None or random.random() < 0.6 else None
            return commands.ReplaceOrder(**common, price_ticks=price, quantity_lots=lots)
        if choice < 0.88:
            return commands.MassCancel(account=account, command_id=name, at_ns=self.now_ns)
        if choice < 0.9:
            return commands.Withdraw(
                account=account,
                command_id=name,
                currency="EUR",
                amount_minor=random.randrange(1, 5_000),
                at_ns=self.now_ns,
            )
        return commands.Tick(tick_ns=self.now_ns // 10**8 * 10**8, at_ns=self.now_ns)

    def _order(self, account: str, name: str) -> commands.PlaceOrder:
        random = self.random
        order_type, price = random.choice(LAST), random.randrange(90, 111)
        is_priced, is_stop = order_type in {"LIMIT", "STOP_LIMIT"}, order_type in {"STOP", "STOP_LIMIT"}
        lots = random.randrange(1, 15)
        is_iceberg = order_type == "LIMIT" and random.random() < 0.2
        tif = random.choice(
            ("IOC", "FOK") if order_type == "MARKET" else ("GTC", "GTC", "GTC", "IOC", "FOK", "DAY")
        )
        return commands.PlaceOrder(
            account=account,
            client_order_id=name,
            instrument=random.choice(SYMBOLS),
            side=random.choice(("BUY", "SELL")),
            order_type=order_type,  # type: ignore[arg-type]
            time_in_force=tif,  # type: ignore[arg-type]
            quantity_lots=lots,
            price_ticks=price if is_priced else None,
            stop_price_ticks=price if is_stop else None,
            display_quantity_lots=random.randrange(1, lots + 1) if is_iceberg else None,
            post_only=tif == "GTC" and order_type == "LIMIT" and random.random() < 0.2,
            at_ns=self.now_ns,
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_risk_agrees_with_matching_and_settlement(seed: int) -> None:
    """When all is calm: the same open orders as the books, the same cash and positions as settlement.

    On the way to it, whatever the interleaving, holds are exact and no cash account is short, and after a kill
    of all nothing is open or held.
    """
    random = Random(seed)
    engine, clients = AnyOrder(random), Clients(random)
    engine.send(*reference())
    engine.send(*deposits())
    for _ in range(150):
        engine.put(clients.next())
        engine.steps(random.randrange(12))
        if random.random() < 0.05:
            engine.readers[ACCOUNT_COMMANDS, random.randrange(COUNTS.accounts)].restore()
        for risk in engine.risks():
            check_risk(risk)
    engine.send()
    check_agreement(engine)
    engine.send(commands.Kill(command_id="kill", at_ns=clients.now_ns))
    check_agreement(engine)
    for risk in engine.risks():
        assert not risk.desk.tables.orders
        assert not any(purse.open_minor for it in risk.desk.ledgers.values() for purse in it.purses.values())


def check_agreement(engine: AnyOrder) -> None:
    """Risk's rows against those of the other stages."""
    books: list[Any] = [engine.readers[BOOK_COMMANDS, it].tables for it in range(COUNTS.books)]
    in_books = {order_id for tables in books for order_id in tables.orders}
    at_risk: set[int] = set()
    for partition, risk in enumerate(engine.risks()):
        check_risk(risk)
        tables = risk.desk.tables
        at_risk |= set(tables.orders)
        assert not [key for key, row in tables.commands.items() if row.reason_code == PENDING]
        assert not tables.sweeps
        settled: Any = engine.readers[ACCOUNT_EVENTS, partition].tables
        for (account, symbol), row in settled.positions.items():
            held = tables.positions.get(pair(account, symbol))
            kept = (held.quantity_lots, held.open_cost_minor) if held else (0, 0)
            assert kept == (row.quantity_lots, row.open_cost_minor), (account, symbol)
        for key, cash in tables.cash.items():
            account, currency = key.split(" ")
            assert cash.cash_minor == settled.balances[account, currency].cash_minor, key
    assert at_risk == in_books
