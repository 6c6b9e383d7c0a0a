"""Check 5, futures: what fills and session ends make of positions, in the order that account-events has them in.

Settlement and risk may work a session end off over many records: what still waits at the cut is added here.
"""

from collections import Counter
from typing import NamedTuple

from infra.auditor import money
from infra.auditor.money import Held
from infra.auditor.report import Report
from schemas.events import OrderFilled, SessionEnded
from schemas.settlement_events import VariationSettled
from tables.risk import RiskTables, pair, unpair
from tables.settlement import SettlementTables

SessionKey = tuple[str, int]
"""An instrument, and when its session ended."""


class Standing(NamedTuple):
    """Cash and what of it waits for its day, and positions (lots, open cost, profit), by ``pair`` of names."""

    cash: dict[str, tuple[int, int]]
    positions: dict[str, tuple[int, int, int]]


class Sessions:
    """The futures of all partitions, and the session ends that were told."""

    def __init__(self, report: Report) -> None:
        self.held: dict[tuple[int, str], dict[str, Held]] = {}
        self.units: dict[str, int] = {}
        self._marks: dict[SessionKey, int] = {}
        self._heard: Counter[SessionKey] = Counter()
        self._varied: dict[SessionKey, int] = {}
        self._told = report.tally("a session's end is told once to every account partition, at one mark")
        self._variations = report.tally("variations are of sessions that have ended, at their marks")
        self._futures = report.tally("futures cost what fills and session ends make of them")

    def on_told(self, item: SessionEnded) -> None:
        """An account partition hears of a session end."""
        key = item.instrument, item.session_end_ns
        mark = self._marks.setdefault(key, item.mark_price_ticks)
        self._told.equal(item.mark_price_ticks, mark, f"{item.instrument}, session to {item.session_end_ns}")
        self._heard[key] += 1

    def on_fill(self, partition: int, fill: OrderFilled) -> None:
        """A fill that settlement must settle."""
        if fill.terms.kind == "FUTURE":
            self.units[fill.instrument] = fill.terms.minor_per_tick_lot
            holders = self.held.setdefault((partition, fill.instrument), {})
            notional = money.notional(fill.terms, fill.last_price_ticks, fill.last_quantity_lots)
            before = holders.get(fill.account, Held())
            holders[fill.account] = money.after_fill(before, fill.side, fill.last_quantity_lots, notional)

    def on_end(self, partition: int, item: SessionEnded) -> None:
        """A session end that settlement must work off."""
        holders = self.held.get((partition, item.instrument), {})
        for account, held in holders.items():
            unit = self.units[item.instrument]
            holders[account] = money.after_session(held, item.mark_price_ticks, unit)

    def on_variation(self, item: VariationSettled) -> None:
        """Settlement has posted a variation."""
        key = item.instrument, item.session_end_ns
        mark = self._varied.setdefault(key, item.mark_price_ticks)
        self._variations.equal(item.mark_price_ticks, mark, f"{item.account}, {item.instrument}")

    def restore(self, partition: int, tables: SettlementTables) -> None:
        """Goes on from settlement's tables, as if what they work off were done."""
        standing = booked(tables)
        for (account, instrument), row in tables.positions.items():
            if row.kind == "FUTURE":
                self.units[instrument] = row.minor_per_tick_lot
                holders = self.held.setdefault((partition, instrument), {})
                holders[account] = Held(*standing.positions[pair(account, instrument)])
        for instrument, variation in tables.variations.items():
            self._marks[instrument, variation.session_end_ns] = variation.mark_price_ticks

    def finish(self, partitions: int) -> None:
        """Compares what was told, and posted, with what should be; there are so many account partitions."""
        for (instrument, end_ns), count in self._heard.items():
            self._told.equal(count, partitions, f"{instrument}, session to {end_ns}: partitions told")
        for key, mark in self._varied.items():
            self._variations.equal(mark, self._marks.get(key), f"{key[0]}, session to {key[1]}")

    def check(self, partition: int, tables: SettlementTables) -> None:
        """Compares settlement's futures with those of the log."""
        standing = booked(tables)
        found = {
            pair(account, instrument): standing.positions[pair(account, instrument)]
            for (account, instrument), row in tables.positions.items()
            if row.kind == "FUTURE"
        }
        wanted = {
            pair(account, instrument): (held.quantity_lots, held.open_cost_minor, held.realised_minor)
            for (number, instrument), holders in self.held.items()
            if number == partition
            for account, held in holders.items()
        }
        for key in found.keys() | wanted.keys():
            self._futures.equal(found.get(key), wanted.get(key), key)


def booked(tables: SettlementTables) -> Standing:
    """What settlement has booked, as if the session ends that it works off were done."""
    cash = {pair(*key): (row.cash_minor, row.unsettled_minor) for key, row in tables.balances.items()}
    positions: dict[str, tuple[int, int, int]] = {}
    for (account, instrument), row in tables.positions.items():
        variation, due = tables.variations.get(instrument), 0
        if variation is not None and row.session_end_ns != variation.session_end_ns:
            worth = variation.mark_price_ticks * row.quantity_lots * row.minor_per_tick_lot
            due = worth - row.open_cost_minor
        lots, cost, profit = row.quantity_lots, row.open_cost_minor + due, row.realised_profit_minor + due
        positions[pair(account, instrument)] = lots, cost, profit
        _add(cash, pair(account, row.currency), due)
    return Standing(cash, positions)


def at_risk(tables: RiskTables) -> Standing:
    """What risk has on its books, which say nothing of profit, as if the session ends were done."""
    cash = {key: (row.cash_minor, row.unsettled_minor) for key, row in tables.cash.items()}
    positions: dict[str, tuple[int, int, int]] = {}
    for key, row in tables.positions.items():
        account, symbol = unpair(key)
        instrument, variation, due = tables.instruments[symbol], tables.variations.get(symbol), 0
        if variation is not None and row.session_end_ns != variation.session_end_ns:
            worth = variation.mark_price_ticks * row.quantity_lots * instrument.minor_per_tick_lot
            due = worth - row.open_cost_minor
        positions[key] = row.quantity_lots, row.open_cost_minor + due, 0
        _add(cash, pair(account, instrument.currency), due)
    return Standing(cash, positions)


def _add(cash: dict[str, tuple[int, int]], key: str, amount: int) -> None:
    if amount:
        before, unsettled = cash.get(key, (0, 0))
        cash[key] = before + amount, unsettled
