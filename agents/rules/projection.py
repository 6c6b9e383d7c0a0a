"""What each item on a topic of lists becomes on the flat topics (``schemas.flat``): no state, one item at a time.

A flat record goes to the same partition as its source. What control tells every partition is taken from
partition 0 alone. What is placed nowhere is named in ``of_account_event``: it is a copy, or the clock. Of what
accounts ask only new orders are placed, since the answers do not repeat their terms.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, assert_never

import msgspec

from schemas import control_events, events, flat, risk_events, settlement_events, topics
from schemas.commands import PlaceOrder
from schemas.control_events import (
    AccountDefined,
    CommandApplied,
    ControlEvent,
    InstrumentDefined,
    LimitsChanged,
    RulesActivated,
)
from schemas.envelopes import AccountCommandItem, AccountEventItem, ControlEventItem, DeadLetter
from schemas.events import CommandRefused, LevelChanged, MarkChanged, Trade
from schemas.ids import place_id
from schemas.record import Record
from schemas.reference import Account, Instrument, Limits
from schemas.risk_events import ReconciliationEvent, RiskEvent
from schemas.settlement_events import SettlementEvent

EDGE: Final = "edge"  # the origin of a record that bears none
FIRST_PARTITION: Final = 0
ITEM_BITS: Final = 20  # a sweep's record holds up to 20,000 items (schemas.maximums)
UNITS: Final = ("currency", "currency_exponent", "tick_size_e9", "lot_size_e9", "minor_per_tick_lot")

Flat = tuple[str, Record]
"""A topic and a flat record for it."""


class Source(msgspec.Struct, frozen=True, gc=False):
    """The engine's epoch, and where an item stands in what its origin said (see ``schemas.flat``)."""

    epoch: int
    origin: str
    partition: int
    sequence: int
    item: int

    @property
    def version(self) -> int:
        """Rises with the place; the same whenever the same is said again."""
        return version_at(self.sequence, self.item)


def version_at(sequence: int, item: int) -> int:
    """The version of a state that an item of a record makes: 42 bits and 20."""
    assert 0 <= item < 1 << ITEM_BITS, f"item {item} of a record has no version"
    return sequence << ITEM_BITS | item


def of_account_command(item: AccountCommandItem, source: Source) -> Iterator[Flat]:
    """An order as it was asked for, under the id that it gets (an edge's ``sequence`` is its offset)."""
    if isinstance(item, PlaceOrder):
        order_id = place_id(source.partition, source.sequence, source.item)
        yield topics.ORDER_EVENTS, _placed(flat.FlatOrderEvent, item, source, order_id=order_id)


def of_account_event(item: AccountEventItem, source: Source) -> Iterator[Flat]:
    """An account's events, and definitions."""
    match item:
        case (
            events.OrderAccepted()
            | events.OrderRejected()
            | events.OrderFilled()
            | events.OrderReplaced()
            | events.OrderReduced()
            | events.OrderCancelled()
            | events.OrderExpired()
            | events.OrderTriggered()
            | events.CancelRejected()
            | events.ReplaceRejected()
            | events.CashDeposited()
            | events.CashWithdrawn()
            | events.CommandRefused()
        ):
            yield topics.ORDER_EVENTS, _placed(flat.FlatOrderEvent, item, source)
        case events.MassCancelled() | events.OrdersRemoved():
            count = item.count if isinstance(item, events.MassCancelled) else item.removed_count
            yield topics.ORDER_EVENTS, _placed(flat.FlatOrderEvent, item, source, order_count=count)
        case events.SessionEnded():
            if source.partition == FIRST_PARTITION:
                ended = _placed(flat.FlatMarketData, item, source, price_ticks=item.mark_price_ticks)
                yield topics.MARKET_DATA_FLAT, ended
        case AccountDefined():
            account = item.account
            yield topics.REFERENCE, _definition("ACCOUNT", account.account, account, item, source)
            yield topics.REFERENCE, _definition("LIMITS", account.account, account.limits, item, source)
        case LimitsChanged():
            yield topics.REFERENCE, _definition("LIMITS", item.account, item.limits, item, source)
        case (
            InstrumentDefined()
            | RulesActivated()
            | control_events.TradingHalted()
            | control_events.TradingResumed()
            | control_events.KillActivated()
            | control_events.KillLifted()
            | control_events.MassCancelOrdered()
        ):
            if source.partition == FIRST_PARTITION:
                yield _told_all(item, source)
        case control_events.ClockTicked() | control_events.MarkSet() | events.MarkChanged():
            pass  # the clock; marks are told by market-data
        case _:
            assert_never(item)


def of_control_event(item: ControlEventItem, source: Source) -> Iterator[Flat]:
    """Control's answers to operators."""
    match item:
        case CommandApplied() | CommandRefused():
            yield topics.RISK_EVENTS_FLAT, _placed(flat.FlatRiskEvent, item, source)
        case _:
            assert_never(item)


def of_trade(item: Trade, source: Source) -> Iterator[Flat]:
    """The tape."""
    yield topics.TRADES_FLAT, _copied(flat.FlatTrade, item, epoch=source.epoch)


def of_market_data(item: LevelChanged | MarkChanged, source: Source) -> Iterator[Flat]:
    """Levels and marks."""
    yield topics.MARKET_DATA_FLAT, _placed(flat.FlatMarketData, item, source)


def of_settlement_event(item: SettlementEvent, source: Source) -> Iterator[Flat]:
    """Positions and balances by their own versions, the ledger by its ids, the rest by its place."""
    match item:
        case settlement_events.PositionChanged():
            yield topics.POSITIONS, _copied(flat.FlatPosition, item, epoch=source.epoch)
        case settlement_events.BalanceChanged():
            yield topics.BALANCES, _copied(flat.FlatBalance, item, epoch=source.epoch)
        case settlement_events.Posting():
            yield topics.LEDGER, _copied(flat.FlatPosting, item, epoch=source.epoch)
        case (
            settlement_events.TradeConfirmed()
            | settlement_events.ObligationCreated()
            | settlement_events.CashReleased()
            | settlement_events.VariationSettled()
        ):
            yield topics.SETTLEMENTS, _placed(flat.FlatSettlement, item, source)
        case _:
            assert_never(item)


def of_risk_event(item: RiskEvent | ReconciliationEvent, source: Source) -> Iterator[Flat]:
    """Margin, and breaks: of those the id is the command's, whom it is against the reason, the rest the detail."""
    match item:
        case risk_events.MarginDeficit() | risk_events.MarginRestored():
            yield topics.RISK_EVENTS_FLAT, _placed(flat.FlatRiskEvent, item, source)
        case risk_events.BreakFound() | risk_events.BreakClosed():
            names = {"command_id": item.break_id, "reason": item.against}
            yield topics.RISK_EVENTS_FLAT, _placed(flat.FlatRiskEvent, item, source, **names)
        case _:
            assert_never(item)


def of_dead_letter(letter: DeadLetter, epoch: int) -> Flat:
    """A dead letter is flat already, but for words that SQL keeps for itself, and a text that may hold a NUL."""
    return topics.DEAD_LETTERS_FLAT, flat.FlatDeadLetter(
        epoch=epoch,
        source_topic=letter.topic,
        source_partition=letter.partition,
        source_offset=letter.offset,
        reason=letter.reason,
        reason_code=letter.reason_code,
        detail=_without_nul(letter.detail),
        source_key=letter.key,
        source_value=letter.value,
        at_ns=letter.at_ns,
    )


BY_TOPIC: Final[dict[str, Callable[[Any, Source], Iterator[Flat]]]] = {
    topics.ACCOUNT_COMMANDS: of_account_command,
    topics.ACCOUNT_EVENTS: of_account_event,
    topics.CONTROL_EVENTS: of_control_event,
    topics.TRADES: of_trade,
    topics.MARKET_DATA: of_market_data,
    topics.SETTLEMENT_EVENTS: of_settlement_event,
    topics.RISK_EVENTS: of_risk_event,
}


def _placed(record: type[Record], item: Record, source: Source, **more: Any) -> Record:
    """A flat record that is named by its place."""
    return _copied(
        record,
        item,
        epoch=source.epoch,
        origin=source.origin,
        partition=source.partition,
        sequence=source.sequence,
        item=source.item,
        event=type(item).__name__,
        **more,
    )


def _copied(record: type[Record], said: Record, /, **more: Any) -> Record:
    """A flat record with the fields of equal names."""
    values = {name: getattr(said, name) for name in shared_fields(record, type(said))}
    if "detail" in values:
        values["detail"] = _without_nul(values["detail"])
    return record(**values, **more)


def _without_nul(detail: str) -> str:
    """A text that may quote anything, as Postgres takes it; names and ids hold no NUL, the edges see to that."""
    return detail.replace("\0", "\N{REPLACEMENT CHARACTER}")


@cache
def shared_fields(record: type[Record], item: type[Record]) -> tuple[str, ...]:
    """The fields that go from an item to a flat record as they are."""
    return tuple(name for name in item.__struct_fields__ if name in record.__struct_fields__)


def _told_all(item: ControlEvent, source: Source) -> Flat:
    if isinstance(item, InstrumentDefined):
        return topics.REFERENCE, _instrument(item, source)
    more = {"rules_version": item.version} if isinstance(item, RulesActivated) else {}
    return topics.RISK_EVENTS_FLAT, _placed(flat.FlatRiskEvent, item, source, **more)


def _instrument(item: InstrumentDefined, source: Source) -> flat.FlatReference:
    defined = item.instrument
    record = _definition("INSTRUMENT", defined.symbol, defined, item, source)
    return msgspec.structs.replace(record, **{name: getattr(defined, name) for name in UNITS})


def _definition(
    kind: str,
    name: str,
    definition: Instrument | Account | Limits,
    item: InstrumentDefined | AccountDefined | LimitsChanged,
    source: Source,
) -> flat.FlatReference:
    return flat.FlatReference(
        epoch=source.epoch,
        kind=kind,
        name=name,
        version=source.version,
        definition=msgspec.json.encode(definition).decode(),
        currency=None,
        currency_exponent=None,
        tick_size_e9=None,
        lot_size_e9=None,
        minor_per_tick_lot=None,
        at_ns=item.at_ns,
    )
