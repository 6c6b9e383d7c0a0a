"""What must hold of settlement between any two items; reads all rows, so it is for tests and simulations."""

from tables.settlement import BalanceKey, SettlementTables


def check_settlement(tables: SettlementTables) -> None:
    """Asserts that balances sum to zero, and that what waits is what will be released."""
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
