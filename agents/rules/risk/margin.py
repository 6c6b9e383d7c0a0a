"""Margin: what an account's positions and open orders require, against what it is worth.

Marks change for all accounts at once, many times a second, so a mark costs nothing: an account's sums keep
the marks that they were made with, its own changes are applied to them, and how far they can be off by now is
known (``off_by_minor``). An order that is covered by more than that needs no more; any other has the account
valued anew, holding by holding. The answer is the same.
"""

from typing import Final

from agents.rules.money import margin_minor
from agents.rules.outbox import Outbox
from agents.rules.risk.desk import WHOLE_E9, Desk, Holding, Ledger, Purse
from schemas.maximums import EXAMINED_PER_RECORD, INT64_MAX
from schemas.risk_events import MarginDeficit, MarginRestored
from schemas.topics import RISK_EVENTS
from tables.risk import MARGIN_CURSOR

_START: Final = 0
_TWICE: Final = 2  # e^x - 1 is at most 2x for x up to 1: drifts of many moves add up, their factors multiply


def required_minor(holding: Holding, buy_lots: int, sell_lots: int, open_minor: int, fees_minor: int) -> int:
    """Margin of the worse side, rounded up, and worst fees.

    Without a mark a position counts at its cost and open orders at their own worst prices.
    """
    market = holding.market
    mark, bps = market.mark_ticks, market.instrument.initial_margin_bps
    if mark is None:
        return margin_minor(abs(holding.open_cost_minor) + open_minor, bps) + fees_minor
    quantity = holding.quantity_lots
    exposed = max(quantity + buy_lots, sell_lots - quantity)  # one of them is the greater in size as well
    return margin_minor(mark * exposed * holding.terms.minor_per_tick_lot, bps) + fees_minor


def value(desk: Desk, purse: Purse) -> None:
    """Brings a purse's requirement and value up to date with the marks."""
    if purse.valued == desk.valuation and purse.drift_e9 == desk.drift_e9:
        return
    desk.end_round()
    purse.required_minor = purse.value_minor = purse.gross_minor = 0
    for holding in purse.holdings:
        _value_holding(holding)
        purse.required_minor += holding.required_minor
        purse.value_minor += holding.value_minor
        purse.gross_minor += holding.gross_minor
    purse.valued, purse.drift_e9 = desk.valuation, desk.drift_e9


def revalue(desk: Desk, holding: Holding, purse: Purse) -> None:
    """Takes a change of one holding into the sums, unless they must be made anew anyway."""
    if purse.valued == desk.valuation:
        required, worth, gross = holding.required_minor, holding.value_minor, holding.gross_minor
        _value_holding(holding)
        purse.required_minor += holding.required_minor - required
        purse.value_minor += holding.value_minor - worth
        purse.gross_minor += holding.gross_minor - gross


def off_by_minor(desk: Desk, purse: Purse) -> int | None:
    """How much less than its sums say a purse's value minus requirement can be by now; None: any amount.

    Since the purse was valued no mark moved by more than the drift, so no holding's worth and margin did;
    rounding up a margin adds a unit a holding.
    """
    drift = desk.drift_e9 - purse.drift_e9
    if purse.valued != desk.valuation or drift > WHOLE_E9:
        return None
    return _TWICE * drift * purse.gross_minor // WHOLE_E9 + 1 + len(purse.holdings) if drift else 0


def free_minor(desk: Desk, ledger: Ledger, purse: Purse) -> int:
    """What may be withdrawn: min(cash - holds, equity - required); receipts wait for their day.

    A cash account pays in full: what its futures cost stays held as long as they are, so they can never
    owe more than there is.
    """
    settled = purse.cash_minor - max(purse.unsettled_minor, 0)
    if ledger.account.account_type == "CASH":
        return settled - purse.held_minor
    value(desk, purse)
    return min(settled, purse.cash_minor + purse.value_minor - purse.required_minor)


def examine_next(desk: Desk, now_ns: int, outbox: Outbox) -> None:
    """Looks at the margin of the next accounts in turn, so that each has its turn within a few ticks."""
    start = desk.tables.cursors.get(MARGIN_CURSOR, _START)
    stop = start + EXAMINED_PER_RECORD
    for ledger in desk.by_number[start:stop]:
        examine(desk, ledger, now_ns, outbox)
    after = stop if stop < len(desk.by_number) else _START
    if after != start:
        desk.tables.cursors[MARGIN_CURSOR] = after


def examine(desk: Desk, ledger: Ledger, now_ns: int, outbox: Outbox) -> None:
    """Says once when an account's equity falls below what is required, and once when it is back."""
    for currency in sorted(ledger.purses):
        purse = ledger.purses[currency]
        short, known = is_short(desk, ledger, purse), purse.key in desk.tables.deficits
        if short == known:
            continue
        if short:
            desk.tables.deficits[purse.key] = True
        else:
            del desk.tables.deficits[purse.key]
        event = (MarginDeficit if short else MarginRestored)(
            account=ledger.account.account,
            currency=currency,
            equity_minor=_bounded(purse.cash_minor + purse.value_minor),
            required_minor=_bounded(purse.required_minor),
            at_ns=now_ns,
        )
        outbox.send(RISK_EVENTS, desk.partition, event)


def is_short(desk: Desk, ledger: Ledger, purse: Purse) -> bool:
    """Whether only reducing orders may pass: equity below zero or below what is required."""
    if ledger.account.account_type == "CASH":
        return False
    value(desk, purse)
    return purse.cash_minor + purse.value_minor < purse.required_minor


def _value_holding(holding: Holding) -> None:
    """What a holding requires, and adds to equity (its cost while there is no mark); see ``required_minor``."""
    fees, cost = holding.fees_minor, holding.open_cost_minor
    required = required_minor(holding, holding.buy_lots, holding.sell_lots, holding.open_minor, fees)
    mark, terms = holding.market.mark_ticks, holding.terms
    worth = cost if mark is None else mark * holding.quantity_lots * terms.minor_per_tick_lot
    holding.required_minor = required
    holding.value_minor = worth - cost if terms.kind == "FUTURE" else worth
    holding.gross_minor = abs(worth) + required - fees


def _bounded(amount: int) -> int:
    """What an alert can say; a mark may be set so high that a sum is beyond it."""
    return max(-INT64_MAX, min(amount, INT64_MAX))
