"""Deposits and withdrawals: answered at once, since risk owns the cash of its accounts."""

from agents.rules.money import fits
from agents.rules.outbox import Outbox, Place
from agents.rules.risk import outcomes, variation
from agents.rules.risk.desk import Desk
from agents.rules.risk.margin import free_minor
from schemas.commands import Deposit, Withdraw
from schemas.events import CashDeposited, CashWithdrawn
from tables.risk import pair

Fault = tuple[str, str]
"""A reason and its detail."""


def deposit(desk: Desk, item: Deposit, place: Place, outbox: Outbox) -> None:
    """Lets cash in."""
    _decide(desk, item, place, outbox)


def withdraw(desk: Desk, item: Withdraw, place: Place, outbox: Outbox) -> None:
    """Lets cash out that is free: min(cash - holds, equity - required), receipts from their day on."""
    _decide(desk, item, place, outbox)


def _decide(desk: Desk, item: Deposit | Withdraw, place: Place, outbox: Outbox) -> None:
    key = pair(item.account, item.command_id)
    known = desk.known(key)
    if known is not None:
        outcomes.repeat(desk, item, known, place, outbox)
        return
    if outcomes.is_too_old(item, place.now_ns):
        detail = "ids so old are not kept: send it anew, under a new id"
        desk.say(outbox, outcomes.refusal(item, "command_too_old", place.now_ns, (detail,)))
        return
    if desk.tables.variations and item.account in desk.ledgers:
        variation.settle_account(desk, desk.ledgers[item.account])
    fault = _fault(desk, item)
    if fault is None:
        outcomes.row_of(desk, key, item, place, None)
        _move(desk, item, place, outbox)
    else:
        reason, detail = fault
        outcomes.row_of(desk, key, item, place, reason, (detail,))
        desk.say(outbox, outcomes.refusal(item, reason, place.now_ns, (detail,)))


def _fault(desk: Desk, item: Deposit | Withdraw) -> Fault | None:
    ledger = desk.ledgers.get(item.account)
    if ledger is None:
        return "unknown_account", f"there is no account {item.account}"
    if ledger.account.status == "CLOSED":
        return "account_closed", f"account {item.account} is closed"
    if item.amount_minor <= 0:
        return "invalid_amount", f"{item.amount_minor} is not more than zero"
    purse = desk.purse(ledger, item.currency)
    if isinstance(item, Deposit):
        whole = abs(purse.cash_minor) + purse.open_minor + item.amount_minor
        return None if fits(whole) else ("arithmetic_overflow", "so much cash cannot be counted")
    if ledger.account.status == "SUSPENDED":
        return "account_suspended", f"account {item.account} is suspended"
    free = free_minor(desk, ledger, purse)
    return None if item.amount_minor <= free else ("insufficient_free_cash", f"{max(free, 0)} is free")


def _move(desk: Desk, item: Deposit | Withdraw, place: Place, outbox: Outbox) -> None:
    purse = desk.purse(desk.ledgers[item.account], item.currency)
    is_deposit = isinstance(item, Deposit)
    amount = item.amount_minor if is_deposit else -item.amount_minor
    desk.set_cash(purse, purse.cash_minor + amount, purse.unsettled_minor)
    desk.say(
        outbox,
        (CashDeposited if is_deposit else CashWithdrawn)(
            account=item.account,
            command_id=item.command_id,
            currency=item.currency,
            amount_minor=item.amount_minor,
            at_ns=place.now_ns,
        ),
    )
