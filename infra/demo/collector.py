"""What came out of the engine, folded as a client would: repeats dropped by origin, the latest state kept."""

from collections import Counter
from typing import Final

from infra.demo.plain_book import Level
from infra.demo.report import Money
from schemas import commands, control_events, events, settlement_events, topics
from schemas.envelopes import Envelope, Origin
from schemas.record import Record, Side

TOPICS: Final = (
    topics.ACCOUNT_COMMANDS,
    topics.BOOK_COMMANDS,
    topics.ACCOUNT_EVENTS,
    topics.CONTROL_EVENTS,
    topics.TRADES,
    topics.MARKET_DATA,
    topics.SETTLEMENT_EVENTS,
)
"""What the collector must be given, each partition in its order."""


class Collector:
    """The state that the outputs of the engine add up to, and when each command was first answered."""

    def __init__(self) -> None:
        self.trades: list[events.Trade] = []
        self.refusals: dict[str, str] = {}
        self.cancel_refusals: Counter[str] = Counter()
        self.answered_ns: dict[str, int] = {}
        self.positions: dict[str, settlement_events.PositionChanged] = {}
        self.balances: dict[str, settlement_events.BalanceChanged] = {}
        self.defined: set[str] = set()
        self.marks: dict[str, int] = {}
        self.fills = 0
        self.confirmed = 0
        self.said: Counter[str] = Counter()
        self.repeats: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self._levels: dict[tuple[Side, int], int] = {}
        self._sent: set[str] = set()
        self._last: dict[tuple[str, int, str, int], int] = {}

    def take(self, topic: str, partition: int, record: Envelope, read_ns: int) -> None:
        """Fold one record of a topic, read at a time of the reader's clock; a repeat changes nothing."""
        if record.origin is not None and self._is_repeat(topic, partition, record.origin):
            self.repeats[record.origin.stage] += 1
            return
        self.said[record.origin.stage if record.origin else "intake"] += 1
        for item in record.items:
            match topic:
                case topics.ACCOUNT_COMMANDS:
                    self._told_to_risk(item)
                case topics.ACCOUNT_EVENTS | topics.CONTROL_EVENTS:
                    self._answer(item, read_ns)
                case topics.SETTLEMENT_EVENTS:
                    self._settled(item)
                case _:
                    self._traded(item)

    def money(self, deposited_minor: int) -> Money:
        """What accounts hold, and where the cash is."""
        lots = [position.quantity_lots for position in self.positions.values()]
        cash: Counter[str] = Counter()
        for account, balance in self.balances.items():
            cash[account.partition(":")[0] if ":" in account else ""] += balance.cash_minor
        return Money(
            accounts_holding=sum(map(bool, lots)),
            gross_position_lots=sum(map(abs, lots)),
            net_position_lots=sum(lots),
            deposited_minor=deposited_minor,
            accounts_cash_minor=cash[""],
            house_cash_minor=cash["house"],
            clearing_cash_minor=cash["clearing"],
            outside_cash_minor=cash["cash"],
        )

    def book(self, depth: int) -> dict[Side, tuple[Level, ...]]:
        """The best levels as market data has them, best first."""
        sides: dict[Side, list[Level]] = {"BUY": [], "SELL": []}
        for (side, price), lots in self._levels.items():
            sides[side].append(Level(price, lots))
        return {
            side: tuple(sorted(levels, key=lambda level: level.price_ticks, reverse=side == "BUY")[:depth])
            for side, levels in sides.items()
        }

    def _is_repeat(self, topic: str, partition: int, origin: Origin) -> bool:
        source = origin.stage, origin.partition, topic, partition
        last = self._last.get(source, -1)
        if origin.sequence <= last:
            return True
        self.gaps[origin.stage] += origin.sequence != last + 1
        self._last[source] = origin.sequence
        return False

    def _told_to_risk(self, item: Record) -> None:
        """Note commands, which intake sends again with the same id where it was killed before its commit."""
        match item:
            case commands.PlaceOrder() | commands.CancelOrder() | commands.ReplaceOrder():
                self.repeats["intake"] += item.client_order_id in self._sent
                self._sent.add(item.client_order_id)
            case control_events.AccountDefined():
                self.defined.add(item.account.account)
            case events.MarkChanged():
                self.marks[item.instrument] = item.price_ticks
            case _:
                pass  # fills and the like, which come on account-events too

    def _answer(self, item: Record, read_ns: int) -> None:
        match item:
            case events.OrderRejected():
                self.refusals[item.client_order_id] = item.reason
                self.answered_ns.setdefault(item.client_order_id, read_ns)
            case events.CancelRejected() | events.ReplaceRejected():
                self.cancel_refusals[item.reason] += 1
                self.answered_ns.setdefault(item.client_order_id, read_ns)
            case events.OrderAccepted() | events.OrderReplaced():
                self.answered_ns.setdefault(item.client_order_id, read_ns)
            case events.OrderCancelled(command_id=str(command_id)):
                self.answered_ns.setdefault(command_id, read_ns)
            case events.OrderFilled():
                self.fills += 1
            case events.CashDeposited() | control_events.CommandApplied():
                self.answered_ns.setdefault(item.command_id, read_ns)
            case events.CommandRefused():
                self.refusals[item.command_id] = item.reason
                self.answered_ns.setdefault(item.command_id, read_ns)
            case _:
                pass  # what control tells every partition

    def _settled(self, item: Record) -> None:
        match item:
            case settlement_events.PositionChanged():
                self.positions[item.account] = item
            case settlement_events.BalanceChanged():
                self.balances[item.account] = item
            case settlement_events.TradeConfirmed():
                self.confirmed += 1
            case _:
                pass  # the ledger and the obligations behind these

    def _traded(self, item: Record) -> None:
        match item:
            case events.Trade():
                self.trades.append(item)
            case events.LevelChanged(quantity_lots=0):
                self._levels.pop((item.side, item.price_ticks), None)
            case events.LevelChanged():
                self._levels[item.side, item.price_ticks] = item.quantity_lots
            case _:
                pass  # of book-commands only the origins count
