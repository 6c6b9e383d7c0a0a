"""Reference data, marks and the clock, as control and matching sequence them."""

import msgspec

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import outcomes, variation
from agents.rules.risk.checks import forget_repeats
from agents.rules.risk.desk import Desk, Holding, refusal_of, terms_of
from agents.rules.risk.margin import examine_next
from schemas.control_events import AccountDefined, ClockTicked, InstrumentDefined, LimitsChanged
from schemas.events import MarkChanged
from schemas.reference import Account
from tables.risk import AccountRow


def instrument_defined(desk: Desk, item: InstrumentDefined, place: Place, outbox: Outbox) -> None:  # noqa: ARG001  (all alike)
    """An instrument is new, or changed: terms of new orders follow it, open orders keep theirs."""
    instrument = item.instrument
    desk.tables.instruments[instrument.symbol] = instrument
    market = desk.markets.get(instrument.symbol)
    if market is None:
        desk.add_market(instrument)
        return
    market.instrument = instrument
    market.terms.clear()
    desk.valuation += 1
    for holding in desk.holders.get(instrument.symbol, ()):
        _refresh(holding, desk.ledgers[holding.account].account)


def account_defined(desk: Desk, item: AccountDefined, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """An account is new, or changed; it stays where it is in the order of accounts."""
    name = item.account.account
    known = desk.tables.accounts.get(name)
    number = len(desk.by_number) if known is None else known.number
    desk.tables.accounts[name] = AccountRow(number, item.account)
    if known is None:
        desk.add_ledger(item.account)
        return
    ledger = desk.ledgers[name]
    ledger.account = item.account
    for holding in ledger.holdings.values():
        _refresh(holding, item.account)


def limits_changed(desk: Desk, item: LimitsChanged, place: Place, outbox: Outbox) -> None:
    """An account's limits hold for what comes from here on."""
    account = msgspec.structs.replace(desk.ledgers[item.account].account, limits=item.limits)
    account_defined(desk, AccountDefined(account=account, at_ns=item.at_ns), place, outbox)


def mark_changed(desk: Desk, item: MarkChanged, place: Place, outbox: Outbox) -> None:  # noqa: ARG001
    """An instrument has a mark; what it is worth to whom is worked out when it is asked for."""
    desk.tables.marks[item.instrument] = item.price_ticks
    if market := desk.markets.get(item.instrument):
        desk.move_mark(market, item.price_ticks)


def ticked(desk: Desk, item: ClockTicked, place: Place, outbox: Outbox) -> None:
    """Time passes: ids and counts fall due, session ends go on, and some accounts' margin is looked at."""
    outcomes.forget(desk, item.tick_ns)
    forget_repeats(desk, item.tick_ns)
    variation.go_on(desk, place)
    examine_next(desk, place.now_ns, outbox)


def _refresh(holding: Holding, account: Account) -> None:
    holding.terms = terms_of(account, holding.market)
    holding.refusal = refusal_of(account, holding.market.instrument.symbol)
