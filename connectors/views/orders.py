"""Views of orders, as risk has them: from the moment it let one through until the order is closed."""

from heapq import nsmallest
from typing import Any, Final, NamedTuple

from agents.rules.risk.outcomes import REASONS
from agents.stage.fold import Fold
from connectors.views.reference import Reference, moment, price
from connectors.views.view import AFTER, LIMIT, Ask, NotFound, View, order_id_of, partition_of_order
from schemas.partitioner import partition_of
from schemas.topics import PartitionCounts
from tables.risk import NO_ORDER, CommandRow, OrderRow, RiskTables, pair

_KINDS: Final = {"C": "a cancel", "M": "a mass cancel", "D": "a deposit", "W": "a withdrawal"}


class Numbered(NamedTuple):
    """An open order."""

    order_id: int
    row: OrderRow


class OpenOrders(NamedTuple):
    """A copy of a partition's open orders (some ms for a quarter of a million), and which of them to show."""

    orders: dict[int, OrderRow]
    ask: Ask


class Past(NamedTuple):
    """An order that is not open, by what is left of it: the first outcome of its command."""

    account: str
    client_order_id: str
    command: CommandRow


def partition_of_account(ask: Ask, counts: PartitionCounts) -> int:
    """Where everything of an account is."""
    return partition_of(ask.names["account"], counts.accounts)


def risk_tables(fold: Fold, ask: Ask) -> RiskTables:
    """Risk's tables, if the account that is asked for is in them; NotFound."""
    tables, account = fold.tables, ask.names["account"]
    assert isinstance(tables, RiskTables)
    if account not in tables.accounts:
        raise NotFound(f"account {account!r} is not defined; `trading accounts apply FILE` defines accounts")
    return tables


def _read_by_id(fold: Fold, ask: Ask) -> Numbered:
    order_id, tables = order_id_of(ask), fold.tables
    assert isinstance(tables, RiskTables)
    row = tables.orders.get(order_id)
    if row is None:
        raise NotFound(
            f"order {order_id} is not open: it was refused, or is closed (account-events says how), or never was"
        )
    return Numbered(order_id, row)


def _read_by_name(fold: Fold, ask: Ask) -> Numbered | Past:
    tables, desk = risk_tables(fold, ask), fold.rules.desk
    account, name = ask.names["account"], ask.names["client_order_id"]
    command = desk.known(pair(account, name))
    if command is None:
        raise NotFound(
            f"account {account!r} has used no client_order_id {name!r} lately; ids are kept for a day"
        )
    if command.kind in _KINDS:
        raise NotFound(f"{name!r} is the id of {_KINDS[command.kind]}, not of an order")
    row = tables.orders.get(command.order_id)
    return Past(account, name, command) if row is None else Numbered(command.order_id, row)


def _read_open(fold: Fold, ask: Ask) -> OpenOrders:
    """Risk needs no index of orders by account, and pays for none: what is wanted is found off the lock."""
    return OpenOrders(dict(risk_tables(fold, ask).orders), ask)


def _shape(order: Numbered | Past, reference: Reference) -> dict[str, Any]:
    if isinstance(order, Past):
        return _shape_past(order)
    row = order.row
    prices, quantities = reference.of(row.instrument)
    return {
        "order_id": order.order_id,
        "account": row.account,
        "client_order_id": row.client_order_id,
        "instrument": row.instrument,
        "side": row.side,
        "order_type": row.order_type,
        "time_in_force": row.time_in_force,
        "state": row.state,
        "quantity": quantities.format(row.quantity_lots),
        "cum_quantity": quantities.format(row.cum_quantity_lots),
        "leaves_quantity": quantities.format(row.quantity_lots - row.cum_quantity_lots),
        "price": price(prices, row.price_ticks),
        "stop_price": price(prices, row.stop_price_ticks),
        "held_at_price": prices.format(row.hold_price_ticks),
        "pending_replaces": [
            {
                "client_order_id": change.client_order_id,
                "price": price(prices, change.price_ticks),
                "quantity": price(quantities, change.quantity_lots),
            }
            for change in row.pending
        ],
        "entered_at": moment(row.at_ns),
        "entered_at_ns": row.at_ns,
    }


def _shape_past(order: Past) -> dict[str, Any]:
    command = order.command
    is_refused = command.reason_code > 0
    return {
        "order_id": None if command.order_id == NO_ORDER else command.order_id,
        "account": order.account,
        "client_order_id": order.client_order_id,
        "state": "REFUSED" if is_refused else "CLOSED",
        "reason": REASONS[command.reason_code] if is_refused else None,
        "reason_code": command.reason_code if is_refused else None,
        "answered_at": moment(command.at_ns),
        "answered_at_ns": command.at_ns,
    }


def _shape_open(all_: OpenOrders, reference: Reference) -> dict[str, Any]:
    orders, (names, numbers) = all_
    account, after = names["account"], numbers["after"]
    own = (order_id for order_id, row in orders.items() if row.account == account and order_id > after)
    page = nsmallest(numbers["limit"], own)
    return {"account": account, "orders": [_shape(Numbered(it, orders[it]), reference) for it in page]}


VIEWS: Final = (
    View(
        "/accounts/{account}/orders",
        "/accounts/alice/orders?limit=100&after=-1",
        "its open orders by order id; `after` is the last id of the page before",
        "risk",
        partition_of_account,
        _read_open,
        _shape_open,
        (LIMIT, AFTER),
    ),
    View(
        "/accounts/{account}/orders/{client_order_id}",
        "/accounts/alice/orders/a-1",
        "an order by its client's id; of one that is not open, what became of its command",
        "risk",
        partition_of_account,
        _read_by_name,
        _shape,
    ),
    View(
        "/orders/{order_id}",
        "/orders/4096",
        "an open order by the engine's id",
        "risk",
        partition_of_order,
        _read_by_id,
        _shape,
    ),
)
