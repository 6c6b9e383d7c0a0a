"""A naive book, written from the rules alone: one list of open orders in time order, searched each time.

It has no levels, no indexes, no rows and no budgets, and it is slow. What it says is what matching must say.
"""

from dataclasses import dataclass, field

from schemas import control_events as control
from schemas import events
from schemas.book_commands import AmendOrder, EnterOrder, RemoveOrder, RemoveOrders
from schemas.envelopes import BookCommandItem
from schemas.reasons import code
from schemas.record import Record, Side

DAY_NS = 86_400_000_000_000
Level = tuple[str, Side, int]


@dataclass(eq=False)
class Open:
    """An open order."""

    asked: EnterOrder
    name: str
    price: int | None
    leaves: int
    shown: int
    waiting: bool
    expires_ns: int | None
    cum: int = 0

    @property
    def side(self) -> Side:
        """BUY or SELL."""
        return self.asked.side

    def reaches(self, other: "Open") -> bool:
        """Whether this incoming order's limit allows to trade at the other's price."""
        limit = self.asked.worst_price_ticks if self.price is None else self.price
        assert other.price is not None
        return limit is None or (other.price <= limit if self.side == "BUY" else other.price >= limit)

    def slice(self) -> int:
        """What a fresh slice shows."""
        return min(self.leaves, self.asked.display_quantity_lots or self.leaves)


@dataclass
class Said:
    """What a command made the book say."""

    answers: list[Record] = field(default_factory=list)
    trades: list[Record] = field(default_factory=list)
    market_data: list[Record] = field(default_factory=list)


class ReferenceBook:
    """Every instrument of a partition, with a single partition of accounts."""

    def __init__(self, session_end_minutes: dict[str, int]) -> None:
        """Takes the instruments, each with the minute of its session end."""
        self.session_end_minutes = session_end_minutes
        self.ended_ns = dict.fromkeys(session_end_minutes, 0)
        self.open: list[Open] = []  # earlier first
        self.now_ns = 0
        self.halts: set[str | None] = set()
        self.last: dict[str, int] = {}
        self.marks_set: dict[str, int] = {}
        self.marks_told: dict[str, int] = {}
        self.trade_count = 0
        self.elect_by: list[tuple[str, int]] = []
        self.said = Said()

    def apply(self, item: BookCommandItem, now_ns: int) -> Said:
        """Takes a command."""
        self.said, self.now_ns = Said(), now_ns
        before = self.levels()
        match item:
            case EnterOrder():
                self.enter(item)
            case AmendOrder():
                self.amend(item)
            case RemoveOrder():
                self.remove(item)
            case RemoveOrders():
                self.remove_many(item)
            case control.ClockTicked():
                self.expire(item.tick_ns)
            case control.TradingHalted():
                self.halts.add(item.instrument)
            case control.TradingResumed():
                self.halts.discard(item.instrument)
            case control.MarkSet():
                self.marks_set[item.instrument] = item.price_ticks
                self.tell_mark(item.instrument, item.price_ticks)
            case _:
                raise AssertionError(f"the reference does not know {item}")
        self.elect()
        self.tell_levels(before)
        if isinstance(item, control.ClockTicked):
            self.tell_marks()
            self.end_sessions(item.tick_ns)
        return self.said

    # Entry

    def enter(self, asked: EnterOrder) -> None:
        """Refuses the order, or accepts it and lets it work."""
        expires_ns = asked.expires_at_ns
        if asked.time_in_force == "DAY":
            expires_ns = self.session_end_minutes[asked.instrument] * 60 * 10**9
            while expires_ns <= self.now_ns:
                expires_ns += DAY_NS
        waiting = asked.stop_price_ticks is not None
        lots = asked.quantity_lots
        order = Open(asked, asked.client_order_id, asked.price_ticks, lots, lots, waiting, expires_ns)
        reason = None
        if self.halted(asked.instrument):
            reason = "instrument_halted"
        elif expires_ns is not None and expires_ns <= self.now_ns:
            reason = "expiry_in_the_past"
        elif not waiting:
            reason = self.unmet(order)
        if reason:
            self.answer(
                order, events.OrderRejected, order_id=asked.order_id, reason=reason, reason_code=code(reason)
            )
            return
        self.answer(
            order,
            events.OrderAccepted,
            side=asked.side,
            order_type=asked.order_type,
            time_in_force=asked.time_in_force,
            quantity_lots=asked.quantity_lots,
            price_ticks=asked.price_ticks,
            stop_price_ticks=asked.stop_price_ticks,
        )
        self.place(order)

    def place(self, order: Open) -> None:
        """Lets a stop wait or be elected, and any other order trade and rest."""
        last = self.last.get(order.asked.instrument)
        if not order.waiting:
            self.work(order)
        elif last is not None and elects(last, order):
            self.trigger(order, last)
        else:
            self.open.append(order)

    def unmet(self, order: Open) -> str | None:
        """Which demand of the order cannot be met, as it would really trade."""
        asked = order.asked
        if asked.post_only and any(order.reaches(other) for other in self.others(order)):
            return "post_only_would_trade"
        traded = self.would_trade(order)
        if asked.time_in_force == "FOK" and traded < order.leaves:
            return "fok_not_fillable"
        if asked.minimum_quantity_lots is not None and traded < asked.minimum_quantity_lots:
            return "minimum_quantity_not_met"
        return None

    def would_trade(self, order: Open) -> int:
        """Trades a copy of the world, and looks how much the order got."""
        copy = ReferenceBook(self.session_end_minutes)
        copy.open = [Open(**vars(other)) for other in self.open]
        incoming = Open(**vars(order))
        copy.trade(incoming)
        return incoming.cum - order.cum

    # Trading

    def others(self, order: Open) -> list[Open]:
        """The other side, in the order of priority."""
        found = [
            other
            for other in self.open
            if other.asked.instrument == order.asked.instrument
            and other.side != order.side
            and not other.waiting
        ]
        assert all(other.price is not None for other in found)
        return sorted(found, key=lambda other: (other.price or 0) * (1 if order.side == "BUY" else -1))

    def work(self, order: Open) -> None:
        """Trades; the rest rests or is cancelled."""
        stopped = self.trade(order)
        if stopped:
            self.cancelled(order, "self_trade_prevention")
        elif order.leaves == 0:
            return
        elif order.price is None:
            self.cancelled(order, "price_protection" if self.others(order) else "no_liquidity")
        elif order.asked.time_in_force in {"IOC", "FOK"}:
            self.cancelled(order, "immediate_or_cancel")
        else:
            order.shown = order.slice()
            self.open.append(order)

    def trade(self, order: Open) -> bool:
        """Trades until nothing is left or nothing is in reach; True if self-trade prevention ended it."""
        mode = order.asked.self_trade_prevention
        while order.leaves:
            best = next(iter(self.others(order)), None)
            if best is None or not order.reaches(best):
                return False
            if mode == "NONE" or best.asked.self_trade_group != order.asked.self_trade_group:
                self.fill(best, order, min(best.shown, order.leaves))
            elif mode == "DECREMENT":
                lots = min(best.leaves, order.leaves)
                self.reduce(best, lots)
                if best.leaves == 0:
                    self.cancel(best, "self_trade_prevention")
                self.reduce(order, lots)
                if order.leaves == 0:
                    return True
            else:
                if mode != "CANCEL_NEWEST":
                    self.cancel(best, "self_trade_prevention")
                if mode != "CANCEL_OLDEST":
                    return True
        return False

    def fill(self, maker: Open, taker: Open, lots: int) -> None:
        """One trade at the maker's price; a used up slice goes to the tail."""
        price = maker.price
        assert price is not None
        for order in (maker, taker):
            order.cum += lots
            order.leaves -= lots
        maker.shown -= lots
        if maker.shown == 0:
            self.open.remove(maker)
            if maker.leaves:
                maker.shown = maker.slice()
                self.open.append(maker)
        number = self.trade_count
        self.trade_count += 1
        self.last[maker.asked.instrument] = price
        self.elect_by.append((maker.asked.instrument, price))
        self.said.trades.append(
            events.Trade(
                trade_id=number,
                instrument=maker.asked.instrument,
                price_ticks=price,
                quantity_lots=lots,
                aggressor_side=taker.side,
                maker_order_id=maker.asked.order_id,
                maker_client_order_id=maker.name,
                maker_account=maker.asked.account,
                taker_order_id=taker.asked.order_id,
                taker_client_order_id=taker.name,
                taker_account=taker.asked.account,
                at_ns=self.now_ns,
            )
        )
        for order in (maker, taker):
            self.answer(
                order,
                events.OrderFilled,
                trade_id=number,
                side=order.side,
                liquidity="MAKER" if order is maker else "TAKER",
                last_price_ticks=price,
                last_quantity_lots=lots,
                cum_quantity_lots=order.cum,
                leaves_quantity_lots=order.leaves,
                terms=order.asked.terms,
            )

    def reduce(self, order: Open, lots: int) -> None:
        """Takes lots off, hidden ones first."""
        order.leaves -= lots
        order.shown = min(order.shown, order.leaves)
        self.answer(
            order,
            events.OrderReduced,
            reduced_quantity_lots=lots,
            cum_quantity_lots=order.cum,
            leaves_quantity_lots=order.leaves,
        )

    # Stops

    def elect(self) -> None:
        """Trade by trade, one stop after the other; their own trades come behind."""
        while self.elect_by:
            instrument, price = self.elect_by.pop(0)
            waiting = [order for order in self.open if order.waiting and order.asked.instrument == instrument]
            elected = [order for order in waiting if elects(price, order)]
            buys = [order for order in elected if order.side == "BUY"]
            sells = [order for order in elected if order.side == "SELL"]
            buys.sort(key=lambda order: order.asked.stop_price_ticks or 0)
            sells.sort(key=lambda order: -(order.asked.stop_price_ticks or 0))
            for order in buys + sells:
                self.open.remove(order)
                self.trigger(order, price)

    def trigger(self, order: Open, price: int) -> None:
        """Elects a stop that is out of the list."""
        self.answer(order, events.OrderTriggered, trigger_price_ticks=price)
        order.waiting = False
        reason = self.unmet(order)
        if reason:
            self.cancelled(order, reason)
        else:
            self.work(order)

    # Replace and cancel

    def amend(self, asked: AmendOrder) -> None:
        """Replaces quantity and price."""
        order = self.find(asked.order_id)
        reason = "unknown_order" if order is None else self.unamendable(order, asked)
        if order is None or reason:
            event = events.ReplaceRejected(
                account=asked.account,
                client_order_id=asked.client_order_id,
                original_client_order_id=asked.original_client_order_id,
                instrument=asked.instrument,
                order_id=asked.order_id,
                reason=reason or "",
                reason_code=code(reason or ""),
                at_ns=self.now_ns,
            )
            self.said.answers.append(event)
            return
        leaves = order.leaves if asked.quantity_lots is None else max(0, asked.quantity_lots - order.cum)
        price = order.price if asked.price_ticks is None else asked.price_ticks
        keeps = leaves <= order.leaves and price == order.price
        order.name, order.leaves, order.price = asked.client_order_id, leaves, price
        order.shown = min(order.shown, leaves)
        self.answer(
            order,
            events.OrderReplaced,
            original_client_order_id=asked.original_client_order_id,
            price_ticks=price,
            quantity_lots=order.cum + leaves,
            cum_quantity_lots=order.cum,
            leaves_quantity_lots=leaves,
        )
        if leaves == 0:
            self.cancel(order, "replaced_to_filled", asked.client_order_id)
        elif not keeps:
            self.open.remove(order)
            self.place(order)

    def unamendable(self, order: Open, asked: AmendOrder) -> str | None:
        """Why the order must stay as it is."""
        if self.halted(asked.instrument):
            return "instrument_halted"
        if order.price is None and asked.price_ticks is not None:
            return "price_not_allowed"
        moved = Open(**vars(order))
        moved.price = order.price if asked.price_ticks is None else asked.price_ticks
        crosses = not order.waiting and any(moved.reaches(other) for other in self.others(order))
        return "post_only_would_trade" if order.asked.post_only and crosses else None

    def remove(self, asked: RemoveOrder) -> None:
        """Cancels one order."""
        order = self.find(asked.order_id)
        if order is not None:
            self.cancel(order, "requested", asked.client_order_id)
            return
        event = events.CancelRejected(
            account=asked.account,
            client_order_id=asked.client_order_id,
            original_client_order_id=asked.original_client_order_id,
            instrument=asked.instrument,
            order_id=asked.order_id,
            reason="unknown_order",
            reason_code=code("unknown_order"),
            at_ns=self.now_ns,
        )
        self.said.answers.append(event)

    def remove_many(self, asked: RemoveOrders) -> None:
        """Cancels what the filters select, in order-id order."""
        count = 0
        for order in sorted(self.open, key=lambda order: order.asked.order_id):
            if (
                asked.account in {None, order.asked.account}
                and asked.instrument in {None, order.asked.instrument}
                and asked.side in {None, order.side}
            ):
                self.cancel(order, asked.reason, asked.command_id)
                count += 1
        event = events.OrdersRemoved(
            command_id=asked.command_id,
            book_partition=0,
            removed_count=count,
            at_ns=self.now_ns,
            sweep_id=asked.sweep_id,
        )
        self.said.answers.append(event)

    def expire(self, tick_ns: int) -> None:
        """Ends what is due, by expiry, then by order id."""
        due = [order for order in self.open if order.expires_ns is not None and order.expires_ns <= tick_ns]
        for order in sorted(due, key=lambda order: (order.expires_ns or 0, order.asked.order_id)):
            self.open.remove(order)
            self.answer(
                order, events.OrderExpired, cancelled_quantity_lots=order.leaves, cum_quantity_lots=order.cum
            )

    # What is told

    def find(self, order_id: int) -> Open | None:
        """The open order of this id."""
        return next((order for order in self.open if order.asked.order_id == order_id), None)

    def halted(self, instrument: str) -> bool:
        """Whether a halt of all, or of this one, is on."""
        return None in self.halts or instrument in self.halts

    def cancel(self, order: Open, reason: str, command_id: str | None = None) -> None:
        """Takes an order out of the list and says so."""
        self.open.remove(order)
        self.cancelled(order, reason, command_id)

    def cancelled(self, order: Open, reason: str, command_id: str | None = None) -> None:
        """Says that the rest of an order is cancelled."""
        self.answer(
            order,
            events.OrderCancelled,
            reason=reason,
            reason_code=code(reason),
            command_id=command_id,
            cancelled_quantity_lots=order.leaves,
            cum_quantity_lots=order.cum,
        )

    def answer(self, order: Open, event: type[Record], **fields: object) -> None:
        """Says an event of an order by its current name."""
        known = {
            "account": order.asked.account,
            "client_order_id": order.name,
            "instrument": order.asked.instrument,
            "order_id": order.asked.order_id,
            "at_ns": self.now_ns,
        }
        self.said.answers.append(event(**(known | fields)))

    def levels(self) -> dict[Level, tuple[int, int]]:
        """What each level displays: lots and orders."""
        found: dict[Level, tuple[int, int]] = {}
        for order in self.open:
            if not order.waiting:
                assert order.price is not None
                level = (order.asked.instrument, order.side, order.price)
                lots, count = found.get(level, (0, 0))
                found[level] = (lots + order.shown, count + 1)
        return found

    def tell_levels(self, before: dict[Level, tuple[int, int]]) -> None:
        """Says what changed, by instrument, side and price."""
        after = self.levels()
        for level in sorted(before.keys() | after.keys()):
            lots, count = after.get(level, (0, 0))
            if (lots, count) != before.get(level, (0, 0)):
                instrument, side, price = level
                self.said.market_data.append(
                    events.LevelChanged(
                        instrument=instrument,
                        side=side,
                        price_ticks=price,
                        quantity_lots=lots,
                        order_count=count,
                        at_ns=self.now_ns,
                    )
                )

    def tell_marks(self) -> None:
        """Says each mark that differs from the one that was said last."""
        for instrument in sorted(self.session_end_minutes):
            mark = self.marks_set.get(instrument, self.last.get(instrument))
            if mark is not None and mark != self.marks_told.get(instrument):
                self.tell_mark(instrument, mark)

    def end_sessions(self, tick_ns: int) -> None:
        """Says the last session end that has come, of each instrument with a mark, if it was not said."""
        for instrument, minute in sorted(self.session_end_minutes.items()):
            end_ns = minute * 60 * 10**9
            while end_ns + DAY_NS <= tick_ns:
                end_ns += DAY_NS
            mark = self.marks_told.get(instrument)
            if self.ended_ns[instrument] < end_ns <= tick_ns:
                self.ended_ns[instrument] = end_ns
                if mark is not None:
                    self.said.answers.append(
                        events.SessionEnded(
                            instrument=instrument,
                            mark_price_ticks=mark,
                            session_end_ns=end_ns,
                            at_ns=self.now_ns,
                        )
                    )

    def tell_mark(self, instrument: str, price: int) -> None:
        """Says a mark to the market and to all accounts."""
        self.marks_told[instrument] = price
        event = events.MarkChanged(instrument=instrument, price_ticks=price, at_ns=self.now_ns)
        self.said.market_data.append(event)
        self.said.answers.append(event)


def elects(price: int, stop: Open) -> bool:
    """Whether a trade at this price elects the stop."""
    bound = stop.asked.stop_price_ticks
    assert bound is not None
    return price >= bound if stop.side == "BUY" else price <= bound
