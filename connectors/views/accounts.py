"""Views of accounts: what risk lets them do now, and what settlement has booked."""

from typing import Any, Final, NamedTuple

from agents.rules.risk.desk import Desk, Holding, Ledger, Purse
from agents.rules.risk.margin import free_minor, is_short
from agents.stage.fold import Fold
from connectors.decimals import Grid
from connectors.views.orders import partition_of_account, risk_tables
from connectors.views.reference import Reference, average, price
from connectors.views.view import Ask, View
from schemas.maximums import MESSAGE_RATE_WINDOW_NS
from schemas.reference import Account
from tables.risk import ALL, pair
from tables.settlement import PositionKey, PositionRow, SettlementTables


class Cash(NamedTuple):
    """What an account has in one currency, in minor units; ``equity`` and ``required`` are a margin account's."""

    currency: str
    cash: int
    unsettled: int
    held: int
    free: int
    equity: int
    required: int
    is_reducing_only: bool


class Held(NamedTuple):
    """What an account has, and has on order, in one instrument."""

    instrument: str
    mark_ticks: int | None
    quantity_lots: int
    open_cost_minor: int
    buy_lots: int
    sell_lots: int


class Standing(NamedTuple):
    """An account at one moment."""

    account: Account
    is_killed: bool
    cash: tuple[Cash, ...]
    holdings: tuple[Held, ...]
    open_orders: int
    messages: int


class Booked(NamedTuple):
    """A copy of a partition's positions and marks, and whose are to be shown."""

    account: str
    positions: dict[PositionKey, PositionRow]
    marks: dict[str, int]


def _read_standing(fold: Fold, ask: Ask) -> Standing:
    tables = risk_tables(fold, ask)
    desk: Desk = fold.rules.desk
    name = ask.names["account"]
    ledger = desk.ledgers[name]
    rate = tables.rates.get(name)
    is_now = rate is not None and rate.window == fold.now_ns // MESSAGE_RATE_WINDOW_NS
    return Standing(
        ledger.account,
        pair(name, ALL) in tables.kills or pair(ALL, ALL) in tables.kills,
        tuple(_cash(desk, ledger, currency, purse) for currency, purse in sorted(ledger.purses.items())),
        tuple(_held(holding) for _, holding in sorted(ledger.holdings.items()) if _is_any(holding)),
        ledger.open_orders,
        rate.count if rate is not None and is_now else 0,
    )


def _cash(desk: Desk, ledger: Ledger, currency: str, purse: Purse) -> Cash:
    is_reducing_only = is_short(desk, ledger, purse)  # which brings a margin account's value up to date
    return Cash(
        currency,
        purse.cash_minor,
        purse.unsettled_minor,
        purse.held_minor,
        free_minor(desk, ledger, purse),
        purse.cash_minor + purse.value_minor,
        purse.required_minor,
        is_reducing_only,
    )


def _held(holding: Holding) -> Held:
    return Held(
        holding.market.instrument.symbol,
        holding.market.mark_ticks,
        holding.quantity_lots,
        holding.open_cost_minor,
        holding.buy_lots,
        holding.sell_lots,
    )


def _is_any(holding: Holding) -> bool:
    return bool(holding.quantity_lots or holding.buy_lots or holding.sell_lots)


def _shape_standing(it: Standing, reference: Reference) -> dict[str, Any]:
    account, limits = it.account, it.account.limits
    is_margin = account.account_type == "MARGIN"
    return {
        "account": account.account,
        "account_type": account.account_type,
        "status": account.status,
        "is_killed": it.is_killed,
        "balances": [_shape_cash(cash, reference, is_margin=is_margin) for cash in it.cash],
        "positions": [_shape_held(held, reference, limits.maximum_position_lots) for held in it.holdings],
        "limits": {
            "maximum_order_quantity_lots": limits.maximum_order_quantity_lots,
            "maximum_order_notional_minor": limits.maximum_order_notional_minor,
            "maximum_position_lots": limits.maximum_position_lots,
            "maximum_repeated_orders_per_second": limits.maximum_repeated_orders_per_second,
            "maximum_open_orders": _used(limits.maximum_open_orders, it.open_orders),
            "maximum_messages_per_second": _used(limits.maximum_messages_per_second, it.messages),
        },
    }


def _shape_cash(cash: Cash, reference: Reference, *, is_margin: bool) -> dict[str, Any]:
    money = reference.money(cash.currency).format
    shown: dict[str, Any] = {
        "currency": cash.currency,
        "cash": money(cash.cash),
        "unsettled": money(cash.unsettled),
        "free_to_withdraw": money(max(cash.free, 0)),
    }
    if is_margin:
        return shown | {
            "equity": money(cash.equity),
            "required": money(cash.required),
            "headroom": money(cash.equity - cash.required),
            "is_reducing_only": cash.is_reducing_only,
        }
    return shown | {"held": money(cash.held), "headroom": money(cash.cash - cash.held)}


def _shape_held(held: Held, reference: Reference, most: int | None) -> dict[str, Any]:
    prices, quantities = reference.of(held.instrument)
    instrument = reference.instrument(held.instrument)
    quantity, buys, sells = held.quantity_lots, held.buy_lots, held.sell_lots
    return {
        "instrument": held.instrument,
        "quantity": quantities.format(quantity),
        "open_cost": reference.money(instrument.currency).format(held.open_cost_minor),
        "average_price": average(prices, held.open_cost_minor, quantity, instrument.minor_per_tick_lot),
        "mark_price": price(prices, held.mark_ticks),
        "open_buys": quantities.format(buys),
        "open_sells": quantities.format(sells),
        "buy_headroom": _rest(quantities, most, quantity + buys),
        "sell_headroom": _rest(quantities, most, sells - quantity),
    }


def _rest(quantities: Grid, most: int | None, used: int) -> str | None:
    return None if most is None else quantities.format(max(most - used, 0))


def _used(most: int | None, used: int) -> dict[str, int | None]:
    return {"limit": most, "used": used, "headroom": None if most is None else max(most - used, 0)}


def _read_booked(fold: Fold, ask: Ask) -> Booked:
    tables = fold.tables
    assert isinstance(tables, SettlementTables)
    return Booked(ask.names["account"], dict(tables.positions), dict(tables.marks))


def _shape_booked(booked: Booked, reference: Reference) -> dict[str, Any]:
    account = booked.account
    own = sorted((key[1], row) for key, row in booked.positions.items() if key[0] == account)
    return {
        "account": account,
        "positions": [_shape_position(*it, booked.marks.get(it[0]), reference) for it in own],
    }


def _shape_position(
    symbol: str, row: PositionRow, mark_ticks: int | None, reference: Reference
) -> dict[str, Any]:
    prices, quantities = reference.of(symbol)
    unit = reference.instrument(symbol).minor_per_tick_lot
    money = reference.money(row.currency)
    return {
        "instrument": symbol,
        "currency": row.currency,
        "quantity": quantities.format(row.quantity_lots),
        "open_cost": money.format(row.open_cost_minor),
        "average_price": average(prices, row.open_cost_minor, row.quantity_lots, unit),
        "realised_profit": money.format(row.realised_profit_minor),
        "mark_price": price(prices, mark_ticks),
        "version": row.version,
    }


VIEWS: Final = (
    View(
        "/accounts/{account}",
        "/accounts/alice",
        "what it may do now, as risk sees it: balances and holds, positions, limits and their headroom",
        "risk",
        partition_of_account,
        _read_standing,
        _shape_standing,
    ),
    View(
        "/accounts/{account}/positions",
        "/accounts/alice/positions",
        "what it holds, as settlement has booked it: cost, realised profit; none for one that never traded",
        "settlement",
        partition_of_account,
        _read_booked,
        _shape_booked,
    ),
)
