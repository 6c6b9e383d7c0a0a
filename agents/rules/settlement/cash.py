"""Cash that comes and goes, and receipts that may be withdrawn from their settlement day on."""

from agents.rules.outbox import Place
from agents.rules.settlement.journal import Journal
from schemas.control_events import ClockTicked
from schemas.events import CashDeposited, CashWithdrawn
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.settlement_events import CashReleased


def moved(journal: Journal, item: CashDeposited | CashWithdrawn, place: Place) -> None:
    """A deposit or a withdrawal; what is said again to who asked again has been posted."""
    del place
    if item.possible_resend:
        return
    kind, debit, credit = "DEPOSIT", journal.outside, item.account
    if isinstance(item, CashWithdrawn):
        kind, debit, credit = "WITHDRAWAL", credit, debit
    journal.post(kind, debit, credit, item.currency, item.amount_minor, item.command_id, item.at_ns)
    journal.balance(item.at_ns)


def release(journal: Journal, tick: ClockTicked, place: Place) -> None:
    """Releases the receipts whose day has come, as far as the record's budget reaches."""
    today, left = tick.tick_ns // NANOSECONDS_PER_DAY, journal.budget.left(place)
    while left and journal.due and journal.due[0][0] <= today:
        key = day, account, currency = journal.due.pop(0)
        amount = journal.tables.releases.pop(key)
        released = CashReleased(
            account=account,
            currency=currency,
            settlement_day=day,
            amount_minor=amount,
            at_ns=tick.at_ns,
        )
        journal.say(released)
        journal.tell_risk(released)
        journal.balance(tick.at_ns, (account, currency), -amount)
        journal.budget.spend(1)
        left -= 1
