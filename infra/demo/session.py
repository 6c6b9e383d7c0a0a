"""The recorded session as a deterministic sequence of commands, and what a plain book makes of it.

The recording says what the exchange published, not what clients sent; this is how one is read as the other:

- ``created`` is an order, in the file's order. One that is the aggressor of no recorded trade was post-only;
  an aggressor at price 0 or 999,999,999 was a market order, any other a limit order.
- A post-only order that crosses was refused by the exchange, which deletes it within 20 ms: that ``deleted``
  is the exchange's answer, not a command. If it lives longer, the resting order was not there: a ghost of the
  opening snapshot, which is cancelled.
- ``changed`` tells what a trade did, and is no command, unless the plain book has more left than it says:
  then it is a replace.
- ``deleted`` of an order that rests is a cancel; of one that is filled or was refused it is nothing.
- The closing rows are the collector's, and are the recorded book at the end.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from infra.demo.accounts import SYMBOL, account_of, can_be_valued, deposits
from infra.demo.plain_book import Fill, Level, PlainBook
from infra.demo.recording import RecordedTrade, Row, read_rows, read_trades, sample_folder
from schemas.commands import CancelOrder, Deposit, PlaceOrder, ReplaceOrder
from schemas.record import Side

ClientCommand = PlaceOrder | CancelOrder | ReplaceOrder

_MARKET_PRICES: Final = (0, 99_999_999_900)  # what Bitstamp writes for "at any price", in ticks
_REFUSED_WITHIN_NS: Final = 20_000_000
_ID_SEPARATOR: Final = "/"


class Ghost(msgspec.Struct, frozen=True, gc=False):
    """An order of the opening snapshot that was not there: who crossed it and then lived on, and how long."""

    order_id: str
    price_ticks: int
    crossed_by: str
    lived_ns: int
    at_ns: int


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """What goes into the engine, and what is known of what must come out."""

    commands: tuple[ClientCommand, ...]
    deposits: tuple[Deposit, ...]
    opening_mark_ticks: int
    opened_at_ns: int
    recorded: tuple[RecordedTrade, ...]
    plain_fills: tuple[Fill, ...]
    refused_crossing: frozenset[str]
    without_quantity: frozenset[str]
    ghosts: tuple[Ghost, ...]
    recorded_book: Mapping[Side, tuple[Level, ...]]
    rows: Mapping[str, int]


def exchange_id(client_order_id: str) -> str:
    """The exchange's order id behind a client order id of ``Session.commands``."""
    return client_order_id.partition(_ID_SEPARATOR)[0]


def read_session(folder: Path | None = None) -> Session:
    """Read the sample of ob-analytics, or the files of the same form in a folder.

    Raises:
        RecordingNotInstalledError: ob-analytics is not installed.

    """
    folder = folder or sample_folder()
    rows, trades = read_rows(folder), read_trades(folder)
    reader = _Reader(rows, trades)
    for row in rows:
        reader.read(row)
    return reader.session(rows, trades)


class _Reader:
    """Turns row by row into commands, with a plain book beside it."""

    def __init__(self, rows: list[Row], trades: list[RecordedTrade]) -> None:
        self._aggressors = {trade.aggressor_id for trade in trades}
        self._deleted_at_ns = {row.order_id: row.at_ns for row in rows if row.action == "deleted"}
        self._mark_ticks = trades[0].fill.price_ticks
        self._book = PlainBook()
        self._commands: list[ClientCommand] = []
        self._orders: dict[str, PlaceOrder] = {}
        self._names: dict[str, str] = {}  # a replaced order goes by its new id
        self._fills: list[Fill] = []
        self._refused: set[str] = set()
        self._ghosts: list[Ghost] = []
        self._rows: Counter[str] = Counter()
        self._open_lots: Counter[tuple[str, Side]] = Counter()
        self._most_open_lots: dict[str, int] = {}

    def read(self, row: Row) -> None:
        match row.action:
            case "created":
                self._rows[self._created(row)] += 1
            case "changed":
                self._rows[self._changed(row)] += 1
            case "deleted":
                self._rows[self._deleted(row)] += 1

    def session(self, rows: list[Row], trades: list[RecordedTrade]) -> Session:
        opened_at_ns = rows[0].at_ns
        return Session(
            commands=tuple(self._commands),
            deposits=deposits(self._most_open_lots, self._mark_ticks, opened_at_ns),
            opening_mark_ticks=self._mark_ticks,
            opened_at_ns=opened_at_ns,
            recorded=tuple(trades),
            plain_fills=tuple(self._fills),
            refused_crossing=frozenset(self._refused),
            without_quantity=frozenset(
                name for name, order in self._orders.items() if not order.quantity_lots
            ),
            ghosts=tuple(self._ghosts),
            recorded_book=_closing_book(rows, {ghost.order_id for ghost in self._ghosts}),
            rows=dict(self._rows),
        )

    def _created(self, row: Row) -> str:
        order = self._order(row)
        if order.post_only:
            self._drop_ghosts(order)
        self._orders[row.order_id] = order
        self._commands.append(order)
        if order.post_only and self._book.first_crossed(order.side, order.price_ticks):
            self._refused.add(row.order_id)
            return "post-only orders that cross"
        self._fills += self._book.enter(row.order_id, order.side, order.price_ticks, order.quantity_lots)
        self._opened(order)
        return "other orders"

    def _order(self, row: Row) -> PlaceOrder:
        takes = row.order_id in self._aggressors
        at_market = takes and row.price_ticks in _MARKET_PRICES
        return PlaceOrder(
            account=account_of(row.order_id),
            client_order_id=row.order_id,
            instrument=SYMBOL,
            side=row.side,
            order_type="MARKET" if at_market else "LIMIT",
            time_in_force="IOC" if at_market else "GTC",
            quantity_lots=row.lots,
            price_ticks=None if at_market else row.price_ticks,
            post_only=not takes,
            at_ns=row.at_ns,
        )

    def _drop_ghosts(self, order: PlaceOrder) -> None:
        lived_ns = self._deleted_at_ns[order.client_order_id] - order.at_ns
        while lived_ns > _REFUSED_WITHIN_NS:
            resting = self._book.first_crossed(order.side, order.price_ticks)
            if resting is None:
                return
            price = self._orders[resting].price_ticks
            assert price is not None, "what rests has a price"
            self._ghosts.append(Ghost(resting, price, order.client_order_id, lived_ns, order.at_ns))
            self._cancel(resting, order.at_ns)

    def _changed(self, row: Row) -> str:
        surplus = self._book.leaves(row.order_id) - row.lots
        if surplus <= 0:  # an aggressor's row may lag behind its other fills
            return "changes that a trade made"
        order = self._orders[row.order_id]
        self._book.reduce(row.order_id, surplus)
        name = f"{row.order_id}{_ID_SEPARATOR}replaced-{row.at_ns}"
        self._commands.append(
            ReplaceOrder(
                account=order.account,
                client_order_id=name,
                original_client_order_id=self._name(row.order_id),
                quantity_lots=order.quantity_lots - surplus,
                at_ns=row.at_ns,
            )
        )
        self._orders[row.order_id] = msgspec.structs.replace(
            order, quantity_lots=order.quantity_lots - surplus
        )
        self._names[row.order_id] = name
        return "changes that no trade of the plain book made"

    def _deleted(self, row: Row) -> str:
        if row.closing:
            return "closing rows of the collector"
        if row.order_id in self._refused:
            return "deletions of refused orders"
        if row.order_id not in self._orders:
            return "deletions of orders never seen"
        if not self._book.leaves(row.order_id):
            return "deletions of filled orders"
        self._cancel(row.order_id, row.at_ns)
        return "cancels"

    def _cancel(self, order_id: str, at_ns: int) -> None:
        order = self._orders[order_id]
        self._open_lots[order.account, order.side] -= self._book.leaves(order_id)
        self._book.reduce(order_id, self._book.leaves(order_id))
        self._commands.append(
            CancelOrder(
                account=order.account,
                client_order_id=f"{order_id}{_ID_SEPARATOR}cancel",
                original_client_order_id=self._name(order_id),
                at_ns=at_ns,
            )
        )

    def _opened(self, order: PlaceOrder) -> None:
        """Notes what an account has open at most; fills stay in, as they are positions from then on."""
        if can_be_valued(order.quantity_lots, self._mark_ticks):
            key = order.account, order.side
            self._open_lots[key] += order.quantity_lots
            self._most_open_lots[order.account] = max(
                self._most_open_lots.get(order.account, 0), self._open_lots[key]
            )

    def _name(self, order_id: str) -> str:
        return self._names.get(order_id, order_id)


def _closing_book(rows: list[Row], ghosts: set[str]) -> dict[Side, tuple[Level, ...]]:
    """What rested at the end by the recording's own rows, best price first, without the ghosts."""
    levels: dict[Side, Counter[int]] = {"BUY": Counter(), "SELL": Counter()}
    for row in rows:
        if row.closing and row.order_id not in ghosts:
            levels[row.side][row.price_ticks] += row.lots
    return {
        side: tuple(Level(*level) for level in sorted(quantities.items(), reverse=side == "BUY"))
        for side, quantities in levels.items()
    }
