"""Settlement: fills and cash become positions, balances, double-entry postings and obligations.

Every partition P keeps its own books: trades settle against ``clearing:P``, fees against ``house:P``, and
``cash:P`` stands for the world outside (minus what was deposited), so all balances of a partition sum to
zero in every currency. Clearing over all partitions and the open cost of all futures sum to zero once both
legs of every trade are in.

Nothing here depends on the order between origins: a fill carries the terms it settles by, so it may come
before the deposit that pays for it, before its account and before its instrument.
"""

from typing import Final, assert_never

import msgspec
from sortedcontainers import SortedSet

from agents.rules.budget import Budget
from agents.rules.money import Booked, book_fill, book_variation, fits
from agents.rules.outbox import Outbox, Place
from agents.rules.reference import CLEARING, HOUSE, OUTSIDE
from schemas import control_events, events
from schemas.control_events import ClockTicked
from schemas.envelopes import AccountEventItem
from schemas.events import CashDeposited, CashWithdrawn, MarkChanged, OrderFilled, SessionEnded
from schemas.ids import trade_id as numbered_id
from schemas.maximums import NANOSECONDS_PER_DAY, SETTLEMENTS_PER_RECORD
from schemas.settlement_events import (
    BalanceChanged,
    CashReleased,
    ObligationCreated,
    PositionChanged,
    Posting,
    SettlementEvent,
    TradeConfirmed,
    VariationSettled,
)
from schemas.topics import ACCOUNT_COMMANDS, SETTLEMENT_EVENTS, PartitionCounts
from tables.settlement import (
    LEDGER,
    BalanceKey,
    BalanceRow,
    LedgerRow,
    PositionRow,
    SettlementTables,
    VariationRow,
)

_WEEKDAYS: Final = 5
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday; Monday is 0

_NO_BALANCE: Final = BalanceRow()


class Settlement:
    """The rules of settlement over the tables of one partition."""

    VERSION = 1

    def __init__(self, tables: SettlementTables, counts: PartitionCounts, partition: int) -> None:  # noqa: ARG002  (every stage is made alike)
        """Builds what is derived: who holds which future, and what is due when."""
        self._tables = tables
        self._partition = partition
        self._house = f"{HOUSE}{partition}"
        self._clearing = f"{CLEARING}{partition}"
        self._outside = f"{OUTSIDE}{partition}"
        self._ledger = tables.ledger.get(LEDGER, LedgerRow())
        self._next_posting = self._ledger.next_posting
        self._budget = Budget(SETTLEMENTS_PER_RECORD)
        self._due = SortedSet(tables.releases)
        self._holders: dict[str, SortedSet[str]] = {}
        for (account, instrument), position in tables.positions.items():
            self._index(account, instrument, position)
        self._moves: dict[BalanceKey, int] = {}  # what the item at hand moves; empty between items

    def apply(self, item: AccountEventItem, place: Place, outbox: Outbox) -> None:
        """Takes one item; its postings balance."""
        match item:
            case OrderFilled():
                self._fill(item, outbox)
            case CashDeposited() | CashWithdrawn():
                self._move_cash(item, outbox)
            case ClockTicked():
                self._tick(item, place, outbox)
            case SessionEnded():
                self._end_session(item, place, outbox)
            case MarkChanged():
                self._tables.marks[item.instrument] = item.price_ticks
            case (
                events.OrderAccepted()
                | events.OrderRejected()
                | events.OrderReplaced()
                | events.OrderReduced()
                | events.OrderCancelled()
                | events.OrderExpired()
                | events.OrderTriggered()
                | events.CancelRejected()
                | events.ReplaceRejected()
                | events.OrdersRemoved()
                | events.MassCancelled()
                | events.CommandRefused()
                | control_events.InstrumentDefined()
                | control_events.AccountDefined()
                | control_events.LimitsChanged()
                | control_events.TradingHalted()
                | control_events.TradingResumed()
                | control_events.KillActivated()
                | control_events.KillLifted()
                | control_events.MassCancelOrdered()
                | control_events.MarkSet()
                | control_events.RulesActivated()
            ):
                pass  # moves no money
            case _:
                assert_never(item)

    def _fill(self, fill: OrderFilled, outbox: Outbox) -> None:
        account, instrument, terms = fill.account, fill.instrument, fill.terms
        held = self._tables.positions.get((account, instrument)) or PositionRow(
            terms.kind, terms.currency, terms.minor_per_tick_lot
        )
        if variation := self._tables.variations.get(instrument):
            held = self._vary(account, instrument, held, variation, fill.at_ns, outbox)
        booked = book_fill(
            held.quantity_lots,
            held.open_cost_minor,
            terms,
            fill.side,
            fill.liquidity,
            fill.last_price_ticks,
            fill.last_quantity_lots,
        )
        day = settlement_day(fill.at_ns, terms.settlement_days)
        self._confirm(fill, booked, day, outbox)
        self._hold(
            account,
            instrument,
            PositionRow(
                held.kind,
                held.currency,
                held.minor_per_tick_lot,
                booked.quantity_lots,
                booked.open_cost_minor,
                held.realised_profit_minor + booked.realised_profit_minor,
                held.version + 1,
                held.session_end_ns,
            ),
            fill.at_ns,
            outbox,
        )
        self._pay(fill, booked, outbox)
        if booked.unsettled_minor:
            key = day, account, terms.currency
            self._tables.releases[key] = self._tables.releases.get(key, 0) + booked.unsettled_minor
            self._due.add(key)
        self._balance(fill.at_ns, outbox, (account, terms.currency), booked.unsettled_minor)

    def _pay(self, fill: OrderFilled, booked: Booked, outbox: Outbox) -> None:
        account, currency, source = fill.account, fill.terms.currency, str(fill.trade_id)
        before_fee = booked.cash_minor + booked.fee_minor
        self._transfer("TRADE", self._clearing, account, currency, before_fee, source, fill.at_ns, outbox)
        kind = "FEE" if booked.fee_minor > 0 else "REBATE"
        self._transfer(kind, account, self._house, currency, booked.fee_minor, source, fill.at_ns, outbox)

    def _confirm(self, fill: OrderFilled, booked: Booked, day: int, outbox: Outbox) -> None:
        self._say(
            outbox,
            TradeConfirmed(
                trade_id=fill.trade_id,
                account=fill.account,
                client_order_id=fill.client_order_id,
                order_id=fill.order_id,
                instrument=fill.instrument,
                side=fill.side,
                liquidity=fill.liquidity,
                price_ticks=fill.last_price_ticks,
                quantity_lots=fill.last_quantity_lots,
                currency=fill.terms.currency,
                notional_minor=booked.notional_minor,
                fee_minor=booked.fee_minor,
                realised_profit_minor=booked.realised_profit_minor,
                settlement_day=day,
                at_ns=fill.at_ns,
            ),
        )
        if fill.terms.kind != "FUTURE":  # a future delivers nothing before its end
            buys = fill.side == "BUY"
            self._say(
                outbox,
                ObligationCreated(
                    trade_id=fill.trade_id,
                    account=fill.account,
                    instrument=fill.instrument,
                    settlement_day=day,
                    currency=fill.terms.currency,
                    receive_quantity_lots=fill.last_quantity_lots if buys else 0,
                    deliver_quantity_lots=0 if buys else fill.last_quantity_lots,
                    receive_minor=0 if buys else booked.notional_minor,
                    deliver_minor=booked.notional_minor if buys else 0,
                    at_ns=fill.at_ns,
                ),
            )

    def _move_cash(self, item: CashDeposited | CashWithdrawn, outbox: Outbox) -> None:
        if item.possible_resend:
            return
        kind, amount = "DEPOSIT", item.amount_minor
        debit, credit = self._outside, item.account
        if isinstance(item, CashWithdrawn):
            kind, debit, credit = "WITHDRAWAL", credit, debit
        self._transfer(kind, debit, credit, item.currency, amount, item.command_id, item.at_ns, outbox)
        self._balance(item.at_ns, outbox)

    # Session ends and the clock: at most so many settlements a record, and the rest with the next ticks.

    def _end_session(self, item: SessionEnded, place: Place, outbox: Outbox) -> None:
        """Posts the variation of all who hold the future here and now; others have nothing to gain or lose.

        A position that must wait is varied before its next fill, so for all of them it is as if at once.
        """
        if self._holders.get(item.instrument):
            variation = VariationRow(item.mark_price_ticks, item.session_end_ns)
            self._tables.variations[item.instrument] = variation
            self._vary_holders(item.instrument, item.at_ns, place, outbox)

    def _tick(self, tick: ClockTicked, place: Place, outbox: Outbox) -> None:
        self._budget.spend(self._release(tick, self._budget.left(place), outbox))
        for instrument in sorted(self._tables.variations):
            self._vary_holders(instrument, tick.at_ns, place, outbox)

    def _release(self, tick: ClockTicked, most: int, outbox: Outbox) -> int:
        """Releases at most so many receipts whose day has come; gives how many."""
        today, count = tick.tick_ns // NANOSECONDS_PER_DAY, 0
        while count < most and self._due and self._due[0][0] <= today:
            key = day, account, currency = self._due.pop(0)
            amount = self._tables.releases.pop(key)
            released = CashReleased(
                account=account,
                currency=currency,
                settlement_day=day,
                amount_minor=amount,
                at_ns=tick.at_ns,
            )
            self._say(outbox, released)
            outbox.send(ACCOUNT_COMMANDS, self._partition, released)
            self._balance(tick.at_ns, outbox, (account, currency), -amount)
            count += 1
        return count

    def _vary_holders(self, instrument: str, at_ns: int, place: Place, outbox: Outbox) -> None:
        """Goes on with a session end, holder by holder, by name, as far as the record's budget reaches."""
        variation = self._tables.variations[instrument]
        holders, most = self._holders[instrument], self._budget.left(place)
        start = holders.bisect_right(variation.after_account)
        accounts = holders[start : start + most]
        for account in accounts:
            held = self._tables.positions[account, instrument]
            self._vary(account, instrument, held, variation, at_ns, outbox)
        self._budget.spend(len(accounts))
        self._balance(at_ns, outbox)
        if start + most >= len(holders):
            del self._tables.variations[instrument]
        elif accounts:
            after = msgspec.structs.replace(variation, after_account=accounts[-1])
            self._tables.variations[instrument] = after

    def _vary(
        self,
        account: str,
        instrument: str,
        held: PositionRow,
        variation: VariationRow,
        at_ns: int,
        outbox: Outbox,
    ) -> PositionRow:
        """Posts a position's variation if it still waits for it; gives the position, for which none waits."""
        if held.session_end_ns == variation.session_end_ns:
            return held
        amount = book_variation(
            held.quantity_lots, held.open_cost_minor, variation.mark_price_ticks, held.minor_per_tick_lot
        )
        position = msgspec.structs.replace(held, session_end_ns=variation.session_end_ns)
        if not amount:
            return position
        settled = VariationSettled(
            account=account,
            instrument=instrument,
            currency=held.currency,
            mark_price_ticks=variation.mark_price_ticks,
            session_end_ns=variation.session_end_ns,
            amount_minor=amount,
            at_ns=at_ns,
        )
        self._say(outbox, settled)
        self._transfer("VARIATION", self._clearing, account, held.currency, amount, instrument, at_ns, outbox)
        position = msgspec.structs.replace(
            position,
            open_cost_minor=held.open_cost_minor + amount,
            realised_profit_minor=held.realised_profit_minor + amount,
            version=held.version + 1,
        )
        self._hold(account, instrument, position, at_ns, outbox)
        return position

    # The books.

    def _hold(self, account: str, instrument: str, position: PositionRow, at_ns: int, outbox: Outbox) -> None:
        assert position.quantity_lots or not position.open_cost_minor, "a flat position has no open cost"
        self._tables.positions[account, instrument] = position
        self._index(account, instrument, position)
        self._say(
            outbox,
            PositionChanged(
                account=account,
                instrument=instrument,
                currency=position.currency,
                quantity_lots=position.quantity_lots,
                open_cost_minor=position.open_cost_minor,
                realised_profit_minor=position.realised_profit_minor,
                version=position.version,
                at_ns=at_ns,
            ),
        )

    def _index(self, account: str, instrument: str, position: PositionRow) -> None:
        if position.kind == "FUTURE":
            holders = self._holders.setdefault(instrument, SortedSet())
            (holders.add if position.quantity_lots else holders.discard)(account)

    def _transfer(
        self,
        kind: str,
        debit: str,
        credit: str,
        currency: str,
        amount: int,
        source: str,
        at_ns: int,
        outbox: Outbox,
    ) -> None:
        """Posts an amount from debit to credit, a negative one the other way, and zero not at all."""
        if not amount:
            return
        if amount < 0:
            debit, credit, amount = credit, debit, -amount
        posting = Posting(
            posting_id=numbered_id(self._partition, self._next_posting),
            kind=kind,
            debit_account=debit,
            credit_account=credit,
            currency=currency,
            amount_minor=amount,
            source_id=source,
            at_ns=at_ns,
        )
        self._next_posting += 1
        outbox.send(SETTLEMENT_EVENTS, self._partition, posting)
        moves = self._moves
        moves[debit, currency] = moves.get((debit, currency), 0) - amount
        moves[credit, currency] = moves.get((credit, currency), 0) + amount

    def _balance(
        self, at_ns: int, outbox: Outbox, waiting: BalanceKey | None = None, unsettled: int = 0
    ) -> None:
        """Takes what was posted into the balances, and what waits (or waits no longer) of ``waiting``."""
        moves, self._moves = self._moves, {}
        assert not sum(moves.values()), f"postings sum to {sum(moves.values())}"
        if unsettled and waiting:
            moves.setdefault(waiting, 0)
        for key, move in moves.items():
            old = self._tables.balances.get(key, _NO_BALANCE)
            cash = old.cash_minor + move
            waits = old.unsettled_minor + (unsettled if key == waiting else 0)
            assert fits(cash), f"{key} leaves int64"
            assert waits >= 0, f"{key} released more than was waiting"
            self._tables.balances[key] = BalanceRow(cash, waits, old.version + 1)
            account, currency = key
            self._say(
                outbox,
                BalanceChanged(
                    account=account,
                    currency=currency,
                    cash_minor=cash,
                    unsettled_minor=waits,
                    version=old.version + 1,
                    at_ns=at_ns,
                ),
            )
        if self._next_posting != self._ledger.next_posting:
            self._ledger = LedgerRow(self._next_posting)
            self._tables.ledger[LEDGER] = self._ledger

    def _say(self, outbox: Outbox, event: SettlementEvent) -> None:
        outbox.send(SETTLEMENT_EVENTS, self._partition, event)


def settlement_day(at_ns: int, days: int) -> int:
    """The day (since 1970-01-01) on which a trade settles: so many weekdays after its own.

    T+0 settles on the trade's own day, whatever day it is: a market that trades on a Sunday settles then.
    """
    day = at_ns // NANOSECONDS_PER_DAY
    while days:
        day += 1
        days -= (day + _EPOCH_WEEKDAY) % 7 < _WEEKDAYS
    return day


def check_settlement(tables: SettlementTables) -> None:
    """Asserts what must hold of one partition between two items."""
    sums: dict[str, int] = {}
    for (_, currency), balance in tables.balances.items():
        sums[currency] = sums.get(currency, 0) + balance.cash_minor
    assert not any(sums.values()), f"balances do not sum to zero: {sums}"
    waiting: dict[BalanceKey, int] = {}
    for (_, account, currency), amount in tables.releases.items():
        assert amount > 0, f"a release of {amount} to {account}"
        waiting[account, currency] = waiting.get((account, currency), 0) + amount
    unsettled = {key: row.unsettled_minor for key, row in tables.balances.items() if row.unsettled_minor}
    assert unsettled == waiting, "what waits is not what will be released"
    for key, position in tables.positions.items():
        assert position.quantity_lots or not position.open_cost_minor, f"{key} is flat at a cost"
