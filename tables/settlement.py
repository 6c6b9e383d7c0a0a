"""What settlement remembers: balances, positions, what waits for its day, and what session ends need."""

from schemas.record import InstrumentKind
from tables.section import Row, Section, Tables


class BalanceRow(Row, frozen=True, gc=False, array_like=True):
    """Cash of an account in one currency; ``unsettled_minor`` of it waits for its settlement day."""

    cash_minor: int = 0
    unsettled_minor: int = 0
    version: int = 0


class PositionRow(Row, frozen=True, gc=False, array_like=True):
    """A holding: lots (short is negative), its open cost (same sign), the profit realised so far."""

    kind: InstrumentKind
    currency: str
    quantity_lots: int = 0
    open_cost_minor: int = 0
    realised_profit_minor: int = 0
    version: int = 0


class FutureRow(Row, frozen=True, gc=False, array_like=True):
    """What of a future's definition its session end needs."""

    currency: str
    minor_per_tick_lot: int
    session_end_minute_utc: int


class VariationRow(Row, frozen=True, gc=False, array_like=True):
    """A session end of a future that is being worked off: its mark, and the last account done ("" none)."""

    mark_price_ticks: int
    after_account: str


class LedgerRow(Row, frozen=True, gc=False, array_like=True):
    """The next posting's number, and the last tick (None before the first)."""

    next_posting: int = 0
    tick_ns: int | None = None


BalanceKey = tuple[str, str]
"""Account and currency; the partition's own house, clearing and cash accounts among them."""
PositionKey = tuple[str, str]
"""Account and instrument."""
ReleaseKey = tuple[int, str, str]
"""Settlement day, account and currency."""

LEDGER = "ledger"  # the one key of the section of that name


class SettlementTables(Tables):
    """Settlement's sections."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.balances: Section[BalanceKey, BalanceRow] = self._section("balances", 1, BalanceKey, BalanceRow)
        self.positions: Section[PositionKey, PositionRow] = self._section(
            "positions", 2, PositionKey, PositionRow
        )
        self.releases: Section[ReleaseKey, int] = self._section("releases", 3, ReleaseKey, int)
        self.futures: Section[str, FutureRow] = self._section("futures", 4, str, FutureRow)
        self.marks: Section[str, int] = self._section("marks", 5, str, int)
        self.variations: Section[str, VariationRow] = self._section("variations", 6, str, VariationRow)
        self.ledger: Section[str, LedgerRow] = self._section("ledger", 7, str, LedgerRow)
