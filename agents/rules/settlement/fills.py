"""What a trade moves for one of its sides: a confirmation, an obligation, the position, cash and fee."""

from typing import Final

from agents.rules.money import Booked, book_fill
from agents.rules.outbox import Place
from agents.rules.settlement import sessions
from agents.rules.settlement.journal import Journal
from schemas.events import OrderFilled
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.settlement_events import ObligationCreated, TradeConfirmed
from tables.settlement import PositionRow

_WEEKDAYS: Final = 5
_EPOCH_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday; Monday is 0


def filled(journal: Journal, fill: OrderFilled, place: Place) -> None:
    """Books a fill; a position that waits for a session's variation is varied first."""
    del place
    account, terms, at_ns = fill.account, fill.terms, fill.at_ns
    held = sessions.varied(journal, account, fill.instrument, _held(journal, fill), at_ns)
    booked = book_fill(
        held.quantity_lots,
        held.open_cost_minor,
        terms,
        fill.side,
        fill.liquidity,
        fill.last_price_ticks,
        fill.last_quantity_lots,
    )
    day = settlement_day(at_ns, terms.settlement_days)
    _confirm(journal, fill, booked, day)
    if terms.kind != "FUTURE":  # a future delivers nothing before its end
        _oblige(journal, fill, booked, day)
    position = PositionRow(
        held.kind,
        held.currency,
        held.minor_per_tick_lot,
        booked.quantity_lots,
        booked.open_cost_minor,
        held.realised_profit_minor + booked.realised_profit_minor,
        held.version + 1,
        held.session_end_ns,
    )
    journal.hold(account, fill.instrument, position, at_ns)
    _pay(journal, fill, booked)
    if booked.unsettled_minor:
        journal.wait((day, account, terms.currency), booked.unsettled_minor)
    journal.balance(at_ns, (account, terms.currency), booked.unsettled_minor)


def settlement_day(at_ns: int, days: int) -> int:
    """The day (since 1970-01-01) on which a trade settles: so many weekdays after its own.

    T+0 settles on the trade's own day, whatever day it is: a market that trades on a Sunday settles then.
    """
    day = at_ns // NANOSECONDS_PER_DAY
    while days:
        day += 1
        days -= (day + _EPOCH_WEEKDAY) % 7 < _WEEKDAYS
    return day


def _held(journal: Journal, fill: OrderFilled) -> PositionRow:
    known = journal.tables.positions.get((fill.account, fill.instrument))
    if known is not None:
        return known
    return PositionRow(fill.terms.kind, fill.terms.currency, fill.terms.minor_per_tick_lot)


def _pay(journal: Journal, fill: OrderFilled, booked: Booked) -> None:
    account, currency, source = fill.account, fill.terms.currency, str(fill.trade_id)
    before_fee = booked.cash_minor + booked.fee_minor
    journal.post("TRADE", journal.clearing, account, currency, before_fee, source, fill.at_ns)
    kind = "FEE" if booked.fee_minor > 0 else "REBATE"
    journal.post(kind, account, journal.house, currency, booked.fee_minor, source, fill.at_ns)


def _confirm(journal: Journal, fill: OrderFilled, booked: Booked, day: int) -> None:
    journal.say(
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
        )
    )


def _oblige(journal: Journal, fill: OrderFilled, booked: Booked, day: int) -> None:
    buys = fill.side == "BUY"
    journal.say(
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
        )
    )
