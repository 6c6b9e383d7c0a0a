"""``trading simulate --no-risk``: matching alone, fast.

What risk would do and matching cannot do without is done here: instruments are known on first sight, client
order ids name orders and are used once, a mass cancel is counted. An id is kept for the whole run.
"""

from collections import deque
from collections.abc import Callable
from sys import intern
from typing import Any, Final, cast

import msgspec

from agents.rules.intake import (
    Refusal,
    change_refusal,
    is_identifier,
    not_identifier,
    not_in_range,
    order_refusal,
    refusal,
)
from agents.rules.matching import Matching
from agents.rules.outbox import Outbox, Place
from connectors import json_commands as lines
from connectors.decimals import DEFAULT_GRIDS, DEFAULT_STEP_E9, Units
from connectors.event_forms import EventForms
from connectors.json_commands import LineError, Refused
from connectors.json_events import (
    CommandRefusedLine,
    Event,
    MassCancelledLine,
    OrderAcceptedLine,
    OrderCancelledLine,
    OrderReplacedLine,
    rejected,
)
from schemas import control_events
from schemas.book_commands import AmendOrder, EnterOrder, RemoveOrder, RemoveOrders, Terms
from schemas.commands import MassCancel
from schemas.ids import place_id
from schemas.maximums import INT64_MAX
from schemas.reasons import code
from schemas.record import Record
from schemas.reference import Instrument
from schemas.topics import ANSWERS, BOOK_COMMANDS, PartitionCounts
from tables.book import BookSide
from tables.matching import BookOrder, MatchingTables
from tables.section import Section

_TERMS: Final = Terms(
    kind="SPOT", currency="-", minor_per_tick_lot=1, maker_bps=0, taker_bps=0, settlement_days=0
)
_USED: Final[Refusal] = ("client_order_id_already_used", "the id was used with other content")
_UNKNOWN: Final[Refusal] = ("unknown_order", "the account has no order of this name")
_DECIMALS: Final = frozenset({"price", "stop_price", "quantity", "display_quantity", "minimum_quantity"})
_OpenAs = OrderAcceptedLine | OrderReplacedLine  # the outcomes from which on an id names an order
_NAMING: Final = (OrderAcceptedLine, OrderReplacedLine)  # a tuple: isinstance of a union costs 0.3 us
_ANSWERS, _CONTINUED = (ANSWERS, 0), (BOOK_COMMANDS, 0)


class _Unlogged(MatchingTables):
    """Tables that no checkpoint will ask what changed: plain dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.orders = cast("Section[int, BookOrder]", {})


class _Unwatched(Matching):
    """Matching whose market data nobody reads: levels that changed are forgotten instead of told."""

    def __init__(self, tables: MatchingTables, counts: PartitionCounts, partition: int) -> None:
        super().__init__(tables, counts, partition)
        self._turn.shared = lambda terms: terms  # type: ignore[method-assign]  # there is but one
        self._turn.tell_levels = _forget_levels  # type: ignore[method-assign]


class SimulatedBooks:
    """Takes lines, and adds what matching says of them to ``out``."""

    def __init__(self) -> None:
        """Starts with no instrument and no order, at time zero."""
        self.out: list[Event] = []
        self._units = Units()
        self._forms = EventForms(self._units)
        self._matching = _Unwatched(_Unlogged(), PartitionCounts(accounts=1, books=1), 0)
        self._raw = b""  # the line at hand: kept for each id, it is a third of what was read from it
        self._offset = 0
        self._now_ns = 0
        self._tick_ns = -1
        self._instruments: set[str] = set()
        self._used: dict[tuple[str, str], tuple[bytes, Event]] = {}  # id -> its line, first outcome
        self._renamed: set[tuple[str, str]] = set()  # ids that name their order no more
        self._take: dict[type, Callable[[Any, int], None]] = {
            lines.CancelOrderLine: self._change,
            lines.ReplaceOrderLine: self._change,
            lines.MassCancelLine: self._mass_cancel,
            lines.TickLine: self._tick,
            lines.HaltLine: self._halt,
            lines.ResumeLine: self._resume,
            lines.SetMarkLine: self._set_mark,
        }

    def take(self, raw: bytes, number: int) -> None:
        """Runs one line of the input to its end; ``number`` counts from 1."""
        self._raw = raw
        try:
            line = lines.decode(raw)
            time_ns = line.timestamp_ns
            if time_ns is not None and time_ns > self._now_ns:
                self._now_ns = time_ns
            if isinstance(line, lines.PlaceOrderLine):
                self._place(line, number)
            else:
                self._take.get(type(line), _needs_risk)(line, number)
        except LineError as error:
            self._refuse(number, (error.reason, str(error)))

    def _place(self, line: lines.PlaceOrderLine, number: int) -> None:
        name = line.account, line.client_order_id
        used = self._used.get(name)
        if used is not None:
            self._again(line, number, used)
            return
        try:
            order = self._enter(line)
        except Refused as refused:
            self._reject(line, refused.refusal)
            return
        if fault := order_refusal(order):
            self._reject(line, fault)
            return
        if order.instrument not in self._instruments:
            self._define(order.instrument)
            order = self._enter(line)
        first = len(self.out)
        self._run(order)
        self._used[name] = self._raw, self.out[first]

    def _enter(self, line: lines.PlaceOrderLine) -> EnterOrder:
        account = intern(line.account)  # what comes again and again is kept once, and near
        quantity, price, stop, display, minimum = lines.order_numbers(line, *self._units.of(line.instrument))
        return EnterOrder(
            place_id(0, self._offset, 0),
            account,
            line.client_order_id,
            line.instrument,
            line.side,  # type: ignore[arg-type]  # intake refuses other words
            line.order_type,  # type: ignore[arg-type]
            line.time_in_force,  # type: ignore[arg-type]
            quantity,
            price,
            stop,
            display,
            minimum,
            line.post_only,
            line.expires_at,
            account,  # is its own self-trade group
            line.self_trade_prevention or "NONE",  # type: ignore[arg-type]
            None,  # no price is too bad
            _TERMS,
            self._now_ns,
        )

    def _change(self, line: lines.CancelOrderLine | lines.ReplaceOrderLine, number: int) -> None:
        name = line.account, line.client_order_id
        used = self._used.get(name)
        if used is not None:
            self._again(line, number, used)
            return
        original = line.account, line.original_client_order_id
        order = None if original in self._renamed else self._used.get(original)
        open_as = order[1] if order is not None and isinstance(order[1], _NAMING) else None
        try:
            command = self._book_command(line, open_as)
        except Refused as refused:
            self._reject(line, refused.refusal)
            return
        if fault := change_refusal(command):
            self._reject(line, fault)
            return
        first = len(self.out)
        if open_as is None:
            self._reject(line, _UNKNOWN)
        else:
            self._run(command)
        outcome = self.out[first]
        self._used[name] = self._raw, outcome
        if isinstance(outcome, OrderReplacedLine):
            self._renamed.add(original)

    def _book_command(
        self, line: lines.CancelOrderLine | lines.ReplaceOrderLine, order: _OpenAs | None
    ) -> RemoveOrder | AmendOrder:
        order_id, instrument = (-1, "") if order is None else (order.order_id, order.instrument)
        if isinstance(line, lines.CancelOrderLine):
            return RemoveOrder(
                order_id=order_id,
                account=line.account,
                client_order_id=line.client_order_id,
                original_client_order_id=line.original_client_order_id,
                instrument=instrument,
                at_ns=self._now_ns,
            )
        price_ticks, quantity_lots = lines.replace_numbers(line, *self._units.of(instrument))
        return AmendOrder(
            order_id=order_id,
            account=line.account,
            client_order_id=line.client_order_id,
            original_client_order_id=line.original_client_order_id,
            instrument=instrument,
            price_ticks=price_ticks,
            quantity_lots=quantity_lots,
            at_ns=self._now_ns,
        )

    def _mass_cancel(self, line: lines.MassCancelLine, number: int) -> None:
        name = line.account or "", lines.command_id(line, number)
        used = self._used.get(name)
        if used is not None:
            self._again(line, number, used)
            return
        operator = "-"  # who may leave the account out, which a client may not
        form = MassCancel(
            command_id=name[1],
            account=operator if line.account is None else line.account,
            instrument=line.instrument,
            side=line.side,  # type: ignore[arg-type]  # refused here
        )
        if fault := refusal(form):
            self._refuse(number, fault, name[1], line.account)
            return
        command = RemoveOrders(
            command_id=name[1],
            account_partition=0,
            account=line.account,
            instrument=line.instrument,
            side=form.side,
            reason="mass_cancel",
            at_ns=self._now_ns,
        )
        first = len(self.out)
        self._run(command)
        count = sum(
            isinstance(it, OrderCancelledLine) and it.command_id == name[1] for it in self.out[first:]
        )
        self.out.append(MassCancelledLine(name[1], count, line.account, line.instrument, line.side))
        self._used[name] = self._raw, self.out[-1]

    def _tick(self, line: lines.TickLine, number: int) -> None:  # noqa: ARG002
        tick_ns = lines.tick_ns(line)
        if tick_ns > self._tick_ns:
            self._tick_ns = tick_ns
            self._now_ns = max(self._now_ns, tick_ns)
            self._run(control_events.ClockTicked(tick_ns=tick_ns, at_ns=self._now_ns))

    def _halt(self, line: lines.HaltLine, number: int) -> None:
        if self._knows(line.instrument, number):
            self._run(control_events.TradingHalted(instrument=line.instrument, at_ns=self._now_ns))

    def _resume(self, line: lines.ResumeLine, number: int) -> None:
        if line.account is not None:
            _needs_risk(line, number)
        if self._knows(line.instrument, number):
            self._run(control_events.TradingResumed(instrument=line.instrument, at_ns=self._now_ns))

    def _set_mark(self, line: lines.SetMarkLine, number: int) -> None:
        ticks, _ = self._units.of(line.instrument)
        try:
            price = ticks.parse(line.price)
        except ValueError as error:
            raise LineError(f"price {error}") from None
        if not 0 < price <= INT64_MAX:
            self._refuse(number, not_in_range("price_ticks", price))
        elif self._knows(line.instrument, number):
            self._run(
                control_events.MarkSet(instrument=line.instrument, price_ticks=price, at_ns=self._now_ns)
            )

    def _knows(self, instrument: str | None, number: int) -> bool:
        """Makes an instrument known, if its name is a good one."""
        if instrument is None or instrument in self._instruments:
            return True
        if not is_identifier(instrument):
            self._refuse(number, not_identifier("instrument", instrument))
            return False
        self._define(instrument)
        return True

    def _define(self, instrument: str) -> None:
        self._instruments.add(instrument)
        self._run(
            control_events.InstrumentDefined(
                instrument=Instrument(
                    symbol=instrument,
                    kind="SPOT",
                    currency=_TERMS.currency,
                    currency_exponent=0,
                    tick_size_e9=DEFAULT_STEP_E9,
                    lot_size_e9=DEFAULT_STEP_E9,
                    multiplier=1,
                    minor_per_tick_lot=_TERMS.minor_per_tick_lot,
                    maximum_quantity_lots=INT64_MAX,
                    maximum_notional_minor=INT64_MAX,
                ),
                at_ns=self._now_ns,
            )
        )

    def _run(self, command: Any) -> None:
        """Lets matching take a command, and then what it asks of itself."""
        said = self._apply(command)
        if _CONTINUED in said:  # seldom: one command at a time is the short way
            waiting = deque(said[_CONTINUED])
            while waiting:
                waiting.extend(self._apply(waiting.popleft()).get(_CONTINUED, ()))

    def _apply(self, item: Any) -> dict[tuple[str, int], list[Record]]:
        outbox = Outbox()
        self._matching.apply(item, Place(0, self._offset, 0, self._now_ns), outbox)
        self._offset += 1
        said = outbox.items
        if _ANSWERS in said:
            self._forms.write(said[_ANSWERS], self.out)
        return said

    def _again(self, line: lines.AnyLine, number: int, used: tuple[bytes, Event]) -> None:
        """Says the first outcome again to the same content, and refuses any other."""
        raw, outcome = used
        if _content(line) == _content(lines.decode(raw)):
            self.out.append(outcome)
        elif isinstance(line, lines.MassCancelLine):
            self._refuse(number, _USED, lines.command_id(line, number), line.account)
        else:
            self._reject(line, _USED)

    def _reject(self, line: lines.AnyLine, fault: Refusal) -> None:
        answer = rejected(line, fault)
        assert answer is not None, f"a {type(line).__name__} has no rejection"
        self.out.append(answer)

    def _refuse(
        self, number: int, fault: Refusal, command_id: str | None = None, account: str | None = None
    ) -> None:
        reason, detail = fault
        self.out.append(CommandRefusedLine(number, reason, code(reason), detail, command_id, account))


def _forget_levels(instrument: str, side: BookSide) -> None:  # noqa: ARG001  (Turn.tell_levels)
    side.touched.clear()


def _content(line: lines.AnyLine) -> tuple[object, ...]:
    """What makes a command the same: all but when it was sent and how its numbers are written."""
    fields = msgspec.structs.asdict(line)
    del fields["timestamp_ns"]
    kind = line.__struct_config__.tag
    return kind, *(_number(value) if name in _DECIMALS else value for name, value in fields.items())


def _number(value: object) -> object:
    try:
        return value if value is None else DEFAULT_GRIDS[0].parse(value)
    except ValueError:
        return value


def _needs_risk(line: lines.AnyLine, number: int) -> None:  # noqa: ARG001
    name = type(line).__name__.removesuffix("Line")
    raise LineError(f"{name} is for risk: leave --no-risk out", "invalid_command")
