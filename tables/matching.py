"""What matching remembers: every open order, every book's state, and the elections that are still owed."""

from schemas.book_commands import Terms
from schemas.record import OrderType, SelfTradePrevention, Side, TimeInForce, TradingState
from tables.section import Row, Tables


class BookOrder(Row, frozen=True, gc=False, array_like=True):
    """An open order: as it was entered, with what replaces changed, and where it stands.

    ``cum_quantity_lots + leaves_quantity_lots`` is the order's quantity. Of the leaves, ``shown_lots`` are
    displayed; the rest is an iceberg's hidden part. ``priority`` orders the orders of one price level, and
    the stops of one stop price: smaller is earlier. A ``waiting`` stop is not elected yet and shows nothing.
    """

    order_id: int
    account: str
    client_order_id: str
    instrument: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    price_ticks: int | None
    stop_price_ticks: int | None
    worst_price_ticks: int | None
    display_quantity_lots: int | None
    minimum_quantity_lots: int | None
    post_only: bool
    expires_at_ns: int | None
    self_trade_group: str
    self_trade_prevention: SelfTradePrevention
    terms: Terms
    cum_quantity_lots: int
    leaves_quantity_lots: int
    shown_lots: int
    priority: int
    waiting: bool


def moved(order: BookOrder, cum: int, leaves: int, shown: int, priority: int) -> BookOrder:
    """The order with other quantities and place; spelled out, since this is paid at each partial fill."""
    return BookOrder(
        order.order_id,
        order.account,
        order.client_order_id,
        order.instrument,
        order.side,
        order.order_type,
        order.time_in_force,
        order.price_ticks,
        order.stop_price_ticks,
        order.worst_price_ticks,
        order.display_quantity_lots,
        order.minimum_quantity_lots,
        order.post_only,
        order.expires_at_ns,
        order.self_trade_group,
        order.self_trade_prevention,
        order.terms,
        cum,
        leaves,
        shown,
        priority,
        order.waiting,
    )


def shown_of(leaves: int, display: int | None) -> int:
    """How much of the leaves a fresh slice displays."""
    return leaves if display is None or display > leaves else display


class BookRow(Row, frozen=True, gc=False, array_like=True):
    """A book's state besides its orders.

    ``set_mark_ticks`` is the last SetMark, ``sent_mark_ticks`` the mark that was last broadcast;
    ``trades_made`` the partition's count of trades after this book's last one; ``session_end_ns`` when the
    session ends that is open.
    """

    session_end_minute_utc: int
    session_end_ns: int
    trading_state: TradingState
    halted: bool = False
    last_trade_ticks: int | None = None
    trades_made: int = 0
    set_mark_ticks: int | None = None
    sent_mark_ticks: int | None = None


class OwedElection(Row, frozen=True, gc=False, array_like=True):
    """A trade whose elections did not fit its record; it elects stops that stood before ``priority``."""

    instrument: str
    price_ticks: int
    priority: int


class ClockRow(Row, frozen=True, gc=False, array_like=True):
    """What holds for all books: the last tick, and a halt of everything."""

    last_tick_ns: int = 0
    halted: bool = False


class MatchingTables(Tables):
    """One partition of the books: ``orders`` by order id, ``books`` by symbol, ``owed`` by trade number."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.orders = self._section("orders", 1, int, BookOrder)
        self.books = self._section("books", 2, str, BookRow)
        self.owed = self._section("owed_elections", 3, int, OwedElection)
        self.clocks = self._section("clock", 4, int, ClockRow)

    @property
    def clock(self) -> ClockRow:
        """The one row of its section."""
        row: ClockRow | None = self.clocks.get(0)
        return ClockRow() if row is None else row

    @clock.setter
    def clock(self, row: ClockRow) -> None:
        self.clocks[0] = row
