"""``trading simulate --no-risk``: matching alone, fast.

What risk would do and matching cannot do without is done here: instruments are known on first sight, client
order ids name orders and are used once, a mass cancel is counted. An id is kept for the whole run.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from agents.rules.intake import (
    Refusal,
    change_refusal,
    is_identifier,
    not_identifier,
    not_in_range,
    order_refusal,
    refusal,
    terms_refusal,
)
from agents.rules.outbox import Outbox, Place
from connectors import json_commands as lines
from connectors.decimals import DEFAULT_GRIDS, DEFAULT_STEP_E9, Units
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
from infra.unwatched_matching import ANSWERS_LANE, TapeForms, UnwatchedMatching
from schemas import control_events
from schemas.book_commands import AmendOrder, EnterOrder, RemoveOrder, RemoveOrders, Terms
from schemas.commands import MassCancel
from schemas.ids import place_id
from schemas.maximums import INT64_MAX
from schemas.reasons import code
from schemas.record import Record
from schemas.reference import Instrument
from schemas.topics import BOOK_COMMANDS

_TERMS: Final = Terms(
    kind="SPOT", currency="-", minor_per_tick_lot=1, maker_bps=0, taker_bps=0, settlement_days=0
)
_USED: Final[Refusal] = ("client_order_id_already_used", "the id was used with other content")
_UNKNOWN: Final[Refusal] = ("unknown_order", "the account has no order of this name")
_DECIMALS: Final = frozenset({"price", "stop_price", "quantity", "display_quantity", "minimum_quantity"})
_OpenAs = OrderAcceptedLine | OrderReplacedLine  # the outcomes from which on an id names an order
_NAMING: Final = (OrderAcceptedLine, OrderReplacedLine)  # a tuple: isinstance of a union costs 0.3 us
_CONTINUED = BOOK_COMMANDS, 0


class _Account:
    """An account's name, kept once, whether it is a good one, and what its ids have said."""

    __slots__ = ("is_good", "name", "renamed", "used")

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_good = is_identifier(name) is not None
        self.used: dict[str, tuple[bytes, Event]] = {}  # id -> its line, first outcome
        self.renamed: set[str] = set()  # ids that name their order no more


class SimulatedBooks:
    """Takes lines, and adds what matching says of them to ``out``."""

    def __init__(self) -> None:
        """Starts with no instrument and no order, at time zero."""
        self.out: list[Event] = []
        self._units = Units()
        self._forms = TapeForms(self._units)
        self._matching = UnwatchedMatching()
        self._answers: list[Record] = []
        self._outbox = Outbox()  # one for all: what was said is written before the next item is taken
        self._outbox.items[ANSWERS_LANE] = self._answers
        self._raw = b""  # the line at hand: kept for each id, it is a third of what was read from it
        self._offset = 0
        self._now_ns = 0
        self._tick_ns = -1
        self._accounts: dict[str, _Account] = {}
        self._instruments: dict[str, str] = {}  # names that were found good, and are kept once
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

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(name)
        return account

    def _place(self, line: lines.PlaceOrderLine, number: int) -> None:
        account = self._account(line.account)
        used = account.used.get(line.client_order_id)
        if used is not None:
            self._again(line, number, used)
            return
        instrument = self._instruments.get(line.instrument)
        try:
            order = self._enter(line, account.name, instrument or line.instrument)
        except Refused as refused:
            self._reject(line, refused.refusal)
            return
        is_known = account.is_good and instrument is not None and is_identifier(line.client_order_id)
        if fault := terms_refusal(order) if is_known else order_refusal(order):
            self._reject(line, fault)
            return
        if instrument is None:
            self._define(line.instrument)
            order = self._enter(line, account.name, line.instrument)
        first = len(self.out)
        self._run(order)
        account.used[line.client_order_id] = self._raw, self.out[first]

    def _enter(self, line: lines.PlaceOrderLine, account: str, instrument: str) -> EnterOrder:
        """The command to matching; texts that come again and again are given as they are kept, once and near."""
        quantity, price, stop, display, minimum = lines.order_numbers(line, *DEFAULT_GRIDS)
        return EnterOrder(
            place_id(0, self._offset, 0),
            account,
            line.client_order_id,
            instrument,
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
        account, original = self._account(line.account), line.original_client_order_id
        used = account.used.get(line.client_order_id)
        if used is not None:
            self._again(line, number, used)
            return
        order = None if original in account.renamed else account.used.get(original)
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
        account.used[line.client_order_id] = self._raw, outcome
        if isinstance(outcome, OrderReplacedLine):
            account.renamed.add(original)

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
        price_ticks, quantity_lots = lines.replace_numbers(line, *DEFAULT_GRIDS)
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
        account, command_id = self._account(line.account or ""), lines.command_id(line, number)
        used = account.used.get(command_id)
        if used is not None:
            self._again(line, number, used)
            return
        operator = "-"  # who may leave the account out, which a client may not
        form = MassCancel(
            command_id=command_id,
            account=operator if line.account is None else line.account,
            instrument=line.instrument,
            side=line.side,  # type: ignore[arg-type]  # refused here
        )
        if fault := refusal(form):
            self._refuse(number, fault, command_id, line.account)
            return
        command = RemoveOrders(
            command_id=command_id,
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
            isinstance(it, OrderCancelledLine) and it.command_id == command_id for it in self.out[first:]
        )
        self.out.append(MassCancelledLine(command_id, count, line.account, line.instrument, line.side))
        account.used[command_id] = self._raw, self.out[-1]

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
        self._instruments[instrument] = instrument
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
        self._apply(command)
        if len(self._outbox.items) > 1:  # seldom
            waiting = deque(self._continued())
            while waiting:
                self._apply(waiting.popleft())
                waiting.extend(self._continued())

    def _apply(self, item: Any) -> None:
        answers = self._answers
        self._matching.apply(item, Place(0, self._offset, 0, self._now_ns), self._outbox)
        self._offset += 1
        if answers:
            self._forms.write(answers, self.out)
            answers.clear()

    def _continued(self) -> list[Record]:
        """What matching asked of itself by the last item; what else it said is for nobody here."""
        said = self._outbox.items
        asked = said.get(_CONTINUED, [])
        said.clear()
        said[ANSWERS_LANE] = self._answers
        return asked

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
