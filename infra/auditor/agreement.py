"""Check 6: what the stages remember at the cut is what the log says, and what each says of the others' matters.

The rows of the tables are read from the committed changelogs; no stage's code is run.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import msgspec

from infra.auditor import money
from infra.auditor.cut import Checkpoint, Cut
from infra.auditor.ledger import OWN, Ledger
from infra.auditor.log import Log
from infra.auditor.orders import Order, Orders
from infra.auditor.report import Report
from infra.auditor.sessions import at_risk, booked
from schemas import events
from schemas.record import Side
from schemas.reference import Instrument
from tables.matching import BookOrder, MatchingTables
from tables.meta import META_KEY
from tables.risk import OrderRow, RiskTables, unpair
from tables.section import Tables
from tables.settlement import SettlementTables

T = TypeVar("T", bound=Tables)
Level = tuple[str, Side, int]
"""An instrument, a side and a price in ticks."""
Entries = Mapping[bytes, bytes]
"""A changelog's keys with their last values."""


def entries_of(log: Log, checkpoint: Checkpoint, partition: int) -> dict[bytes, bytes]:
    """What a changelog holds at a checkpoint, META included."""
    place, entries = (checkpoint.changelog, partition), dict[bytes, bytes]()
    if checkpoint.end:
        for record in log.read(place, (log.bounds(place)[0], checkpoint.end)):
            if record.key is None:
                continue
            if record.value is None:
                entries.pop(record.key, None)
            else:
                entries[record.key] = record.value
    return entries


def loaded(tables: T, entries: Entries) -> T:
    """Tables with a changelog's rows."""
    for key, value in entries.items():
        if key != META_KEY:
            tables.load(key, value)
    return tables


class Levels:
    """The books by price, folded from market data."""

    def __init__(self) -> None:
        self.levels: dict[Level, tuple[int, int]] = {}

    def on_level(self, item: events.LevelChanged) -> None:
        """A level changed."""
        key = item.instrument, item.side, item.price_ticks
        if item.order_count:
            self.levels[key] = item.quantity_lots, item.order_count
        else:
            self.levels.pop(key, None)

    def add(self, row: BookOrder) -> None:
        """An order stands in its book; a waiting stop shows nothing."""
        if not row.waiting and row.price_ticks is not None:
            key = row.instrument, row.side, row.price_ticks
            quantity, count = self.levels.get(key, (0, 0))
            self.levels[key] = quantity + row.shown_lots, count + 1


class Reference(msgspec.Struct):
    """What a view is shown in: instruments, currencies' exponents, accounts with their partitions, the books."""

    instruments: dict[str, Instrument] = {}
    exponents: dict[str, int] = {}
    accounts: dict[str, int] = {}
    levels: dict[Level, tuple[int, int]] = {}


class Agreement:
    """Compares the tables of one partition after the other with the log; they may be large."""

    def __init__(
        self, report: Report, orders: Orders, levels: Levels, ledger: Ledger, *, is_partial: bool
    ) -> None:
        """``is_partial``: the log's start is gone, so it gives neither money nor levels."""
        self._orders, self._ledger = orders, ledger
        self._levels = levels.levels
        self._is_partial = is_partial
        self.reference = Reference(levels=levels.levels)
        self._by_matching: dict[int, tuple[int, int, int, int]] = {}
        self._books = report.tally("open orders of the log are matching's")
        self._desks = report.tally("open orders of the log are risk's, with nothing pending")
        self._holds = report.tally("holds are what open orders need: lots, cost and fees of each")
        self._told = report.tally("levels of market data are those of the orders in the books")
        self._money = report.tally("cash and positions of the log are settlement's")
        self._known = report.tally("cash and positions of settlement are risk's")

    def check(self, log: Log, cut: Cut) -> None:
        """Reads every partition's tables at the cut."""
        self._matching(_tables(log, cut, "matching", MatchingTables))
        desks = dict(_tables(log, cut, "risk", RiskTables))
        self._learn(desks)
        self._risk(desks)
        ledgers = dict(_tables(log, cut, "settlement", SettlementTables))
        if not self._is_partial:
            self._settlement(ledgers)
        self._both(desks, ledgers)

    def _matching(self, tables: Iterator[tuple[int, MatchingTables]]) -> None:
        left = dict(self._orders.open)
        books = Levels()
        for _, partition in tables:
            for order_id, row in partition.orders.items():
                self._order(order_id, row, left.pop(order_id, None))
                books.add(row)
        for order_id in left:
            self._books.miss(f"order {order_id} is open, and matching does not know it")
        for level in () if self._is_partial else books.levels.keys() | self._levels.keys():
            self._told.equal(self._levels.get(level), books.levels.get(level), f"{level}")

    def _learn(self, tables: Mapping[int, RiskTables]) -> None:
        known = self.reference
        for number, partition in tables.items():
            known.instruments.update(partition.instruments)
            known.accounts.update(dict.fromkeys(partition.accounts, number))
        known.exponents.update((it.currency, it.currency_exponent) for it in known.instruments.values())

    def _order(self, order_id: int, row: BookOrder, order: Order | None) -> None:
        terms = row.terms
        price = row.price_ticks if row.price_ticks is not None else (row.worst_price_ticks or 0)
        bps = max(terms.maker_bps, terms.taker_bps, 0)
        self._by_matching[order_id] = (price, bps, terms.minor_per_tick_lot, row.leaves_quantity_lots)
        if order is None:
            known = self._orders.is_older(order_id)
            self._books.expect(known, f"matching keeps order {order_id}, and the log has ended it")
            return
        found = row.account, row.client_order_id, row.instrument, row.side, row.price_ticks
        wanted = order.account, order.client_order_id, order.instrument, order.side, order.price_ticks
        quantities = row.cum_quantity_lots, row.leaves_quantity_lots, row.waiting
        self._books.equal(
            (*found, *quantities), (*wanted, order.filled, order.leaves, order.waits), f"order {order_id}"
        )

    def _risk(self, tables: Mapping[int, RiskTables]) -> None:
        left = dict(self._orders.open)
        for partition in tables.values():
            for order_id, row in partition.orders.items():
                order = left.pop(order_id, None)
                self._hold(order_id, row)
                if order is None:
                    known = self._orders.is_older(order_id)
                    self._desks.expect(known, f"risk keeps order {order_id}, and the log has ended it")
                    continue
                found = row.account, row.client_order_id, row.cum_quantity_lots, row.price_ticks, row.pending
                wanted = order.account, order.client_order_id, order.filled, order.price_ticks, ()
                self._desks.equal(found, wanted, f"order {order_id}")
        for order_id in left:
            self._desks.miss(f"order {order_id} is open, and risk does not know it")

    def _hold(self, order_id: int, row: OrderRow) -> None:
        known = self._by_matching.get(order_id)
        if known is None:
            return
        price, bps, unit, leaves = known
        price = price or row.hold_price_ticks  # a stop without a bound is held at what risk chose
        lots = row.quantity_lots - row.cum_quantity_lots
        held = (
            lots,
            lots * row.hold_price_ticks * unit,
            lots * money.fee(row.hold_price_ticks * unit, row.fee_bps),
        )
        needed = leaves, leaves * price * unit, leaves * money.fee(price * unit, bps)
        self._holds.equal(held, needed, f"order {order_id} of {row.account}")

    def _settlement(self, tables: Mapping[int, SettlementTables]) -> None:
        for number, partition in tables.items():
            book = self._ledger.book(number)
            rows = {
                key: (row.cash_minor, row.unsettled_minor, row.version)
                for key, row in partition.balances.items()
            }
            for key in rows.keys() | book.cash.keys():
                wanted = book.cash.get(key, 0), book.unsettled.get(key, 0), book.versions.get(key, 0)
                self._money.equal(rows.get(key), wanted, " ".join(key))
            held = {
                key: (row.quantity_lots, row.open_cost_minor, row.realised_profit_minor, row.version)
                for key, row in partition.positions.items()
            }
            for key in held.keys() | book.positions.keys():
                self._money.equal(held.get(key), book.positions.get(key), " ".join(key))
            self._ledger.sessions.check(number, partition)

    def _both(self, desks: Mapping[int, RiskTables], ledgers: Mapping[int, SettlementTables]) -> None:
        for number, ledger in ledgers.items():
            settlement, risk = booked(ledger), at_risk(desks[number])
            for key in settlement.cash.keys() | risk.cash.keys():
                if not is_own(unpair(key)[0], number):
                    found, wanted = risk.cash.get(key, (0, 0)), settlement.cash.get(key, (0, 0))
                    self._known.equal(found, wanted, f"{key} at risk")
            flat = (0, 0, 0)
            for key in settlement.positions.keys() | risk.positions.keys():
                found, wanted = risk.positions.get(key, flat)[:2], settlement.positions.get(key, flat)[:2]
                self._known.equal(found, wanted, f"{key} at risk")


def is_own(account: str, partition: int) -> bool:
    """Whether an account is settlement's own, and no client's."""
    return account in {f"{name}:{partition}" for name in OWN}


def _tables(log: Log, cut: Cut, stage: str, make: type[T]) -> Iterator[tuple[int, T]]:
    for (name, partition), checkpoint in cut.checkpoints.items():
        if name == stage:
            yield partition, loaded(make(), entries_of(log, checkpoint, partition))
