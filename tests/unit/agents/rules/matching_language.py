"""The language of the text tests: a line is a command, ``->`` and what matching says to it.

    a1 buy 5 @100 gtc          -> a1 accepted

A name's first letter is its account. Words after the quantity: ``@PRICE``, ``gtc ioc fok day``,
``until NS``, ``stop PRICE``, ``worst PRICE``, ``show LOTS``, ``min LOTS``, ``post``, ``group NAME``, a
self-trade mode, ``in SYMBOL``. The line's number (from 1) is its offset and, until a later tick, the time.
``go on`` gives matching what it asked of itself. A line that ends with a comma goes on in the next.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import cast

from agents.rules.matching import Matching
from agents.rules.outbox import Outbox, Place
from schemas import book_commands, control_events, events
from schemas.book_commands import EnterOrder, Terms
from schemas.envelopes import BookCommandItem
from schemas.record import OrderType, Record, SelfTradePrevention, Side, TimeInForce, TradingState
from schemas.reference import Instrument
from schemas.topics import BOOK_COMMANDS, MARKET_DATA, TRADES, PartitionCounts
from tables.books import check_books
from tables.matching import MatchingTables

COUNTS = PartitionCounts(accounts=1, books=1)
ONE_OF = {"gtc", "ioc", "fok", "day"}
MODES = {"none", "cancel_newest", "cancel_oldest", "cancel_both", "decrement"}
TERMS = Terms(
    kind="SPOT",
    currency="USD",
    minor_per_tick_lot=1,
    maker_bps=1,
    taker_bps=2,
    settlement_days=2,
)


def instrument(symbol: str, state: TradingState = "OPEN", session_end_minute_utc: int = 0) -> Instrument:
    """An instrument of which only these matter to matching."""
    return Instrument(
        symbol=symbol,
        kind="SPOT",
        currency="USD",
        currency_exponent=2,
        tick_size_e9=10_000_000,
        lot_size_e9=1_000_000_000,
        multiplier=1,
        minor_per_tick_lot=1,
        maximum_quantity_lots=10**9,
        maximum_notional_minor=10**15,
        session_end_minute_utc=session_end_minute_utc,
        trading_state=state,
    )


class Script:
    """Matching over one partition with instruments X and Y, spoken to in lines of text."""

    def __init__(self, *, levels: bool = False, trades: bool = False, asks: bool = False) -> None:
        """Says also market data, the tape, and what matching asks of itself, where asked to."""
        self.matching = Matching(MatchingTables(), COUNTS, 0)
        self.lanes = [
            lane for lane, said in ((TRADES, trades), ("answers", True), (MARKET_DATA, levels)) if said
        ]
        self.asks = asks
        self.offset = 0
        self.now_ns = 0
        self.asked: list[BookCommandItem] = []
        self.ids: dict[str, int] = {}
        self.symbols: dict[str, str] = {}
        for symbol in ("X", "Y"):
            self.apply(control_events.InstrumentDefined(instrument=instrument(symbol), at_ns=0))
        self.offset = 0

    def apply(self, *items: BookCommandItem) -> Outbox:
        """Takes the items as one record; then everything that must hold, holds."""
        outbox = Outbox()
        self.offset += 1
        for index, item in enumerate(items):
            self.matching.apply(item, Place(0, self.offset, index, self.now_ns), outbox)
            check_books(self.matching.books)
        return outbox

    def run(self, line: str) -> str:
        """A command's line with what matching says to it."""
        command = line.split("->", maxsplit=1)[0].strip()
        words = command.split()
        self.now_ns = max(self.now_ns, self.offset + 1)
        if words[0] == "tick":
            self.now_ns = max(self.now_ns, int(words[1]))
        outbox = self.apply(self.item(words))
        asked = outbox.items.get((BOOK_COMMANDS, 0), [])
        self.asked += [cast("BookCommandItem", item) for item in asked]
        said = [said_of(item) for lane in self.lanes for item in outbox.items.get((lane, 0), [])]
        if self.asks:
            said += [type(item).__name__ for item in asked]
        return f"{command} -> {', '.join(said) or 'nothing'}"

    def item(self, words: list[str]) -> BookCommandItem:  # noqa: PLR0911  (one for each command)
        """The command that a line's words say."""
        at_ns = self.now_ns
        symbol = next((word for word in words[1:] if word in {"X", "Y", "Z"}), None)
        match words:
            case ["tick", tick_ns]:
                return control_events.ClockTicked(tick_ns=int(tick_ns), at_ns=int(tick_ns))
            case ["halt", *_]:
                return control_events.TradingHalted(instrument=symbol, at_ns=at_ns)
            case ["resume", *_]:
                return control_events.TradingResumed(instrument=symbol, at_ns=at_ns)
            case ["define", name, state, *minute]:
                minute_utc = int(minute[0]) if minute else 0
                known = instrument(name, cast("TradingState", state.upper()), minute_utc)
                return control_events.InstrumentDefined(instrument=known, at_ns=at_ns)
            case ["mark", name, price]:
                return control_events.MarkSet(instrument=name, price_ticks=int(price), at_ns=at_ns)
            case ["go", "on"]:
                return self.asked.pop(0)
            case [name, "cancels", target, *_]:
                return self.cancel(name, target)
            case [name, "replaces", target, *rest]:
                return self.replace(name, target, rest)
            case [name, "sweeps", *filters]:
                return self.sweep(name, filters)
            case _:
                return self.order(words)

    def order(self, words: list[str]) -> EnterOrder:
        """A new order, its id the offset of its line."""
        name, side, lots, *rest = words
        word = dict(pairwise(rest))
        price = next((int(w[1:]) for w in rest if w.startswith("@")), None)
        stop = int(word["stop"]) if "stop" in word else None
        order_type = (
            ("LIMIT" if stop is None else "STOP_LIMIT") if price else ("MARKET" if stop is None else "STOP")
        )
        in_force = "GTD" if "until" in word else next((w.upper() for w in rest if w in ONE_OF), "GTC")
        mode = next((w.upper() for w in rest if w in MODES), "CANCEL_NEWEST")
        self.ids[name] = self.offset + 1
        self.symbols[name] = word.get("in", "X")
        numbers = {key: int(word[key]) if key in word else None for key in ("show", "min", "until", "worst")}
        return EnterOrder(
            order_id=self.offset + 1,
            account=name[0],
            client_order_id=name,
            instrument=self.symbols[name],
            side=cast("Side", side.upper()),
            order_type=cast("OrderType", order_type),
            time_in_force=cast("TimeInForce", in_force),
            quantity_lots=int(lots),
            price_ticks=price,
            stop_price_ticks=stop,
            display_quantity_lots=numbers["show"],
            minimum_quantity_lots=numbers["min"],
            post_only="post" in rest,
            expires_at_ns=numbers["until"],
            self_trade_group=word.get("group", name[0]),
            self_trade_prevention=cast("SelfTradePrevention", mode),
            worst_price_ticks=numbers["worst"],
            terms=TERMS,
            at_ns=self.now_ns,
        )

    def cancel(self, name: str, target: str) -> book_commands.RemoveOrder:
        """A cancel; an order that was never entered has id 999."""
        return book_commands.RemoveOrder(
            order_id=self.ids.get(target, 999),
            account=name[0],
            client_order_id=name,
            original_client_order_id=target,
            instrument=self.symbols.get(target, "X"),
            at_ns=self.now_ns,
        )

    def replace(self, name: str, target: str, rest: list[str]) -> book_commands.AmendOrder:
        """A replace; from here on the order is known by the new name too."""
        price = next((int(word[1:]) for word in rest if word.startswith("@")), None)
        lots = next((int(word) for word in rest if word.isdigit()), None)
        self.ids[name] = self.ids.get(target, 999)
        self.symbols[name] = self.symbols.get(target, "X")
        return book_commands.AmendOrder(
            order_id=self.ids[name],
            account=name[0],
            client_order_id=name,
            original_client_order_id=target,
            instrument=self.symbols[name],
            price_ticks=price,
            quantity_lots=lots,
            at_ns=self.now_ns,
        )

    def sweep(self, name: str, filters: list[str]) -> book_commands.RemoveOrders:
        """A mass cancel: ``of ACCOUNT``, ``buys`` or ``sells``, a symbol."""
        side = "BUY" if "buys" in filters else "SELL" if "sells" in filters else None
        return book_commands.RemoveOrders(
            command_id=name,
            account_partition=0,
            account=filters[filters.index("of") + 1] if "of" in filters else None,
            instrument=next((word for word in filters if word in {"X", "Y"}), None),
            side=cast("Side | None", side),
            reason="mass_cancel",
            at_ns=self.now_ns,
            sweep_id=self.offset + 1,
        )


def said_of(item: Record) -> str:  # noqa: C901, PLR0911, PLR0912  (one for each event)
    """An event in a few words."""
    match item:
        case events.OrderAccepted():
            return f"{item.client_order_id} accepted"
        case events.OrderRejected():
            return f"{item.client_order_id} rejected {item.reason}"
        case events.OrderFilled():
            did = "made" if item.liquidity == "MAKER" else "took"
            fill = f"{item.last_quantity_lots}@{item.last_price_ticks}"
            return f"{item.client_order_id} {did} {fill} left {item.leaves_quantity_lots}"
        case events.OrderReplaced():
            left = f"{item.leaves_quantity_lots} of {item.quantity_lots}"
            return f"{item.client_order_id} replaced {item.original_client_order_id} left {left}"
        case events.OrderReduced():
            return f"{item.client_order_id} reduced {item.reduced_quantity_lots} left {item.leaves_quantity_lots}"
        case events.OrderCancelled():
            by = "" if item.command_id is None else f" by {item.command_id}"
            return f"{item.client_order_id} cancelled {item.cancelled_quantity_lots} {item.reason}{by}"
        case events.OrderExpired():
            return f"{item.client_order_id} expired {item.cancelled_quantity_lots}"
        case events.OrderTriggered():
            return f"{item.client_order_id} triggered {item.trigger_price_ticks}"
        case events.CancelRejected() | events.ReplaceRejected():
            return f"{item.client_order_id} refused {item.reason}"
        case events.OrdersRemoved():
            return f"{item.command_id} removed {item.removed_count}"
        case events.MarkChanged():
            return f"mark {item.instrument} {item.price_ticks}"
        case events.SessionEnded():
            return f"session {item.instrument} {item.session_end_ns} {item.mark_price_ticks}"
        case events.Trade():
            fill = f"{item.quantity_lots}@{item.price_ticks}"
            side = item.aggressor_side.lower()
            return f"trade {item.trade_id} {fill} {item.maker_client_order_id} {item.taker_client_order_id} {side}"
        case events.LevelChanged():
            side = "bid" if item.side == "BUY" else "ask"
            return f"{side} {item.price_ticks} {item.quantity_lots}x{item.order_count}"
        case _:
            raise AssertionError(f"no words for {item}")


def lines_of(table: str) -> Iterator[str]:
    """A table's lines, with runs of spaces made one and continuations joined."""
    for line in table.replace("\n", "\0").replace(",\0", ", ").split("\0"):
        if words := line.split():
            yield " ".join(words)


def check(table: str, script: Script | None = None) -> None:
    """Runs the table's commands and compares all that is said with all that the table says."""
    script = script or Script()
    expected = list(lines_of(table))
    assert [script.run(line) for line in expected] == expected
