"""What risk remembers of its accounts: reference data, open orders, command ids, cash, positions, switches.

Identifiers hold no space, so a key of two is one string with a space between: cheaper in memory and on the
changelog than a tuple. What holds and totals there are is derived from the open orders, and never stored.
"""

from typing import Final, Literal

from schemas.record import OrderType, Side, TimeInForce
from schemas.reference import Account, Instrument
from tables.lifecycle import State
from tables.section import Row, Section, Tables

CommandKind = Literal["P", "C", "R", "M", "D", "W"]
"""Place, cancel, replace, mass cancel, deposit, withdraw."""

PENDING: Final = -1  # the reason code of a command whose answer is still to come
DONE: Final = 0  # and of one that was not refused
NO_ORDER: Final = -1

ALL: Final = ""  # stands for every account or instrument in a key
MARGIN_CURSOR: Final = "margin"  # the keys of the section of cursors: the next account to be looked at
VARIATION_CURSOR: Final = "variation"


class AccountRow(Row, frozen=True, gc=False, array_like=True):
    """An account as last defined; ``number`` counts the accounts of the partition as they came."""

    number: int
    account: Account


class PendingReplace(Row, frozen=True, gc=False, array_like=True):
    """A replace that matching has not answered; None leaves what it was."""

    client_order_id: str
    price_ticks: int | None
    quantity_lots: int | None


class OrderRow(Row, frozen=True, gc=False, array_like=True):
    """An open order; the row goes when the order closes.

    It stands for the command that placed it, too, whose ``digest`` it has, until it closes or is replaced: then
    that command gets a row of its own. ``at_ns`` is when risk let it through, and then when it was accepted.
    ``hold_price_ticks`` is what its holds are counted at: its limit, or the worst price it was stamped with.
    ``fee_bps`` is the worse of its maker's and taker's rates, none for a rebate. ``client_order_id`` is the
    current one.
    """

    account: str
    client_order_id: str
    instrument: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    state: State
    quantity_lots: int
    cum_quantity_lots: int
    price_ticks: int | None
    stop_price_ticks: int | None
    hold_price_ticks: int
    fee_bps: int
    digest: int
    at_ns: int
    pending: tuple[PendingReplace, ...] = ()

    def accepted(self, state: State, at_ns: int) -> "OrderRow":
        """The row of an order that is in its book since ``at_ns``."""
        return OrderRow(
            self.account,
            self.client_order_id,
            self.instrument,
            self.side,
            self.order_type,
            self.time_in_force,
            state,
            self.quantity_lots,
            self.cum_quantity_lots,
            self.price_ticks,
            self.stop_price_ticks,
            self.hold_price_ticks,
            self.fee_bps,
            self.digest,
            at_ns,
            self.pending,
        )

    def changed(
        self, state: State, quantity_lots: int, cum_quantity_lots: int, pending: tuple[PendingReplace, ...]
    ) -> "OrderRow":
        """The row with these values; msgspec's own ``replace`` takes three times as long."""
        return OrderRow(
            self.account,
            self.client_order_id,
            self.instrument,
            self.side,
            self.order_type,
            self.time_in_force,
            state,
            quantity_lots,
            cum_quantity_lots,
            self.price_ticks,
            self.stop_price_ticks,
            self.hold_price_ticks,
            self.fee_bps,
            self.digest,
            self.at_ns,
            pending,
        )


class CommandRow(Row, frozen=True, gc=False, array_like=True):
    """An id that was used, and the first outcome of its command.

    ``digest`` stands for the command's content without its time; ``reason_code`` is PENDING, DONE or that of
    the refusal. ``kept_until_ns`` is 0 while the id may not go: unanswered, or the name of an open order.
    ``first`` holds what the first outcome said beyond that and beyond the command itself, so that it can be
    said again (see ``agents.rules.risk.outcomes``).
    """

    kind: CommandKind
    digest: int
    order_id: int
    reason_code: int
    at_ns: int
    kept_until_ns: int
    first: tuple[int | str | None, ...] = ()


class PositionRow(Row, frozen=True, gc=False, array_like=True):
    """A holding: lots (short is negative) and its open cost in minor units, of the same sign.

    A future's ``session_end_ns``: the last session end that needs no variation of it any more, posted or older
    than the position. It is asked for only while a session end is being worked off.
    """

    quantity_lots: int
    open_cost_minor: int
    session_end_ns: int = 0


class VariationRow(Row, frozen=True, gc=False, array_like=True):
    """A session end of a future that is being worked off, and its mark."""

    mark_price_ticks: int
    session_end_ns: int


class CashRow(Row, frozen=True, gc=False, array_like=True):
    """Cash in one currency; ``unsettled_minor`` of it waits for its settlement day.

    That may be below zero for the moment between settlement's release and the fill it overtook.
    """

    cash_minor: int
    unsettled_minor: int


class KillRow(Row, frozen=True, gc=False, array_like=True):
    """A kill switch that is on."""

    allow_reducing: bool


class WindowRow(Row, frozen=True, gc=False, array_like=True):
    """How often something happened in a window of engine time, the windows counted from 1970."""

    window: int
    count: int


class SweepRow(Row, frozen=True, gc=False, array_like=True):
    """A mass cancel or a kill that some partitions of the books have not answered yet.

    ``is_clients``: an account's own, whose id waits in ``commands``.
    """

    command_id: str
    account: str | None
    instrument: str | None
    side: Side | None
    is_clients: bool
    waiting_count: int
    removed_count: int


class RiskTables(Tables):
    """Risk's sections; a key of two names is ``pair`` of them."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.instruments: Section[str, Instrument] = self._section("instruments", 1, str, Instrument)
        self.accounts: Section[str, AccountRow] = self._section("accounts", 2, str, AccountRow)
        self.orders: Section[int, OrderRow] = self._section("orders", 3, int, OrderRow)
        self.commands: Section[str, CommandRow] = self._section("commands", 4, str, CommandRow)
        self.positions: Section[str, PositionRow] = self._section("positions", 5, str, PositionRow)
        self.cash: Section[str, CashRow] = self._section("cash", 6, str, CashRow)
        self.marks: Section[str, int] = self._section("marks", 7, str, int)
        self.halts: Section[str, bool] = self._section("halts", 8, str, bool)
        self.kills: Section[str, KillRow] = self._section("kills", 9, str, KillRow)
        self.rates: Section[str, WindowRow] = self._section("rates", 10, str, WindowRow)
        self.repeats: Section[str, WindowRow] = self._section("repeats", 11, str, WindowRow)
        self.sweeps: Section[int, SweepRow] = self._section("sweeps", 12, int, SweepRow)
        self.deficits: Section[str, bool] = self._section("deficits", 13, str, bool)
        self.cursors: Section[str, int] = self._section("cursors", 14, str, int)
        self.variations: Section[str, VariationRow] = self._section("variations", 15, str, VariationRow)


def pair(first: str, second: str) -> str:
    """The key of two names: account and command id, instrument or currency; account and instrument killed."""
    return f"{first} {second}"


def unpair(key: str) -> tuple[str, str]:
    """The two names of a key."""
    first, _, second = key.partition(" ")
    return first, second
