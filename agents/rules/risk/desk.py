"""The desk: risk's tables, and all that is derived from them so that a check need not look far.

A Holding is what one account has and has on order in one instrument, a Purse what it has in one currency.
Holds and requirements are totals over open orders: they change by what an order claims before and after, and
are rebuilt from the rows when a partition is. Nothing here points back at its owner, so no object is ever
part of a cycle, and none needs the garbage collector.
"""

from heapq import heapify, heappush
from typing import Final
from zlib import crc32

import msgspec

from agents.rules.budget import Budget
from agents.rules.money import fee_minor
from agents.rules.outbox import Outbox
from schemas.book_commands import Terms
from schemas.maximums import INT64_MAX, NANOSECONDS_PER_DAY, SETTLEMENTS_PER_RECORD
from schemas.partitioner import partition_of
from schemas.record import Record, Side
from schemas.reference import Account, Instrument
from schemas.topics import ACCOUNT_EVENTS, PartitionCounts
from tables.risk import DONE, PENDING, CashRow, CommandRow, OrderRow, PositionRow, RiskTables, pair, unpair

_MINUTE_NS: Final = 60 * 1_000_000_000
_EVICTION_SLOTS: Final = 4096  # ids go over a quarter of an hour, by 4096ths of a day's count: no burst
_EVICTION_SLOT_NS: Final = 250_000_000

_EMPTY: Final = CashRow(0, 0)
WHOLE_E9: Final = 10**9  # drifts are in billionths

Claim = tuple[int, int, int]
"""What an order may still take: lots, their cost in minor units at its worst price, the worst fees."""


class Market(msgspec.Struct, gc=False):
    """An instrument, its mark price (None before the first), and the partition of its book.

    ``terms`` are those of its definition by (maker, taker) rates: accounts of one tier share them. ``moved``
    is the round in which the mark moved last (see ``Desk.move_mark``).
    """

    instrument: Instrument
    mark_ticks: int | None
    book_partition: int
    moved: int = -1
    terms: dict[tuple[int, int], Terms] = {}


class Holding(msgspec.Struct, gc=False):
    """An account in an instrument. ``refusal`` is why it may not be traded, if it may not.

    ``buy_claim_minor`` is what open buys hold of a cash account's cash; ``open_minor`` (their cost, both
    sides) and ``fees_minor`` serve margin. ``required_minor`` and ``value_minor`` are as last valued,
    ``gross_minor`` all of it that a mark may move.
    """

    market: Market
    account: str
    key: str
    terms: Terms
    refusal: str | None
    quantity_lots: int = 0
    open_cost_minor: int = 0
    buy_lots: int = 0
    sell_lots: int = 0
    buy_claim_minor: int = 0
    open_minor: int = 0
    fees_minor: int = 0
    required_minor: int = 0
    value_minor: int = 0
    gross_minor: int = 0
    session_end_ns: int = 0


class Purse(msgspec.Struct, gc=False):
    """An account in a currency: its cash, and the totals over its holdings.

    ``held_minor`` is what open buys and fully paid futures keep of a cash account's cash, ``open_minor`` the
    cost and fees of all open orders. ``required_minor``, ``value_minor`` and ``gross_minor`` are the sums over
    the holdings, each as last valued: none before the desk was at ``valued`` and ``drift_e9``.
    """

    key: str
    cash_minor: int
    unsettled_minor: int
    held_minor: int = 0
    open_minor: int = 0
    required_minor: int = 0
    value_minor: int = 0
    gross_minor: int = 0
    valued: int = -1
    drift_e9: int = 0
    holdings: list[Holding] = []


class Ledger(msgspec.Struct, gc=False):
    """An account: its holdings by instrument, its purses by currency, how many of its orders are open."""

    account: Account
    holdings: dict[str, Holding] = {}
    purses: dict[str, Purse] = {}
    open_orders: int = 0


class Desk:
    """One partition of risk: its tables and what is derived from them.

    ``valuation`` counts first marks and changed margins: what was valued at another must be valued anew.
    ``drift_e9`` bounds how far any mark has moved: between two of its values no mark has moved by a greater
    part of itself (compounded) than their difference says.
    ``names`` are the ids whose command is an open order's row, with its order id. ``closed_ids`` and
    ``windows`` say which keys fall due when; ``due_times`` is a heap of the former's.
    """

    def __init__(self, tables: RiskTables, counts: PartitionCounts, partition: int) -> None:
        """Rebuilds the totals from the rows."""
        self.tables = tables
        self.counts = counts
        self.partition = partition
        self.valuation = 0
        self.budget = Budget(SETTLEMENTS_PER_RECORD)
        self.drift_e9 = 0
        self._round = 0
        self._farthest_e9 = 0  # of the moves of this round
        self.markets: dict[str, Market] = {}
        self.ledgers: dict[str, Ledger] = {}
        self.by_number: list[Ledger] = []
        self.holders: dict[str, list[Holding]] = {}
        self.names: dict[str, int] = {}
        self.closed_ids: dict[int, list[str]] = {}
        self.windows: dict[int, list[str]] = {}
        self._derive_reference()
        self._derive_totals()
        self._derive_due()
        self.due_times = list(self.closed_ids)
        heapify(self.due_times)

    def say(self, outbox: Outbox, event: Record) -> None:
        """Tells the account's clients and settlement."""
        outbox.send(ACCOUNT_EVENTS, self.partition, event)

    # Who and what there is.

    def add_market(self, instrument: Instrument) -> None:
        """Takes a new instrument."""
        symbol = instrument.symbol
        mark = self.tables.marks.get(symbol)
        self.markets[symbol] = Market(instrument, mark, partition_of(symbol, self.counts.books))

    def add_ledger(self, account: Account) -> None:
        """Takes a new account, which must belong to this partition."""
        assert partition_of(account.account, self.counts.accounts) == self.partition, account.account
        self.ledgers[account.account] = ledger = Ledger(account)
        self.by_number.append(ledger)

    def holding(self, ledger: Ledger, market: Market) -> Holding:
        """What an account has in an instrument; made when it is first asked for."""
        symbol = market.instrument.symbol
        holding = ledger.holdings.get(symbol)
        if holding is None:
            account = ledger.account
            key = pair(account.account, symbol)
            terms, refusal = terms_of(account, market), refusal_of(account, symbol)
            holding = Holding(market, account.account, key, terms, refusal)
            ledger.holdings[symbol] = holding
            self.holders.setdefault(symbol, []).append(holding)
            self.purse(ledger, market.instrument.currency).holdings.append(holding)
        return holding

    def purse(self, ledger: Ledger, currency: str) -> Purse:
        """What an account has in a currency; made when it is first asked for."""
        purse = ledger.purses.get(currency)
        if purse is None:
            key = pair(ledger.account.account, currency)
            cash = self.tables.cash.get(key, _EMPTY)
            purse = ledger.purses[currency] = Purse(key, cash.cash_minor, cash.unsettled_minor)
        return purse

    def held_by(self, order: OrderRow) -> tuple[Ledger, Holding, Purse]:
        """The account, the holding and the purse of an open order."""
        ledger = self.ledgers[order.account]
        holding = ledger.holdings[order.instrument]
        return ledger, holding, ledger.purses[holding.terms.currency]

    # What changes rows and totals together.

    def move_mark(self, market: Market, price_ticks: int) -> None:
        """Replaces a mark. In a round no mark moves twice and nothing is valued: it drifts as far as its farthest."""
        before, market.mark_ticks = market.mark_ticks, price_ticks
        if before is None:
            self.valuation += 1
            return
        if market.moved == self._round:
            self.end_round()
        market.moved = self._round
        move_e9 = -(-abs(price_ticks - before) * WHOLE_E9 // min(price_ticks, before))
        if move_e9 > self._farthest_e9:
            self.drift_e9 += move_e9 - self._farthest_e9
            self._farthest_e9 = move_e9

    def end_round(self) -> None:
        """What moves from here on drifts on its own."""
        self._round += 1
        self._farthest_e9 = 0

    def set_cash(self, purse: Purse, cash_minor: int, unsettled_minor: int) -> None:
        """Replaces an account's cash."""
        purse.cash_minor, purse.unsettled_minor = cash_minor, unsettled_minor
        self.tables.cash[purse.key] = CashRow(cash_minor, unsettled_minor)

    def set_position(self, holding: Holding, purse: Purse, quantity_lots: int, cost_minor: int) -> None:
        """Replaces a position; a flat one has no row, and one that opens no part in sessions that have ended."""
        if quantity_lots:
            if not holding.quantity_lots:
                varied = self.tables.variations.get(holding.market.instrument.symbol)
                holding.session_end_ns = varied.session_end_ns if varied else 0
            self.tables.positions[holding.key] = PositionRow(
                quantity_lots, cost_minor, holding.session_end_ns
            )
        else:
            self.tables.positions.pop(holding.key, None)
        _take_position(holding, purse, quantity_lots, cost_minor)

    def known(self, key: str) -> CommandRow | None:
        """What became of the command of an id; None for a new one."""
        row = self.tables.commands.get(key)
        if row is None and (order_id := self.names.get(key)) is not None:
            order = self.tables.orders[order_id]
            reason = PENDING if order.state == "PENDING_NEW" else DONE
            return CommandRow("P", order.digest, order_id, reason, order.at_ns, 0)
        return row

    def keep_id(self, key: str, row: CommandRow) -> None:
        """Replaces the row of an id; one with a time to go is remembered by it."""
        until = row.kept_until_ns
        self.names.pop(key, None)
        if until:
            self._fall_due(until, key)
        self.tables.commands[key] = row

    def _fall_due(self, until: int, key: str) -> None:
        keys = self.closed_ids.get(until)
        if keys is None:
            self.closed_ids[until] = [key]
            heappush(self.due_times, until)
        else:
            keys.append(key)

    # How all of it is rebuilt.

    def _derive_reference(self) -> None:
        for instrument in self.tables.instruments.values():
            self.add_market(instrument)
        for row in sorted(self.tables.accounts.values(), key=lambda row: row.number):
            self.add_ledger(row.account)

    def _derive_totals(self) -> None:
        for key in self.tables.cash:
            account, currency = unpair(key)
            self.purse(self.ledgers[account], currency)
        for key, position in self.tables.positions.items():
            account, symbol = unpair(key)
            ledger = self.ledgers[account]
            holding = self.holding(ledger, self.markets[symbol])
            purse = ledger.purses[holding.terms.currency]
            _take_position(holding, purse, position.quantity_lots, position.open_cost_minor)
            holding.session_end_ns = position.session_end_ns
        for order_id, order in self.tables.orders.items():
            name = pair(order.account, order.client_order_id)
            if name not in self.tables.commands:
                self.names[name] = order_id
            ledger = self.ledgers[order.account]
            known = ledger.holdings.get(order.instrument)  # a restart asks a million times: spare the call
            holding = known or self.holding(ledger, self.markets[order.instrument])
            ledger.open_orders += 1
            terms = holding.terms
            claim = claim_of(order, terms.minor_per_tick_lot)
            move_claim(holding, ledger.purses[terms.currency], order.side, claim)

    def _derive_due(self) -> None:
        for key, command in self.tables.commands.items():
            if command.kept_until_ns:
                self.closed_ids.setdefault(command.kept_until_ns, []).append(key)
        for key, row in self.tables.repeats.items():
            self.windows.setdefault(row.window, []).append(key)


def terms_of(account: Account, market: Market) -> Terms:
    """What fills of an account in an instrument are settled by; a fee class without a rate is free."""
    instrument, maker, taker = market.instrument, 0, 0
    for rate in account.fee_rates:
        if rate.fee_class == instrument.fee_class:
            maker, taker = rate.maker_bps, rate.taker_bps
    terms = market.terms.get((maker, taker))
    if terms is None:
        terms = market.terms[maker, taker] = Terms(
            kind=instrument.kind,
            currency=instrument.currency,
            minor_per_tick_lot=instrument.minor_per_tick_lot,
            maker_bps=maker,
            taker_bps=taker,
            settlement_days=instrument.settlement_days,
        )
    return terms


def refusal_of(account: Account, symbol: str) -> str | None:
    """Why an account may not trade an instrument: not among the permitted ones, or restricted."""
    if account.permitted_instruments and symbol not in account.permitted_instruments:
        return "instrument_not_permitted"
    return "instrument_restricted" if symbol in account.restricted_instruments else None


def claim_at(lots: int, price_ticks: int, minor_per_tick_lot: int, fee_bps: int) -> Claim:
    """What so many lots at a price claim.

    A fee is rounded up, so nothing costs more than a fill for each lot: that many fees are claimed.
    """
    unit = price_ticks * minor_per_tick_lot
    return lots, lots * unit, lots * fee_minor(unit, fee_bps)


def claim_of(order: OrderRow, minor_per_tick_lot: int) -> Claim:
    """What an open order may still take.

    While replaces wait for their answer that is the largest quantity at the highest price of all that the
    order may be, since fills of any of them may be on their way.
    """
    lots, price = order.quantity_lots, order.hold_price_ticks
    for change in order.pending:
        if change.quantity_lots is not None and change.quantity_lots > lots:
            lots = change.quantity_lots
        if change.price_ticks is not None and change.price_ticks > price:
            price = change.price_ticks
    return claim_at(lots - order.cum_quantity_lots, price, minor_per_tick_lot, order.fee_bps)


def change_of(before: OrderRow, after: OrderRow, minor_per_tick_lot: int) -> Claim:
    """How an order's claim changes with its row."""
    if before.hold_price_ticks == after.hold_price_ticks and not before.pending and not after.pending:
        left = before.quantity_lots - before.cum_quantity_lots
        lots = after.quantity_lots - after.cum_quantity_lots - left
        return claim_at(lots, after.hold_price_ticks, minor_per_tick_lot, after.fee_bps)
    lots, cost, fees = claim_of(before, minor_per_tick_lot)
    then = claim_of(after, minor_per_tick_lot)
    return then[0] - lots, then[1] - cost, then[2] - fees


def move_claim(holding: Holding, purse: Purse, side: Side, change: Claim) -> None:
    """Changes the totals by a change of what an order claims."""
    lots, cost, fees = change
    if side == "BUY":
        holding.buy_lots += lots
        holding.buy_claim_minor += cost + fees
        purse.held_minor += cost + fees
    else:
        holding.sell_lots += lots
    holding.open_minor += cost
    holding.fees_minor += fees
    purse.open_minor += cost + fees


def kept_until_ns(key: str, now_ns: int, session_end_minute_utc: int = 0) -> int:
    """How long an id that closed now is kept: until the end of the next session day, and a bit.

    That is more than a whole day, so a repeat that comes later is older than the command window. The bit, up
    to a quarter of an hour by the id's hash, spreads the work.
    """
    end_ns = session_end_minute_utc * _MINUTE_NS
    days = (now_ns - end_ns) // NANOSECONDS_PER_DAY + 2
    slot = crc32(key.encode("ascii")) % _EVICTION_SLOTS
    return min(days * NANOSECONDS_PER_DAY + end_ns + slot * _EVICTION_SLOT_NS, INT64_MAX)


def _take_position(holding: Holding, purse: Purse, quantity_lots: int, cost_minor: int) -> None:
    if holding.terms.kind == "FUTURE":
        purse.held_minor += cost_minor - holding.open_cost_minor
    holding.quantity_lots, holding.open_cost_minor = quantity_lots, cost_minor
