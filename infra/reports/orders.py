"""Order record keeping: every event of every order of a day, in the fields of MiFID II RTS 24.

Commission Delegated Regulation (EU) 2017/580, Annex, Table 2, fields 1 to 51 in their order and under their names
(`orders.schema.json` has each one's number and article, what is missing and why); behind them three columns of the
engine's own. Field 21 has the code of the event (Article 8):

    NEWO accepted              REME replaced on request       CAME cancelled on request
    TRIG a stop was elected    REMA reduced by self-trade     CAMO cancelled by the market: a kill, price protection,
    REMO rejected                   prevention                     self-trade prevention, an operator's mass cancel
    PARF, FILL filled          EXPI its validity has ended: by the clock, or at once (IOC, FOK, MARKET)

REMH, CHME and CHMO (changed by hand, or in status alone) do not happen here. A refused cancel or replace changes no
order, and has no code.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from infra.reports.day import Day, day_of, utc
from infra.reports.definitions import Definitions
from infra.reports.notes import Notes
from infra.reports.rows import Rows
from schemas.flat import FlatOrderEvent, FlatRiskEvent
from schemas.maximums import NANOSECONDS_PER_DAY

VALIDITY: Final = {"GTC": "GTCV", "DAY": "DAVY", "GTD": "GTSV", "IOC": "IOCV", "FOK": "FOKV"}
SIDES: Final = {"BUY": "BUYI", "SELL": "SELL"}
CLASSES: Final = {
    "LIMIT": "LMTO",
    "MARKET": "LMTO",
    "STOP": "STOP",
    "STOP_LIMIT": "STOP",
}  # LMTO: can trade as it is
LIQUIDITY: Final = {"MAKER": "PASV", "TAKER": "AGRE"}
AT_ONCE: Final = frozenset({"IOC", "FOK"})  # never in a book
UNPRICED: Final = frozenset({"MARKET", "STOP"})  # nor these
STOPS: Final = frozenset({"STOP", "STOP_LIMIT"})
CANCELS: Final = {
    "requested": "CAME",
    "mass_cancel": "CAME",  # CAMO where an operator asked for it
    "replaced_to_filled": "CAME",
    "immediate_or_cancel": "EXPI",
    "no_liquidity": "EXPI",
}
BY_THE_MARKET: Final = "CAMO"  # for any other reason
EVENTS: Final = {
    "OrderAccepted": "NEWO",
    "OrderRejected": "REMO",
    "OrderTriggered": "TRIG",
    "OrderReplaced": "REME",
    "OrderReduced": "REMA",
    "OrderCancelled": "",  # by its reason
    "OrderExpired": "EXPI",
    "OrderFilled": "",  # by what is left
}
ASKED: Final = "PlaceOrder"
US: Final = 1_000
MINUTE_NS: Final = 60 * 10**9

OLDER: Final = "orders were accepted before the source begins"
REDEFINED: Final = (
    "the self-trade mode that an order got from its account is not known: the account was changed since"
)
NEVER_CAME_IN: Final = "refused at the edge: its terms never came in"
HIDDEN: Final = "an iceberg's later slices are not told"


class Order(msgspec.Struct):
    """An order as it stands after an event; quantities in lots."""

    quantity: int | None = None
    leaves: int | None = None
    price_ticks: int | None = None
    terms: FlatOrderEvent | None = None  # as it was accepted, or else asked for
    asked: FlatOrderEvent | None = None
    waits: bool = False
    is_open: bool = False
    priority_ns: int | None = None
    is_sliced: bool = False  # an iceberg that has traded while it rested


class Orders:
    """Folds events into orders, and tells each order's state after its event."""

    def __init__(self) -> None:
        self._orders: dict[int, Order] = {}
        self._asked: dict[tuple[str | None, str | None], FlatOrderEvent] = {}

    def take(self, it: FlatOrderEvent) -> Order | None:
        """The order after its event, closed ones for the last time; None for what is no order's event."""
        if it.event == ASKED:
            self._asked[it.account, it.client_order_id] = it
            return None
        if it.event not in EVENTS or it.possible_resend:
            return None
        order = self._order(it)
        _STEPS[it.event](order, it)
        if not order.is_open and it.order_id is not None:
            self._orders.pop(it.order_id, None)
        return order

    def _order(self, it: FlatOrderEvent) -> Order:
        if it.event in ("OrderAccepted", "OrderRejected"):
            asked = self._asked.pop((it.account, it.client_order_id), None)
            order = Order(asked=asked, terms=it if it.event == "OrderAccepted" else asked)
        else:
            order = self._orders.get(it.order_id or 0) or Order()
        if it.order_id is not None:
            self._orders[it.order_id] = order
        return order


def _accept(order: Order, it: FlatOrderEvent) -> None:
    order.quantity = order.leaves = it.quantity_lots
    order.price_ticks = it.price_ticks
    order.waits, order.is_open = it.order_type in STOPS, True
    order.priority_ns = None if order.waits else it.at_ns


def _reject(order: Order, it: FlatOrderEvent) -> None:
    del it
    if order.asked is not None:
        order.quantity, order.price_ticks = order.asked.quantity_lots, order.asked.price_ticks
    order.leaves = 0


def _trigger(order: Order, it: FlatOrderEvent) -> None:
    order.waits, order.priority_ns = False, it.at_ns


def _replace(order: Order, it: FlatOrderEvent) -> None:
    """Equal or less at the same price keeps its priority (semantics: Commands and answers)."""
    keeps = it.price_ticks == order.price_ticks and (it.quantity_lots or 0) <= (order.quantity or 0)
    if not keeps and not order.waits:
        order.priority_ns = it.at_ns
    order.price_ticks, order.quantity, order.leaves = (
        it.price_ticks,
        it.quantity_lots,
        it.leaves_quantity_lots,
    )


def _reduce(order: Order, it: FlatOrderEvent) -> None:
    order.leaves = it.leaves_quantity_lots


def _fill(order: Order, it: FlatOrderEvent) -> None:
    order.leaves = it.leaves_quantity_lots
    order.is_open = bool(order.leaves)
    order.is_sliced = order.is_sliced or it.liquidity == "MAKER"


def _end(order: Order, it: FlatOrderEvent) -> None:
    del it
    order.leaves, order.is_open = 0, False


_STEPS: Final = {
    "OrderAccepted": _accept,
    "OrderRejected": _reject,
    "OrderTriggered": _trigger,
    "OrderReplaced": _replace,
    "OrderReduced": _reduce,
    "OrderCancelled": _end,
    "OrderExpired": _end,
    "OrderFilled": _fill,
}


def orders(rows: Rows, day: Day, definitions: Definitions, notes: Notes) -> Iterator[dict[str, Any]]:
    """The day's events of orders, by time, then as the tables' key orders them."""
    known, sequence = Orders(), 0
    since_ns = day.begin_ns - NANOSECONDS_PER_DAY  # a sweep takes seconds
    ordered = rows.happened(FlatRiskEvent, since_ns, day.end_ns, ("MassCancelOrdered",))
    operators = {it.command_id for it in ordered}
    for it in rows.orders_before(day):
        known.take(it)
    for it in rows.happened(FlatOrderEvent, day.begin_ns, day.end_ns):
        order = known.take(it)
        if order is not None:
            sequence += 1
            yield _row(sequence, it, order, _code(it, operators), definitions, notes)


def _code(it: FlatOrderEvent, operators: set[str | None]) -> str:
    """Field 21."""
    if it.event == "OrderFilled":
        return "PARF" if it.leaves_quantity_lots else "FILL"
    if it.event == "OrderCancelled":
        if it.reason == "mass_cancel" and it.command_id in operators:
            return BY_THE_MARKET
        return CANCELS.get(it.reason or "", BY_THE_MARKET)
    return EVENTS[it.event]


def _row(
    sequence: int,
    it: FlatOrderEvent,
    order: Order,
    code: str,
    definitions: Definitions,
    notes: Notes,
) -> dict[str, Any]:
    _note_what_is_unknown(it, order, notes)
    terms, asked, instrument = order.terms, order.asked, it.instrument
    validity = None if terms is None else terms.time_in_force
    order_type = None if terms is None else terms.order_type
    side = None if terms is None else terms.side
    is_fill = it.event == "OrderFilled"

    def lots(steps: int | None) -> str | None:
        return definitions.quantity(instrument, steps)

    def price(ticks: int | None) -> str | None:
        return definitions.price(instrument, ticks)

    return {
        "Date and time": utc(it.at_ns),
        "Validity period": VALIDITY.get(validity or ""),
        "Validity period date and time": _valid_until(order, it, definitions),
        "Priority time stamp": _priority(order),
        "Sequence number": sequence,
        "Order book code": instrument,
        "Date of receipt": str(day_of(asked.at_ns if asked else terms.at_ns if terms else it.at_ns)),
        "Order identification code": None if it.order_id is None else f"{it.epoch}-{it.order_id}",
        "New order, order modification, order cancellation, order rejections, partial or full execution": code,
        "Order type": order_type,
        "Order type classification": CLASSES.get(order_type or ""),
        "Limit price": price(order.price_ticks),
        "Stop price": price(None if terms is None else terms.stop_price_ticks),
        "Transaction price": price(it.last_price_ticks),
        "Price currency": definitions.currency(instrument),
        "Price notation": "MONE",
        "Buy-sell indicator": SIDES.get(side or ""),
        "Order status": "ACTI" if order.is_open and not order.waits else "INAC",
        "Quantity notation": "UNIT",
        "Initial quantity": lots(order.quantity),
        "Remaining quantity including hidden": lots(order.leaves),
        "Displayed quantity": lots(_displayed(order, validity)),
        "Traded quantity": lots(it.last_quantity_lots) if is_fill else None,
        "Minimum Acceptable Quantity (MAQ)": lots(asked.minimum_quantity_lots if asked else None),
        "Passive only indicator": asked.post_only if asked else None,
        "Passive or aggressive indicator": LIQUIDITY.get(it.liquidity or "") if is_fill else None,
        "Self-execution prevention": _prevention(order, definitions, notes),
        "Trading venue transaction identification code": f"{it.epoch}-{it.trade_id}" if is_fill else None,
        "Account": it.account,
        "Client order identifier": it.client_order_id,
        "Reason": it.reason,
    }


def _note_what_is_unknown(it: FlatOrderEvent, order: Order, notes: Notes) -> None:
    if it.event == "OrderRejected" and order.asked is None and it.order_id is None:
        notes.not_known("fields of the order", NEVER_CAME_IN)
    elif order.terms is None or order.asked is None:
        notes.incomplete(OLDER, f"{it.epoch}-{it.order_id}")
    elif order.is_sliced and order.asked.display_quantity_lots is not None and order.is_open:
        notes.not_known("Priority time stamp, Displayed quantity", HIDDEN)


def _priority(order: Order) -> str | None:
    """Field 13: since when it stands where it stands in its book; of an iceberg's later slices nobody is told."""
    is_iceberg = order.asked is not None and order.asked.display_quantity_lots is not None
    if not order.is_open or order.priority_ns is None or (is_iceberg and order.is_sliced):
        return None
    return utc(order.priority_ns)


def _displayed(order: Order, validity: str | None) -> int | None:
    """Field 38: what the book shows of it. What never rests, waits, or has ended shows nothing."""
    if order.terms is None:
        return None
    if not order.is_open or order.waits or validity in AT_ONCE or order.terms.order_type in UNPRICED:
        return 0
    shown = order.asked.display_quantity_lots if order.asked else None
    if shown is None:
        return order.leaves
    return None if order.is_sliced else min(shown, order.leaves or 0)


def _valid_until(order: Order, it: FlatOrderEvent, definitions: Definitions) -> str | None:
    """Field 12: of a day order the moment before its session's end; of GTC there is none.

    A session ends at its minute (UTC), so with the usual 00:00 it is immediately before midnight, as the rule has it.
    """
    if order.terms is None or order.terms.time_in_force not in ("DAY", "GTD"):
        return None
    if order.terms.time_in_force == "GTD":
        return (
            None
            if order.asked is None or order.asked.expires_at_ns is None
            else utc(order.asked.expires_at_ns)
        )
    instrument = definitions.instruments.get(it.instrument or "")
    if instrument is None:
        return None
    minute_ns = instrument.session_end_minute_utc * MINUTE_NS
    days = (order.terms.at_ns - minute_ns) // NANOSECONDS_PER_DAY + 1
    return utc(days * NANOSECONDS_PER_DAY + minute_ns - US)


def _prevention(order: Order, definitions: Definitions, notes: Notes) -> bool | None:
    """Field 45: the order's own mode, else its account's as it was when the order came."""
    if order.asked is None:
        return None
    mode = order.asked.self_trade_prevention
    if mode is None:
        account, defined_at_ns = definitions.accounts.get(order.asked.account or "", (None, 0))
        if account is None:
            return None  # refused: nobody knows the account
        if defined_at_ns > order.asked.at_ns:
            notes.incomplete(REDEFINED, order.asked.account)
            return None
        mode = account.self_trade_prevention
    return mode != "NONE"
