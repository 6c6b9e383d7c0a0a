"""Futures' variation at session end: what a position is worth above its cost becomes cash.

Settlement hears the same session end at the same place among the instrument's fills, and posts the same. Here,
where accounts are many, it is worked off account by account; one that must wait is caught up before its cash or
its position is next touched, so that it is as if all had been done at once. Equity, and what a cash account
holds, are the same before and after: checks of orders need not ask.
"""

from agents.rules.money import book_variation
from agents.rules.outbox import Outbox, Place
from agents.rules.risk.desk import Desk, Holding, Ledger, Purse
from agents.rules.risk.margin import revalue
from schemas.events import SessionEnded
from tables.risk import VARIATION_CURSOR, VariationRow


def session_ended(desk: Desk, item: SessionEnded, place: Place, outbox: Outbox) -> None:  # noqa: ARG001  (all alike)
    """A future's session ended; a market that is not known yet has no holders here."""
    market = desk.markets.get(item.instrument)
    if market is not None and market.instrument.kind == "FUTURE":
        desk.tables.variations[item.instrument] = VariationRow(item.mark_price_ticks, item.session_end_ns)
        desk.tables.cursors[VARIATION_CURSOR] = 0
        go_on(desk, place)


def go_on(desk: Desk, place: Place) -> None:
    """Settles the next accounts in turn, as far as the record's budget reaches."""
    tables = desk.tables
    if not tables.variations:
        return
    number = tables.cursors[VARIATION_CURSOR]
    left = desk.budget.left(place)
    while left > 0 and number < len(desk.by_number):
        steps = 1 + settle_account(desk, desk.by_number[number])
        desk.budget.spend(steps)
        left -= steps
        number += 1
    if number < len(desk.by_number):
        tables.cursors[VARIATION_CURSOR] = number
    else:
        del tables.cursors[VARIATION_CURSOR]
        for instrument in tuple(tables.variations):
            del tables.variations[instrument]


def settle_account(desk: Desk, ledger: Ledger) -> int:
    """Posts what an account's futures still wait for; gives how many did."""
    return sum(
        settle(desk, holding, ledger.purses[holding.terms.currency]) for holding in ledger.holdings.values()
    )


def settle(desk: Desk, holding: Holding, purse: Purse) -> bool:
    """Posts the variation that a holding still waits for, if it does."""
    variation = desk.tables.variations.get(holding.market.instrument.symbol)
    if variation is None or not holding.quantity_lots or holding.session_end_ns == variation.session_end_ns:
        return False
    lots, cost = holding.quantity_lots, holding.open_cost_minor
    amount = book_variation(lots, cost, variation.mark_price_ticks, holding.terms.minor_per_tick_lot)
    holding.session_end_ns = variation.session_end_ns
    desk.set_position(holding, purse, lots, cost + amount)
    desk.set_cash(purse, purse.cash_minor + amount, purse.unsettled_minor)
    revalue(desk, holding, purse)
    return True
