"""The journal of one partition: its tables, the postings and balances of the item at hand, and what is said of them."""

from typing import Final

from sortedcontainers import SortedSet

from agents.rules.budget import Budget
from agents.rules.money import fits
from agents.rules.outbox import Outbox
from agents.rules.reference import CLEARING, HOUSE, OUTSIDE
from schemas.ids import trade_id as numbered_id
from schemas.maximums import SETTLEMENTS_PER_RECORD
from schemas.record import Record
from schemas.settlement_events import BalanceChanged, PositionChanged, Posting, SettlementEvent
from schemas.topics import ACCOUNT_COMMANDS, SETTLEMENT_EVENTS
from tables.settlement import (
    LEDGER,
    BalanceKey,
    BalanceRow,
    LedgerRow,
    PositionRow,
    ReleaseKey,
    SettlementTables,
)

_NO_BALANCE: Final = BalanceRow()


class Journal:
    """``begin`` for each item, any number of ``post`` and ``hold``, then ``balance``: it asserts that they balance.

    ``due`` orders the receipts that wait, ``holders`` says who holds each future; both follow the tables.
    """

    def __init__(self, tables: SettlementTables, partition: int) -> None:
        """Builds what is derived."""
        self.tables: Final = tables
        self.house: Final = f"{HOUSE}{partition}"
        self.clearing: Final = f"{CLEARING}{partition}"
        self.outside: Final = f"{OUTSIDE}{partition}"
        self.budget: Final = Budget(SETTLEMENTS_PER_RECORD)
        self.due: SortedSet[ReleaseKey] = SortedSet(tables.releases)
        self.holders: dict[str, SortedSet[str]] = {}
        for (account, instrument), position in tables.positions.items():
            self._index(account, instrument, position)
        self._said: Final = (SETTLEMENT_EVENTS, partition)
        self._partition: Final = partition
        self._ledger = tables.ledger.get(LEDGER, LedgerRow())
        self._next_posting = self._ledger.next_posting
        self._moves: dict[BalanceKey, int] = {}  # what the item at hand moves; empty between items
        self._outbox = Outbox()

    def begin(self, outbox: Outbox) -> None:
        """Starts the next item, which is answered there."""
        self._outbox = outbox

    def say(self, event: SettlementEvent) -> None:
        """Tells the world."""
        lanes = self._outbox.items
        lane = lanes.get(self._said)
        if lane is None:
            lanes[self._said] = [event]
        else:
            lane.append(event)

    def tell_risk(self, event: Record) -> None:
        """Tells the risk of this partition's accounts."""
        self._outbox.send(ACCOUNT_COMMANDS, self._partition, event)

    def hold(self, account: str, instrument: str, position: PositionRow, at_ns: int) -> None:
        """Replaces a position."""
        assert position.quantity_lots or not position.open_cost_minor, "a flat position has no open cost"
        self.tables.positions[account, instrument] = position
        self._index(account, instrument, position)
        self.say(
            PositionChanged(
                account=account,
                instrument=instrument,
                currency=position.currency,
                quantity_lots=position.quantity_lots,
                open_cost_minor=position.open_cost_minor,
                realised_profit_minor=position.realised_profit_minor,
                version=position.version,
                at_ns=at_ns,
            )
        )

    def post(
        self, kind: str, debit: str, credit: str, currency: str, amount: int, source: str, at_ns: int
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
        self.say(posting)
        moves = self._moves
        moves[debit, currency] = moves.get((debit, currency), 0) - amount
        moves[credit, currency] = moves.get((credit, currency), 0) + amount

    def wait(self, key: ReleaseKey, amount: int) -> None:
        """Keeps a receipt until its settlement day."""
        self.tables.releases[key] = self.tables.releases.get(key, 0) + amount
        self.due.add(key)

    def balance(self, at_ns: int, waiting: BalanceKey | None = None, unsettled: int = 0) -> None:
        """Takes what was posted into the balances, and what waits (or waits no longer) of ``waiting``."""
        moves, self._moves = self._moves, {}
        assert not sum(moves.values()), f"postings sum to {sum(moves.values())}"
        if unsettled and waiting:
            moves.setdefault(waiting, 0)
        for key, move in moves.items():
            old = self.tables.balances.get(key, _NO_BALANCE)
            cash = old.cash_minor + move
            waits = old.unsettled_minor + (unsettled if key == waiting else 0)
            assert fits(cash), f"{key} leaves int64"
            assert waits >= 0, f"{key} released more than was waiting"
            self.tables.balances[key] = BalanceRow(cash, waits, old.version + 1)
            account, currency = key
            self.say(
                BalanceChanged(
                    account=account,
                    currency=currency,
                    cash_minor=cash,
                    unsettled_minor=waits,
                    version=old.version + 1,
                    at_ns=at_ns,
                )
            )
        if self._next_posting != self._ledger.next_posting:
            self._ledger = LedgerRow(self._next_posting)
            self.tables.ledger[LEDGER] = self._ledger

    def _index(self, account: str, instrument: str, position: PositionRow) -> None:
        if position.kind == "FUTURE":
            holders = self.holders.setdefault(instrument, SortedSet())
            (holders.add if position.quantity_lots else holders.discard)(account)
