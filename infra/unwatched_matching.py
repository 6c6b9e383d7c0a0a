"""Matching for a run that no checkpoint follows and whose market data nobody reads: ``trading simulate --no-risk``."""

from typing import Final, cast

from agents.rules.matching import Matching
from connectors.decimals import Units
from connectors.event_forms import EventForms
from connectors.json_events import Event, TradeLine
from schemas.events import OrderFilled, Trade
from schemas.topics import ANSWERS, PartitionCounts
from tables.book import BookSide
from tables.matching import BookOrder, BookRow, MatchingTables
from tables.section import Section

ANSWERS_LANE: Final = ANSWERS, 0


class _Unlogged(MatchingTables):
    """Tables that no checkpoint will ask what changed: plain dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.orders = cast("Section[int, BookOrder]", {})
        self.books = cast("Section[str, BookRow]", {})


class UnwatchedMatching(Matching):
    """Matching whose market data nobody reads: levels that changed are forgotten, trades told among the answers."""

    def __init__(self) -> None:
        """Starts with no instrument and no order."""
        super().__init__(_Unlogged(), PartitionCounts(accounts=1, books=1), 0)
        self._turn.shared = lambda terms: terms  # type: ignore[method-assign]  # there is but one
        self._turn.tell_levels = _forget_levels  # type: ignore[method-assign]
        self._turn.trades = ANSWERS_LANE  # type: ignore[misc]


class TapeForms(EventForms):
    """The lines of answers among which are the trades themselves: their fills need none."""

    def __init__(self, units: Units) -> None:
        """Reads ``units`` as they are at each event."""
        super().__init__(units)
        del self._forms[OrderFilled]
        self._forms[Trade] = self._trade

    def _trade(self, trade: Trade) -> Event:
        ticks, lots = self._units.of(trade.instrument)
        return TradeLine(
            trade.trade_id,
            trade.instrument,
            ticks.format(trade.price_ticks),
            lots.format(trade.quantity_lots),
            trade.aggressor_side,
            trade.maker_order_id,
            trade.maker_client_order_id,
            trade.maker_account,
            trade.taker_order_id,
            trade.taker_client_order_id,
            trade.taker_account,
        )


def _forget_levels(instrument: str, side: BookSide) -> None:  # noqa: ARG001  (Turn.tell_levels)
    side.touched.clear()
