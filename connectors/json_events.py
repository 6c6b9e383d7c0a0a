"""Events in JSON, one object a line: ``event`` names the type, decimals are strings (README.md, JSON form).

What has no value is left out. An answer that is said again to a repeated command is the same line again.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from agents.rules.intake import Refusal
from connectors.json_commands import AnyLine, CancelOrderLine, PlaceOrderLine, ReplaceOrderLine
from schemas.reasons import code


class Event(msgspec.Struct, tag_field="event", omit_defaults=True, gc=False):
    """The base of all lines; fields stand in the order in which they are written."""


class OrderAcceptedLine(Event, tag="OrderAccepted"):
    """An order is open."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    side: str
    order_type: str
    time_in_force: str
    quantity: str
    price: str | None = None
    stop_price: str | None = None


class OrderRejectedLine(Event, tag="OrderRejected"):
    """An order was refused."""

    account: str
    client_order_id: str
    instrument: str
    reason: str
    reason_code: int
    order_id: int | None = None
    detail: str | None = None


class OrderReplacedLine(Event, tag="OrderReplaced"):
    """An order goes by a new id, quantity and price."""

    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str
    order_id: int
    quantity: str
    cum_quantity: str
    leaves_quantity: str
    price: str | None = None


class OrderReducedLine(Event, tag="OrderReduced"):
    """Self-trade prevention took something off an order."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    reduced_quantity: str
    cum_quantity: str
    leaves_quantity: str


class OrderCancelledLine(Event, tag="OrderCancelled"):
    """An order is closed before it was filled."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    reason: str
    reason_code: int
    cancelled_quantity: str
    cum_quantity: str
    command_id: str | None = None


class OrderExpiredLine(Event, tag="OrderExpired"):
    """An order is closed by the clock."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    cancelled_quantity: str
    cum_quantity: str


class OrderTriggeredLine(Event, tag="OrderTriggered"):
    """A stop was elected."""

    account: str
    client_order_id: str
    instrument: str
    order_id: int
    trigger_price: str


class CancelRejectedLine(Event, tag="CancelRejected"):
    """A cancel was refused."""

    account: str
    client_order_id: str
    original_client_order_id: str
    reason: str
    reason_code: int
    instrument: str | None = None
    order_id: int | None = None
    detail: str | None = None


class ReplaceRejectedLine(CancelRejectedLine, tag="ReplaceRejected"):
    """A replace was refused."""


class MassCancelledLine(Event, tag="MassCancelled"):
    """A mass cancel or a kill is done."""

    command_id: str
    count: int
    account: str | None = None
    instrument: str | None = None
    side: str | None = None


class TradeLine(Event, tag="Trade"):
    """Two orders traded."""

    trade_id: int
    instrument: str
    price: str
    quantity: str
    aggressor_side: str
    maker_order_id: int
    maker_client_order_id: str
    maker_account: str
    taker_order_id: int
    taker_client_order_id: str
    taker_account: str


class PositionChangedLine(Event, tag="PositionChanged"):
    """A holding after a change."""

    account: str
    instrument: str
    currency: str
    quantity: str
    open_cost: str
    realised_profit: str
    version: int


class BalanceChangedLine(Event, tag="BalanceChanged"):
    """Cash after a change."""

    account: str
    currency: str
    cash: str
    unsettled: str
    version: int


class CommandRefusedLine(Event, tag="CommandRefused"):
    """A command that is no order, cancel or replace, or a line that is no command, was refused."""

    line: int
    reason: str
    reason_code: int
    detail: str
    command_id: str | None = None
    account: str | None = None


encode_lines: Final[Callable[[Sequence[Event]], bytes]] = msgspec.json.Encoder().encode_lines


def rejected(line: AnyLine, refusal: Refusal) -> Event | None:
    """The answer to an order, a cancel or a replace that was refused before any stage saw it; None to others."""
    reason, detail = refusal
    number = code(reason)
    match line:
        case PlaceOrderLine():
            return OrderRejectedLine(
                line.account, line.client_order_id, line.instrument, reason, number, None, detail
            )
        case CancelOrderLine() | ReplaceOrderLine():
            form = CancelRejectedLine if isinstance(line, CancelOrderLine) else ReplaceRejectedLine
            name, original = line.client_order_id, line.original_client_order_id
            return form(line.account, name, original, reason, number, None, None, detail)
        case _:
            return None
