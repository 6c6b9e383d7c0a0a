"""Checks 3 and 4: every order's life is legal and its quantities add up; every trade has its two fills.

Written anew from `semantics.md`: an order is accepted, then may be triggered (a stop, once, before it
trades), filled, reduced, replaced, and ends once. At all times: ordered = filled + open + gone, where gone
is what was cancelled, expired or taken by self-trade prevention.
"""

from typing import Any, Final

from infra.auditor.report import Report
from schemas import events as e
from schemas.ids import TRADE_NUMBER_BITS, place_of
from schemas.record import Side
from tables.matching import BookOrder


class Order:
    """An open order."""

    __slots__ = (
        "account",
        "client_order_id",
        "filled",
        "gone",
        "instrument",
        "leaves",
        "ordered",
        "price_ticks",
        "side",
        "waits",
    )

    def __init__(self, event: e.OrderAccepted | BookOrder, filled: int, leaves: int, *, waits: bool) -> None:
        """As it was accepted, or as matching keeps it."""
        self.account = event.account
        self.client_order_id = event.client_order_id
        self.instrument = event.instrument
        self.side: Side = event.side
        self.price_ticks = event.price_ticks
        self.ordered = filled + leaves
        self.filled, self.leaves, self.gone = filled, leaves, 0
        self.waits = waits

    @property
    def balances(self) -> bool:
        """Whether nothing was lost or made."""
        return self.ordered == self.filled + self.leaves + self.gone and self.leaves >= 0


class Orders:
    """Folds what matching answered into the orders that are open now."""

    def __init__(self, report: Report, *, older_than: dict[int, int] | None = None) -> None:
        """``older_than``: the first offset kept of each risk partition; older orders are not judged."""
        self.open: dict[int, Order] = {}
        self._older_than = older_than or {}
        self._events = report.tally("every event of an order is legal, none follows its end")
        self._sums = report.tally("ordered = filled + open + cancelled, for each order after each event")
        self._prices = report.tally("no fill is worse than its order's limit")

    def on_account_event(self, item: Any) -> None:
        """An answer of matching, or a refusal of risk; what is said again says nothing."""
        handle = _HANDLERS.get(type(item))
        if handle is None or getattr(item, "possible_resend", False):
            return
        order = self.open.get(item.order_id)
        self._events.count += 1
        if type(item) in (e.OrderAccepted, e.OrderRejected):
            if order is not None:
                self._events.breach(f"order {item.order_id} is open, and {type(item).__name__}")
            if type(item) is e.OrderAccepted:
                waits = item.order_type in ("STOP", "STOP_LIMIT")
                self.open[item.order_id] = Order(item, 0, item.quantity_lots, waits=waits)
            return
        if order is None:
            if not self.is_older(item.order_id):
                self._events.breach(f"order {item.order_id} is not open, and {type(item).__name__}")
            return
        if type(item) is not e.OrderReplaced and item.client_order_id != order.client_order_id:
            self._events.breach(
                f"order {item.order_id} goes by {order.client_order_id}, not {item.client_order_id}"
            )
        if (item.account, item.instrument) != (order.account, order.instrument):
            self._events.breach(f"order {item.order_id} is not {item.account}'s in {item.instrument}")
        handle(self, order, item)
        self._sums.expect(
            order.balances,
            f"order {item.order_id} after {type(item).__name__}: {order.ordered} ordered,"
            f" {order.filled} filled, {order.leaves} open, {order.gone} gone",
        )

    def is_older(self, order_id: int) -> bool:
        """Whether an order came in before the log's start."""
        partition, offset, _ = place_of(order_id)
        return offset < self._older_than.get(partition, 0)

    def _state(self, order: Order, item: Any) -> None:
        """Compares what an event says of the order with what is known of it."""
        leaves = getattr(item, "leaves_quantity_lots", order.leaves)
        if (item.cum_quantity_lots, leaves) != (order.filled, order.leaves):
            self._events.breach(
                f"order {item.order_id}, {type(item).__name__}: filled {item.cum_quantity_lots} and open {leaves}"
                f" are said, {order.filled} and {order.leaves} are due"
            )

    def _fill(self, order: Order, item: e.OrderFilled) -> None:
        order.filled += item.last_quantity_lots
        order.leaves -= item.last_quantity_lots
        self._state(order, item)
        if order.waits or item.last_quantity_lots <= 0 or item.side != order.side:
            self._events.breach(f"order {item.order_id} may not fill so in trade {item.trade_id}")
        if order.price_ticks is not None:
            sign = 1 if order.side == "BUY" else -1
            good = item.last_price_ticks * sign <= order.price_ticks * sign
            self._prices.expect(good, f"order {item.order_id} in trade {item.trade_id}")
        if order.leaves == 0:
            del self.open[item.order_id]

    def _reduce(self, order: Order, item: e.OrderReduced) -> None:
        order.leaves -= item.reduced_quantity_lots
        order.gone += item.reduced_quantity_lots
        self._state(order, item)
        if item.reduced_quantity_lots <= 0:
            self._events.breach(f"order {item.order_id} is reduced by {item.reduced_quantity_lots}")

    def _replace(self, order: Order, item: e.OrderReplaced) -> None:
        order.client_order_id, order.price_ticks = item.client_order_id, item.price_ticks
        order.leaves = max(item.quantity_lots - order.filled, 0)
        order.ordered = order.filled + order.leaves + order.gone
        self._state(order, item)

    def _end(self, order: Order, item: e.OrderCancelled | e.OrderExpired) -> None:
        self._state(order, item)
        order.gone += item.cancelled_quantity_lots
        order.leaves -= item.cancelled_quantity_lots
        if order.leaves:
            self._events.breach(f"order {item.order_id} ends with {order.leaves} lots open")
        del self.open[item.order_id]

    def _trigger(self, order: Order, item: e.OrderTriggered) -> None:
        if not order.waits:
            self._events.breach(f"order {item.order_id} is triggered, and does not wait")
        order.waits = False


def _untouched(_orders: Orders, _order: Order, _item: Any) -> None:
    """A new order's state is its own; a rejected one never was."""


_HANDLERS: Final[dict[type[Any], Any]] = {
    e.OrderAccepted: _untouched,
    e.OrderRejected: _untouched,
    e.OrderFilled: Orders._fill,  # noqa: SLF001 - a table of this class's own methods
    e.OrderReduced: Orders._reduce,  # noqa: SLF001
    e.OrderReplaced: Orders._replace,
    e.OrderCancelled: Orders._end,  # noqa: SLF001
    e.OrderExpired: Orders._end,  # noqa: SLF001
    e.OrderTriggered: Orders._trigger,  # noqa: SLF001
}


class Trades:
    """Joins each trade with its maker's and its taker's fill."""

    def __init__(self, report: Report, *, is_partial: bool) -> None:
        """``is_partial``: the log's start is gone, so any number may be the first."""
        self._pairs = report.tally("every trade has one fill of its maker and one of its taker, alike")
        self._numbers = report.tally("trade numbers have no gap, for each partition of the books")
        self.next_numbers: dict[int, int] = {}
        self._is_partial = is_partial
        self._waiting: dict[int, dict[str, Any]] = {}

    def on_trade(self, partition: int, trade: e.Trade) -> None:
        """A trade of the tape."""
        number = trade.trade_id & (1 << TRADE_NUMBER_BITS) - 1
        found = partition, number
        due = self.next_numbers.get(partition, number if self._is_partial else 0)
        self._numbers.equal((trade.trade_id >> TRADE_NUMBER_BITS, number), (partition, due), f"trade {found}")
        self.next_numbers[partition] = number + 1
        self._join(trade.trade_id, "TRADE", trade)

    def on_fill(self, fill: e.OrderFilled) -> None:
        """One side's fill."""
        self._join(fill.trade_id, fill.liquidity, fill)

    def finish(self, horizon_ns: int) -> None:
        """Counts what has not found all of its parts; what is older than the horizon may have lost them."""
        for identity, parts in self._waiting.items():
            if all(part.at_ns >= horizon_ns for part in parts.values()):
                missing = ", ".join(sorted({"TRADE", "MAKER", "TAKER"} - parts.keys()))
                self._pairs.miss(f"trade {identity} has no {missing}")

    def _join(self, identity: int, role: str, part: Any) -> None:
        parts = self._waiting.setdefault(identity, {})
        if role in parts:
            self._pairs.breach(f"trade {identity} has its {role} twice")
        parts[role] = part
        if len(parts) == 3:  # noqa: PLR2004 - the trade and its two fills
            del self._waiting[identity]
            wrong = _mismatch(parts["TRADE"], parts["MAKER"], parts["TAKER"])
            self._pairs.expect(not wrong, f"trade {identity}: {wrong}")


def _mismatch(trade: e.Trade, maker: e.OrderFilled, taker: e.OrderFilled) -> str:
    sides: tuple[Side, Side] = ("SELL", "BUY") if trade.aggressor_side == "BUY" else ("BUY", "SELL")
    for fill, side, role in ((maker, sides[0], "maker"), (taker, sides[1], "taker")):
        found = (
            fill.instrument,
            fill.last_price_ticks,
            fill.last_quantity_lots,
            fill.side,
            fill.at_ns,
            fill.order_id,
            fill.client_order_id,
            fill.account,
        )
        wanted = (
            trade.instrument,
            trade.price_ticks,
            trade.quantity_lots,
            side,
            trade.at_ns,
            getattr(trade, f"{role}_order_id"),
            getattr(trade, f"{role}_client_order_id"),
            getattr(trade, f"{role}_account"),
        )
        if found != wanted:
            return f"{role}'s fill is {found}, not {wanted}"
    return ""
