"""What settlement remembers: balances, positions, what waits for its day, session ends being worked off."""

from schemas.record import InstrumentKind
from tables.section import Row, Section, Tables


class BalanceRow(Row, frozen=True, gc=False, array_like=True):
    """Cash of an account in one currency; ``unsettled_minor`` of it waits for its settlement day."""

    cash_minor: int = 0
    unsettled_minor: int = 0
    version: int = 0


class PositionRow(Row, frozen=True, gc=False, array_like=True):
    """A holding: lots (short is negative), its open cost (same sign), the profit realised so far.

    A future's ``session_end_ns``: the last session end that needs no variation of it any more, posted or older
    than the position. It is asked for only while a session end is being worked off.
    """

    kind: InstrumentKind
    currency: str
    minor_per_tick_lot: int
    quantity_lots: int = 0
    open_cost_minor: int = 0
    realised_profit_minor: int = 0
    version: int = 0
    session_end_ns: int = 0


class VariationRow(Row, frozen=True, gc=False, array_like=True):
    """A session end of a future that is being worked off: its mark, and the last account done ("" none)."""

    mark_price_ticks: int
    session_end_ns: int
    after_account: str = ""


class LedgerRow(Row, frozen=True, gc=False, array_like=True):
    """The next posting's number."""

    next_posting: int = 0


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
        self.marks: Section[str, int] = self._section("marks", 4, str, int)
        self.variations: Section[str, VariationRow] = self._section("variations", 5, str, VariationRow)
        self.ledger: Section[str, LedgerRow] = self._section("ledger", 6, str, LedgerRow)
