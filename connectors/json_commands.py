"""Commands in JSON, one object a line: ``command`` names its type (README.md, JSON form).

A line that cannot be read raises LineError. What can be read but not counted in its instrument's ticks and
lots raises Refused, with the reason that the answer should bear. Everything else is for ``agents.rules``.
"""

from typing import Annotated, Any, Final, assert_never

import msgspec

from agents.rules.intake import Refusal
from connectors.decimals import Grid, OffGridError, Units
from schemas import commands
from schemas.maximums import INT64_MAX
from schemas.record import OrderType, SelfTradePrevention, Side, TimeInForce
from schemas.reference import Limits

Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=INT64_MAX)]


class LineError(ValueError):
    """A line that cannot be understood; ``reason`` is one of ``schemas.reasons``."""

    def __init__(self, detail: str, reason: str = "undecodable") -> None:
        super().__init__(detail)
        self.reason = reason


class Refused(Exception):
    """A command that can be understood and is refused before any stage sees it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal: Refusal = (reason, detail)


class Line(
    msgspec.Struct, tag_field="command", tag=lambda name: name.removesuffix("Line"), gc=False, kw_only=True
):
    """What every command may have; fields that are not listed are not looked at.

    Decimals are Any: a JSON number comes as the text it was written in, never as a float. Words of a list
    are read as any text, so that intake may say which one is wrong.
    """

    timestamp_ns: Nanoseconds | None = None


class PlaceOrderLine(Line, kw_only=True):
    """A new order."""

    account: str
    client_order_id: str
    instrument: str
    side: str
    order_type: str
    time_in_force: str
    quantity: Any
    price: Any = None
    stop_price: Any = None
    display_quantity: Any = None
    minimum_quantity: Any = None
    post_only: bool = False
    expires_at: int | None = None
    self_trade_prevention: str | None = None


class CancelOrderLine(Line, kw_only=True):
    """A cancel."""

    account: str
    client_order_id: str
    original_client_order_id: str


class ReplaceOrderLine(Line, kw_only=True):
    """A replace: what is left out stays as it is. ``instrument`` says in whose units, to who cannot know."""

    account: str
    client_order_id: str
    original_client_order_id: str
    instrument: str | None = None
    price: Any = None
    quantity: Any = None


class Identified(Line, kw_only=True):
    """A command with its own id, which may be left out: it is then made of the line's number."""

    command_id: str | None = None


class MassCancelLine(Identified, kw_only=True):
    """A mass cancel; without account it is an operator's."""

    account: str | None = None
    instrument: str | None = None
    side: str | None = None


class TickLine(Line, kw_only=True):
    """The clock reaches ``tick_ns``, or where that is left out ``timestamp_ns``."""

    tick_ns: Nanoseconds | None = None


class HaltLine(Identified, kw_only=True):
    """Halts an instrument, or all."""

    instrument: str | None = None


class KillLine(Identified, kw_only=True):
    """Kills an account's, an instrument's or everyone's trading."""

    account: str | None = None
    instrument: str | None = None
    allow_reducing: bool = False


class ResumeLine(Identified, kw_only=True):
    """Lifts the halts and kills of exactly this scope."""

    account: str | None = None
    instrument: str | None = None


class DepositLine(Identified, kw_only=True):
    """Cash comes in."""

    account: str
    currency: str
    amount: Any


class WithdrawLine(Identified, kw_only=True):
    """Cash goes out."""

    account: str
    currency: str
    amount: Any


class SetLimitsLine(Identified, kw_only=True):
    """Replaces an account's limits (in lots and minor units, as ``schemas.reference.Limits``)."""

    account: str
    limits: dict[str, int | None]


class SetMarkLine(Identified, kw_only=True):
    """Sets an instrument's mark."""

    instrument: str
    price: Any


AnyLine = (
    PlaceOrderLine
    | CancelOrderLine
    | ReplaceOrderLine
    | MassCancelLine
    | TickLine
    | HaltLine
    | KillLine
    | ResumeLine
    | DepositLine
    | WithdrawLine
    | SetLimitsLine
    | SetMarkLine
)


class _WordsLine(PlaceOrderLine, kw_only=True, tag="PlaceOrder"):
    """A new order whose words are all in their lists: they are then one text in memory, however often read."""

    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    self_trade_prevention: SelfTradePrevention | None = None


_Quick = (
    _WordsLine
    | CancelOrderLine
    | ReplaceOrderLine
    | MassCancelLine
    | TickLine
    | HaltLine
    | KillLine
    | ResumeLine
    | DepositLine
    | WithdrawLine
    | SetLimitsLine
    | SetMarkLine
)
_quick: Final[msgspec.json.Decoder[_Quick]] = msgspec.json.Decoder(_Quick, float_hook=str)
_decoder: Final[msgspec.json.Decoder[AnyLine]] = msgspec.json.Decoder(AnyLine, float_hook=str)


def decode(line: bytes) -> AnyLine:
    """The command of one line; LineError where it cannot be read."""
    try:
        return _quick.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return _decode_any(line)


def _decode_any(line: bytes) -> AnyLine:
    """A line with a word of no list, which intake will name, or one that cannot be read."""
    try:
        return _decoder.decode(line)
    except msgspec.ValidationError as error:
        unknown = str(error).endswith("`$.command`") or "field `command`" in str(error)
        raise LineError(str(error), "unknown_type" if unknown else "undecodable") from None
    except (msgspec.DecodeError, RecursionError) as error:
        raise LineError(str(error)) from None


def command_of(
    line: AnyLine, units: Units, number: int, at_ns: int
) -> commands.AccountCommand | commands.ControlCommand:
    """The command of a line, in integers; ``number`` names one that came without an id."""
    match line:
        case PlaceOrderLine():
            return _place_order(line, units, at_ns)
        case CancelOrderLine():
            return commands.CancelOrder(
                account=line.account,
                client_order_id=line.client_order_id,
                original_client_order_id=line.original_client_order_id,
                at_ns=at_ns,
            )
        case ReplaceOrderLine():
            return _replace_order(line, units, at_ns)
        case TickLine():
            return commands.Tick(tick_ns=tick_ns(line), at_ns=at_ns)
        case DepositLine() | WithdrawLine():
            kind = commands.Deposit if isinstance(line, DepositLine) else commands.Withdraw
            return kind(
                account=line.account,
                command_id=command_id(line, number),
                currency=line.currency,
                amount_minor=_steps(units.money(line.currency), line.amount, "amount", "invalid_amount"),
                at_ns=at_ns,
            )
        case _:
            return _control_command(line, units, command_id(line, number), at_ns)


def command_id(line: Identified, number: int) -> str:
    """The command's own id, or one made of its line's number."""
    return f"line-{number}" if line.command_id is None else line.command_id


def tick_ns(line: TickLine) -> int:
    """The time that the clock reaches."""
    time_ns = line.timestamp_ns if line.tick_ns is None else line.tick_ns
    if time_ns is None:
        raise LineError("a Tick needs tick_ns")
    return time_ns


def order_numbers(
    line: PlaceOrderLine, ticks: Grid, lots: Grid
) -> tuple[int, int | None, int | None, int | None, int | None]:
    """Quantity, price, stop price, displayed and minimum quantity of a line, in lots and ticks."""
    price, stop, display, minimum = line.price, line.stop_price, line.display_quantity, line.minimum_quantity
    try:
        return (
            lots.parse(line.quantity),
            None if price is None else ticks.parse(price),
            None if stop is None else ticks.parse(stop),
            None if display is None else lots.parse(display),
            None if minimum is None else lots.parse(minimum),
        )
    except ValueError:
        for grid, field in ((lots, "quantity"), (ticks, "price"), (ticks, "stop_price")):
            _parse(grid, line, field)
        for field in ("display_quantity", "minimum_quantity"):
            _parse(lots, line, field)
        raise


def replace_numbers(line: ReplaceOrderLine, ticks: Grid, lots: Grid) -> tuple[int | None, int | None]:
    """New price and quantity of a line, in ticks and lots."""
    return _parse(ticks, line, "price"), _parse(lots, line, "quantity")


def _place_order(line: PlaceOrderLine, units: Units, at_ns: int) -> commands.PlaceOrder:
    quantity, price, stop, display, minimum = order_numbers(line, *units.of(line.instrument))
    return commands.PlaceOrder(
        account=line.account,
        client_order_id=line.client_order_id,
        instrument=line.instrument,
        side=line.side,  # type: ignore[arg-type]
        order_type=line.order_type,  # type: ignore[arg-type]
        time_in_force=line.time_in_force,  # type: ignore[arg-type]
        quantity_lots=quantity,
        price_ticks=price,
        stop_price_ticks=stop,
        display_quantity_lots=display,
        minimum_quantity_lots=minimum,
        post_only=line.post_only,
        expires_at_ns=line.expires_at,
        self_trade_prevention=line.self_trade_prevention,  # type: ignore[arg-type]
        at_ns=at_ns,
    )


def _replace_order(line: ReplaceOrderLine, units: Units, at_ns: int) -> commands.ReplaceOrder:
    price_ticks, quantity_lots = replace_numbers(line, *units.of(line.instrument or ""))
    return commands.ReplaceOrder(
        account=line.account,
        client_order_id=line.client_order_id,
        original_client_order_id=line.original_client_order_id,
        price_ticks=price_ticks,
        quantity_lots=quantity_lots,
        at_ns=at_ns,
    )


def _control_command(
    line: MassCancelLine | HaltLine | KillLine | ResumeLine | SetLimitsLine | SetMarkLine,
    units: Units,
    name: str,
    at_ns: int,
) -> commands.ControlCommand:
    match line:
        case MassCancelLine():
            return commands.MassCancel(
                command_id=name,
                account=line.account,
                instrument=line.instrument,
                side=line.side,  # type: ignore[arg-type]
                at_ns=at_ns,
            )
        case HaltLine():
            return commands.Halt(command_id=name, instrument=line.instrument, at_ns=at_ns)
        case KillLine():
            return commands.Kill(
                command_id=name,
                account=line.account,
                instrument=line.instrument,
                allow_reducing=line.allow_reducing,
                at_ns=at_ns,
            )
        case ResumeLine():
            return commands.Resume(
                command_id=name, account=line.account, instrument=line.instrument, at_ns=at_ns
            )
        case SetLimitsLine():
            limits = _limits(line.limits)
            return commands.SetLimits(command_id=name, account=line.account, limits=limits, at_ns=at_ns)
        case SetMarkLine():
            price = _steps(units.of(line.instrument)[0], line.price, "price", "invalid_price")
            return commands.SetMark(
                command_id=name, instrument=line.instrument, price_ticks=price, at_ns=at_ns
            )
        case _:
            assert_never(line)


def _limits(given: dict[str, int | None]) -> Limits:
    if unknown := sorted(given.keys() - set(Limits.__struct_fields__)):
        raise LineError(f"limits has no {unknown[0]}: it has {', '.join(Limits.__struct_fields__)}")
    return Limits(**given)


def _parse(grid: Grid, line: PlaceOrderLine | ReplaceOrderLine, field: str) -> int | None:
    text = getattr(line, field)
    reason = "invalid_price" if field.endswith("price") else "invalid_quantity"
    return None if text is None else _steps(grid, text, field, reason)


def _steps(grid: Grid, text: object, field: str, reason: str) -> int:
    try:
        return grid.parse(text)
    except OffGridError as error:
        raise Refused(reason, f"{field} {error}") from None
    except ValueError as error:
        raise LineError(f"{field} {error}") from None
