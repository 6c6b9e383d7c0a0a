"""A plain price-time book, in a few lines: what the recording says by itself, with no code of the engine.

It reads the session along with ``session.py`` (which post-only order crosses?), and its trades are the
yardstick that the engine's must reach.
"""

from operator import neg

import msgspec
from sortedcontainers import SortedDict

from schemas.record import Side


class Fill(msgspec.Struct, frozen=True, gc=False, order=True):
    """One trade as the exchange's tape names it: both order ids, the price and the amount."""

    buy_id: str
    sell_id: str
    price_ticks: int
    quantity_lots: int


class Level(msgspec.Struct, frozen=True, gc=False):
    """The whole quantity at one price."""

    price_ticks: int
    quantity_lots: int


class PlainBook:
    """Two sides of price -> {order id: lots}: best price first, then the order of arrival."""

    def __init__(self) -> None:
        self._sides: dict[Side, SortedDict[int, dict[str, int]]] = {
            "BUY": SortedDict(neg),
            "SELL": SortedDict(),
        }
        self._places: dict[str, tuple[Side, int]] = {}

    def first_crossed(self, side: Side, price_ticks: int | None) -> str | None:
        """The resting order that an order would meet first; price None takes any."""
        other = self._other(side)
        if not other:
            return None
        best, queue = other.peekitem(0)
        if price_ticks is not None and (best > price_ticks if side == "BUY" else best < price_ticks):
            return None
        return next(iter(queue))

    def enter(self, order_id: str, side: Side, price_ticks: int | None, lots: int) -> list[Fill]:
        """Trade, then rest what is left; without a price (a market order) nothing rests."""
        fills = []
        while lots and (maker := self.first_crossed(side, price_ticks)) is not None:
            taken = min(lots, self.leaves(maker))
            price = self._places[maker][1]
            fills.append(
                Fill(order_id, maker, price, taken) if side == "BUY" else Fill(maker, order_id, price, taken)
            )
            self.reduce(maker, taken)
            lots -= taken
        if lots and price_ticks is not None:
            self._sides[side].setdefault(price_ticks, {})[order_id] = lots
            self._places[order_id] = side, price_ticks
        return fills

    def leaves(self, order_id: str) -> int:
        """What is left of an order, in lots; 0 where none rests."""
        if order_id not in self._places:
            return 0
        side, price = self._places[order_id]
        return self._sides[side][price][order_id]

    def reduce(self, order_id: str, lots: int) -> None:
        """Take lots off a resting order, which keeps its priority, and is gone at zero."""
        side, price = self._places[order_id]
        levels = self._sides[side]
        levels[price][order_id] -= lots
        assert levels[price][order_id] >= 0, f"order {order_id} has less than {lots} lots left"
        if levels[price][order_id] == 0:
            del levels[price][order_id], self._places[order_id]
        if not levels[price]:
            del levels[price]

    def levels(self, side: Side, depth: int) -> tuple[Level, ...]:
        """The best levels of a side."""
        best = self._sides[side].items()[:depth]
        return tuple(Level(price, sum(queue.values())) for price, queue in best)

    def _other(self, side: Side) -> "SortedDict[int, dict[str, int]]":
        return self._sides["SELL" if side == "BUY" else "BUY"]
