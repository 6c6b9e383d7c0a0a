"""What must hold of risk between any two items, worked out from the rows alone."""

from agents.rules.risk.desk import Desk, Ledger
from agents.rules.risk.margin import off_by_minor, value
from tables.lifecycle import CLOSED
from tables.risk import PENDING, OrderRow


def check_desk(desk: Desk) -> None:
    """Asserts that the totals equal what the open orders need, and that nobody owes what he may not."""
    fresh = Desk(desk.tables, desk.counts, desk.partition)
    assert [it.account for it in desk.by_number] == [it.account for it in fresh.by_number], "accounts differ"
    for name, ledger in desk.ledgers.items():
        _check_totals(name, ledger, fresh.ledgers[name])
        _check_cash_account(name, ledger)
        _check_valuation(desk, name, ledger)
    for order_id, order in desk.tables.orders.items():
        _check_order(desk, order_id, order)
    due = {key for keys in desk.closed_ids.values() for key in keys}
    assert due == {key for key, row in desk.tables.commands.items() if row.kept_until_ns}, "ids fall due"
    assert desk.names == fresh.names, "the names of open orders differ"
    assert not desk.names.keys() & desk.tables.commands.keys(), "an open order's command has a row of its own"
    assert sorted(desk.closed_ids) == sorted(desk.due_times), "times fall due"


def _check_totals(name: str, ledger: Ledger, fresh: Ledger) -> None:
    """The totals that lived against those made anew from positions, cash and open orders."""
    assert ledger.open_orders == fresh.open_orders, f"{name} counts {ledger.open_orders} open orders"
    for symbol, holding in ledger.holdings.items():
        anew = fresh.holdings.get(symbol)
        totals = (
            holding.quantity_lots,
            holding.open_cost_minor,
            holding.buy_lots,
            holding.sell_lots,
            holding.buy_claim_minor,
            holding.open_minor,
            holding.fees_minor,
        )
        expected = (0,) * len(totals)
        if anew is not None:
            expected = (
                anew.quantity_lots,
                anew.open_cost_minor,
                anew.buy_lots,
                anew.sell_lots,
                anew.buy_claim_minor,
                anew.open_minor,
                anew.fees_minor,
            )
        if anew is not None and holding.quantity_lots:
            assert holding.session_end_ns == anew.session_end_ns, (
                f"{name} {symbol}: not the row's session end"
            )
        assert totals == expected, f"{name} {symbol}: {totals} is kept, the rows need {expected}"
        assert min(holding.buy_lots, holding.sell_lots, holding.open_minor, holding.fees_minor) >= 0, name
    assert set(fresh.holdings) <= set(ledger.holdings), f"{name} holds what it does not know"
    for currency, purse in ledger.purses.items():
        made = fresh.purses.get(currency)
        kept = (purse.cash_minor, purse.unsettled_minor, purse.held_minor, purse.open_minor)
        need = (0, 0, 0, 0)
        if made is not None:
            need = (made.cash_minor, made.unsettled_minor, made.held_minor, made.open_minor)
        assert kept == need, f"{name} {currency}: {kept} is kept, the rows need {need}"


def _check_cash_account(name: str, ledger: Ledger) -> None:
    """A cash account pays in full and is never short."""
    if ledger.account.account_type != "CASH":
        return
    for symbol, holding in ledger.holdings.items():
        assert holding.sell_lots <= holding.quantity_lots, f"{name} may go short of {symbol}"
    for currency, purse in ledger.purses.items():
        assert purse.held_minor <= purse.cash_minor, f"{name} may owe {currency}"


def _check_valuation(desk: Desk, name: str, ledger: Ledger) -> None:
    """The sums that were kept are off by no more than they say; those that are off by nothing are exact."""
    for currency, purse in ledger.purses.items():
        off_by = off_by_minor(desk, purse)
        if off_by is None:
            continue
        kept = purse.required_minor, purse.value_minor
        purse.valued = -1
        value(desk, purse)
        exact = purse.required_minor, purse.value_minor
        off = abs((kept[1] - kept[0]) - (exact[1] - exact[0]))
        assert off <= off_by, f"{name} {currency} is valued {kept}, which is off by {off}, not {off_by}"
        assert off_by or kept == exact, f"{name} {currency} is valued {kept}, not {exact}"


def _check_order(desk: Desk, order_id: int, order: OrderRow) -> None:
    name = f"order {order_id}"
    assert order.state not in CLOSED, f"{name} is {order.state} and has a row"
    assert 0 <= order.cum_quantity_lots <= order.quantity_lots, f"{name} is filled beyond its quantity"
    row = desk.known(f"{order.account} {order.client_order_id}")
    assert row is not None, f"{name} goes by a name that nobody knows"
    assert row.order_id == order_id, f"{name} goes by a name that is another's"
    assert not row.kept_until_ns, f"{name} is open and its name may go"
    for change in order.pending:
        waiting = desk.tables.commands[f"{order.account} {change.client_order_id}"]
        assert waiting.reason_code == PENDING, f"{name} waits for a replace that was answered"
