"""The engine's trades, refusals and book beside the recorded ones: what agrees, what does not, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from infra.demo.accounts import can_be_valued
from infra.demo.plain_book import Fill, Level
from infra.demo.session import Session, exchange_id
from schemas.commands import PlaceOrder
from schemas.events import Trade
from schemas.record import Side

CAVEAT = (
    "Order types were inferred from the recorded trades (who took is post-only's opposite), so this proves"
    " priority, price and amount, not who takes."
)
EXACT_TRADES_MINIMUM = 281  # what a plain price-time book repeats of this recording
MADE_UP_TRADES_MAXIMUM = 1
_UNEXPLAINED = "not explained by the recording"
POST_ONLY_REASON = "post_only_would_trade"


class Difference(msgspec.Struct, frozen=True):
    """A trade that only one of the two has, and why."""

    fill: Fill
    why: str


class TradeComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The recorded trades beside the engine's; exact: both ids, the price and the amount are equal."""

    recorded: int
    made: int
    exact: int
    missing: tuple[Difference, ...]
    made_up: tuple[Difference, ...]
    unlike_plain_book: tuple[Fill, ...]


class RefusalComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Refusals by reason; the recording's own refusals (post-only orders that cross) must be the engine's."""

    by_reason: Mapping[str, int]
    crossing_recorded: int
    crossing_in_both: int
    crossing_only_recorded: int
    crossing_only_engine: int
    explained: Mapping[str, str]
    unexplained: int


class BookRow(msgspec.Struct, frozen=True):
    """One depth of the book: recorded and the engine's level of a side, None where there is none."""

    side: Side
    recorded: Level | None
    engine: Level | None


def fill_of(trade: Trade) -> Fill:
    """The engine's trade under the exchange's ids."""
    maker, taker = exchange_id(trade.maker_client_order_id), exchange_id(trade.taker_client_order_id)
    buy, sell = (taker, maker) if trade.aggressor_side == "BUY" else (maker, taker)
    return Fill(buy, sell, trade.price_ticks, trade.quantity_lots)


def compare_trades(session: Session, trades: Iterable[Trade], refusals: Mapping[str, str]) -> TradeComparison:
    """Match the engine's trades with the recorded and the plain book's.

    ``refusals`` gives the reason of each refused order by its client order id.
    """
    recorded = Counter(trade.fill for trade in session.recorded)
    made = Counter(fill_of(trade) for trade in trades)
    plain = Counter(session.plain_fills)
    missing = sorted((recorded - made).elements())
    made_up = sorted((made - recorded).elements())
    reasons = _Reasons(session, refusals)
    return TradeComparison(
        recorded=recorded.total(),
        made=made.total(),
        exact=(recorded & made).total(),
        missing=tuple(Difference(fill, reasons.missing(fill, made_up)) for fill in missing),
        made_up=tuple(Difference(fill, reasons.made_up(fill, missing)) for fill in made_up),
        unlike_plain_book=tuple(sorted(((made - plain) + (plain - made)).elements())),
    )


def compare_refusals(session: Session, refusals: Mapping[str, str]) -> RefusalComparison:
    """Count refusals by reason, and hold the crossing post-only orders against the recording's."""
    explained = _explained_refusals(session, refusals)
    crossing = {name for name, reason in refusals.items() if reason == POST_ONLY_REASON}
    return RefusalComparison(
        by_reason=dict(Counter(refusals.values()).most_common()),
        crossing_recorded=len(session.refused_crossing),
        crossing_in_both=len(crossing & session.refused_crossing),
        crossing_only_recorded=len(session.refused_crossing - crossing),
        crossing_only_engine=len(crossing - session.refused_crossing),
        explained={
            reason: "; ".join(f"{count} {why}" for why, count in sorted(whys.items()))
            for reason, whys in explained.items()
        },
        unexplained=sum(whys[_UNEXPLAINED] for whys in explained.values()),
    )


def compare_books(
    session: Session, engine: Mapping[Side, Sequence[Level]], depth: int = 10
) -> tuple[BookRow, ...]:
    """The best levels of both books, best first; the recorded one is without the ghosts."""
    return tuple(
        BookRow(side, _at(session.recorded_book[side], index), _at(engine[side], index))
        for side in ("SELL", "BUY")
        for index in range(depth)
    )


def _at(levels: Sequence[Level], index: int) -> Level | None:
    return levels[index] if index < len(levels) else None


def _explained_refusals(session: Session, refusals: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Why, by reason, for what the exchange did not refuse."""
    orders = {order.client_order_id: order for order in session.commands if isinstance(order, PlaceOrder)}
    lines: dict[str, Counter[str]] = {}
    for name, reason in refusals.items():
        if reason != POST_ONLY_REASON and name in orders:
            why = _why_refused(orders[name], session.opening_mark_ticks)
            lines.setdefault(reason, Counter())[why] += 1
    return lines


def _why_refused(order: PlaceOrder, mark_ticks: int) -> str:
    if order.quantity_lots == 0:
        return "recorded with volume 0: market orders for an amount of money"
    if order.price_ticks == 0:
        return "recorded at price 0: bids below half a dollar, which the recording rounds away"
    if not can_be_valued(order.quantity_lots, mark_ticks):
        return "worth more at the mark than an int64 of 1e-10 USD can say: no deposit is enough"
    return _UNEXPLAINED


class _Reasons:
    """Finds out why a trade is missing or made up."""

    def __init__(self, session: Session, refusals: Mapping[str, str]) -> None:
        self._without_quantity = session.without_quantity
        self._ghosts = {ghost.order_id: ghost for ghost in session.ghosts}
        self._refusals = refusals

    def missing(self, fill: Fill, made_up: Sequence[Fill]) -> str:
        for order_id in (fill.buy_id, fill.sell_id):
            if order_id in self._without_quantity:
                return (
                    f"{order_id} is a market order for an amount of money, whose volume is recorded as 0:"
                    " it was refused as sent"
                )
            if order_id in self._refusals:
                return f"{order_id} was refused: {self._refusals[order_id]}"
        instead = self._instead(fill, made_up)
        if instead is None:
            return _UNEXPLAINED
        return f"the engine made {_shown(instead)} instead: {self._ghost_line(instead)}"

    def made_up(self, fill: Fill, missing: Sequence[Fill]) -> str:
        instead = self._instead(fill, missing)
        place = f"in the place of {_shown(instead)}: " if instead else ""
        return place + self._ghost_line(fill)

    def _instead(self, fill: Fill, others: Sequence[Fill]) -> Fill | None:
        """The other trade that shares the taker, or either order, with this one."""
        shared = (other for other in others if other.buy_id == fill.buy_id or other.sell_id == fill.sell_id)
        return next(shared, None)

    def _ghost_line(self, fill: Fill) -> str:
        ghost = self._ghosts.get(fill.buy_id) or self._ghosts.get(fill.sell_id)
        if ghost is None:
            return _UNEXPLAINED
        return (
            f"{ghost.order_id} stood first at that price since the opening snapshot, but was a ghost, which"
            f" shows only later, when {ghost.crossed_by} crosses it and lives on for"
            f" {ghost.lived_ns // 1_000_000} ms"
        )


def _shown(fill: Fill) -> str:
    return f"{fill.buy_id} with {fill.sell_id}"
