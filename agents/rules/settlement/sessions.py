"""The ends of sessions: the variation of futures, at most so many holders a record, the rest with the next ticks.

A position that must wait is varied before its next fill, so for all of them it is as if at once.
"""

import msgspec

from agents.rules.money import book_variation
from agents.rules.outbox import Place
from agents.rules.settlement.journal import Journal
from schemas.control_events import ClockTicked
from schemas.events import SessionEnded
from schemas.settlement_events import VariationSettled
from tables.settlement import PositionRow, VariationRow


def ended(journal: Journal, item: SessionEnded, place: Place) -> None:
    """Posts the variation of all who hold the future here and now; others have nothing to gain or lose."""
    if journal.holders.get(item.instrument):
        variation = VariationRow(item.mark_price_ticks, item.session_end_ns)
        journal.tables.variations[item.instrument] = variation
        _vary_holders(journal, item.instrument, item.at_ns, place)


def go_on(journal: Journal, tick: ClockTicked, place: Place) -> None:
    """Goes on with what waits."""
    for instrument in sorted(journal.tables.variations):
        _vary_holders(journal, instrument, tick.at_ns, place)


def varied(journal: Journal, account: str, instrument: str, held: PositionRow, at_ns: int) -> PositionRow:
    """Posts a position's variation if it still waits for one; gives the position, for which none waits."""
    variation = journal.tables.variations.get(instrument)
    if variation is None or held.session_end_ns == variation.session_end_ns:
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
    journal.say(settled)
    journal.post("VARIATION", journal.clearing, account, held.currency, amount, instrument, at_ns)
    position = msgspec.structs.replace(
        position,
        open_cost_minor=held.open_cost_minor + amount,
        realised_profit_minor=held.realised_profit_minor + amount,
        version=held.version + 1,
    )
    journal.hold(account, instrument, position, at_ns)
    return position


def _vary_holders(journal: Journal, instrument: str, at_ns: int, place: Place) -> None:
    """Goes on with a session end, holder by holder, by name, as far as the record's budget reaches."""
    variation = journal.tables.variations[instrument]
    holders, most = journal.holders[instrument], journal.budget.left(place)
    start = holders.bisect_right(variation.after_account)
    accounts = holders[start : start + most]
    for account in accounts:
        varied(journal, account, instrument, journal.tables.positions[account, instrument], at_ns)
    journal.budget.spend(len(accounts))
    journal.balance(at_ns)
    if start + most >= len(holders):
        del journal.tables.variations[instrument]
    elif accounts:
        after = msgspec.structs.replace(variation, after_account=accounts[-1])
        journal.tables.variations[instrument] = after
