"""Each event of each topic of lists: where it goes, with which fields, under which key."""

from typing import Any, Final, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.rules.projection import BY_TOPIC, Source, of_dead_letter, shared_fields, version_at
from schemas import commands, control_events, events, topics
from schemas.control_events import InstrumentDefined
from schemas.envelopes import AccountCommandItem, AccountEventItem, ControlEventItem, DeadLetter
from schemas.ids import place_id
from schemas.record import Record
from schemas.reference import Account, Instrument, Limits
from schemas.risk_events import ReconciliationEvent, RiskEvent
from schemas.settlement_events import SettlementEvent
from schemas.sinks import BY_RECORD, SINKS, kafka_key
from schemas.topics import (
    BALANCES,
    LEDGER,
    MARKET_DATA_FLAT,
    ORDER_EVENTS,
    POSITIONS,
    REFERENCE,
    RISK_EVENTS_FLAT,
    SETTLEMENTS,
    TRADES_FLAT,
)
from tests.unit.schemas.records import values_of

ITEMS: Final[dict[str, tuple[type[Record], ...]]] = {
    topics.ACCOUNT_COMMANDS: get_args(AccountCommandItem),
    topics.ACCOUNT_EVENTS: get_args(AccountEventItem),
    topics.CONTROL_EVENTS: get_args(ControlEventItem),
    topics.TRADES: (events.Trade,),
    topics.MARKET_DATA: (events.LevelChanged, events.MarkChanged),
    topics.SETTLEMENT_EVENTS: get_args(SettlementEvent),
    topics.RISK_EVENTS: (*get_args(RiskEvent), *get_args(ReconciliationEvent)),
}
"""All that may stand on each topic, as the envelopes say."""

PLACES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    topics.ACCOUNT_COMMANDS: {it.__name__: () for it in get_args(AccountCommandItem)}
    | {"PlaceOrder": (ORDER_EVENTS,)},
    topics.ACCOUNT_EVENTS: {
        "OrderAccepted": (ORDER_EVENTS,),
        "OrderRejected": (ORDER_EVENTS,),
        "OrderFilled": (ORDER_EVENTS,),
        "OrderReplaced": (ORDER_EVENTS,),
        "OrderReduced": (ORDER_EVENTS,),
        "OrderCancelled": (ORDER_EVENTS,),
        "OrderExpired": (ORDER_EVENTS,),
        "OrderTriggered": (ORDER_EVENTS,),
        "CancelRejected": (ORDER_EVENTS,),
        "ReplaceRejected": (ORDER_EVENTS,),
        "OrdersRemoved": (ORDER_EVENTS,),
        "MassCancelled": (ORDER_EVENTS,),
        "CashDeposited": (ORDER_EVENTS,),
        "CashWithdrawn": (ORDER_EVENTS,),
        "CommandRefused": (ORDER_EVENTS,),
        "InstrumentDefined": (REFERENCE,),
        "AccountDefined": (REFERENCE, REFERENCE),
        "LimitsChanged": (REFERENCE,),
        "TradingHalted": (RISK_EVENTS_FLAT,),
        "TradingResumed": (RISK_EVENTS_FLAT,),
        "KillActivated": (RISK_EVENTS_FLAT,),
        "KillLifted": (RISK_EVENTS_FLAT,),
        "MassCancelOrdered": (RISK_EVENTS_FLAT,),
        "RulesActivated": (RISK_EVENTS_FLAT,),
        "SessionEnded": (MARKET_DATA_FLAT,),
        "MarkSet": (),
        "MarkChanged": (),
        "ClockTicked": (),
    },
    topics.CONTROL_EVENTS: {"CommandApplied": (RISK_EVENTS_FLAT,), "CommandRefused": (RISK_EVENTS_FLAT,)},
    topics.TRADES: {"Trade": (TRADES_FLAT,)},
    topics.MARKET_DATA: {"LevelChanged": (MARKET_DATA_FLAT,), "MarkChanged": (MARKET_DATA_FLAT,)},
    topics.SETTLEMENT_EVENTS: {
        "PositionChanged": (POSITIONS,),
        "BalanceChanged": (BALANCES,),
        "Posting": (LEDGER,),
        "TradeConfirmed": (SETTLEMENTS,),
        "ObligationCreated": (SETTLEMENTS,),
        "CashReleased": (SETTLEMENTS,),
        "VariationSettled": (SETTLEMENTS,),
    },
    topics.RISK_EVENTS: {
        "MarginDeficit": (RISK_EVENTS_FLAT,),
        "MarginRestored": (RISK_EVENTS_FLAT,),
        "BreakFound": (RISK_EVENTS_FLAT,),
        "BreakClosed": (RISK_EVENTS_FLAT,),
    },
}
"""Where each event goes. A new event fails the tests here until it has a place."""

OTHER_NAMES: Final = {
    "PlaceOrder": {"client"},  # whose topic it came by is told by the log
    "OrderFilled": {"terms"},  # what it will be settled by: settlements has what came of it
    "MassCancelled": {"count"},  # order_count
    "OrdersRemoved": {
        "removed_count",
        "book_partition",
        "sweep_id",
    },  # order_count; the sweep's own book-keeping
    "InstrumentDefined": {"instrument"},  # definition
    "AccountDefined": {"account"},  # definition
    "LimitsChanged": {"account", "limits"},  # name, definition
    "SessionEnded": {"mark_price_ticks", "session_end_ns"},  # price_ticks; at_ns is the tick that reached it
    "RulesActivated": {"version"},  # rules_version
    "BreakFound": {  # command_id, reason; the detail has the others
        "break_id",
        "against",
        "engine_quantity",
        "other_quantity",
        "since_ns",
        "first_seen_ns",
    },
    "BreakClosed": {"break_id", "against", "first_seen_ns"},  # command_id, reason
}
"""Fields of an event that its row has under another name, or not at all."""

FIRST: Final = Source(epoch=3, origin="control-0/account-events", partition=0, sequence=7, item=2)
CASES: Final = [(topic, item) for topic, items in ITEMS.items() for item in items]
IDS: Final = [f"{topic}-{item.__name__}" for topic, item in CASES]


@pytest.mark.parametrize(("topic", "kind"), CASES, ids=IDS)
@given(data=st.data())
def test_every_event_has_its_place(topic: str, kind: type[Record], data: st.DataObject) -> None:
    """Any value of any event of any topic goes where the table above says, as that topic's one record type."""
    rows = list(BY_TOPIC[topic](data.draw(values_of(kind)), FIRST))
    assert tuple(name for name, _ in rows) == PLACES[topic][kind.__name__]
    for name, row in rows:
        assert BY_RECORD[type(row)].topic == name


def test_the_table_of_places_is_whole() -> None:
    """The table above names exactly the events that the envelopes hold, and each topic that is projected."""
    assert {topic: {it.__name__ for it in items} for topic, items in ITEMS.items()} == {
        topic: set(places) for topic, places in PLACES.items()
    }
    assert {*ITEMS, topics.DEAD_LETTERS} == set(topics.PROJECTED)


@pytest.mark.parametrize(("topic", "kind"), CASES, ids=IDS)
@given(data=st.data())
def test_no_field_is_lost(topic: str, kind: type[Record], data: st.DataObject) -> None:
    """Every field of an event stands in its row under its own name, but for those that are named above."""
    item: Any = data.draw(values_of(kind))
    for _, row in BY_TOPIC[topic](item, FIRST):
        shared = shared_fields(type(row), kind)
        for name in shared:
            value = getattr(item, name)
            assert getattr(row, name) == (value.replace("\0", "\ufffd") if name == "detail" else value)
        assert set(kind.__struct_fields__) - set(shared) == OTHER_NAMES.get(kind.__name__, set())


@pytest.mark.parametrize(("topic", "kind"), CASES, ids=IDS)
@given(data=st.data())
def test_an_event_is_one_row_whoever_reads_it(topic: str, kind: type[Record], data: st.DataObject) -> None:
    """The same event at the same place gives the same rows, and another place another key, or another version."""
    item = data.draw(values_of(kind))
    flatten = BY_TOPIC[topic]
    rows = [row for _, row in flatten(item, FIRST)]
    assert rows == [row for _, row in flatten(item, FIRST)]
    later = [row for _, row in flatten(item, msgspec.structs.replace(FIRST, item=3))]
    own_id = {TRADES_FLAT, POSITIONS, BALANCES, LEDGER}
    for row, other in zip(rows, later, strict=True):
        sink = BY_RECORD[type(row)]
        fields = (*sink.key, "version") if sink.is_state else sink.key
        is_same = [getattr(row, it) for it in fields] == [getattr(other, it) for it in fields]
        assert is_same is (sink.topic in own_id)


def test_an_order_as_asked_for_has_its_id() -> None:
    """What was asked stands under the id that risk gives the order: its place in risk's inbox."""
    asked = commands.PlaceOrder(
        account="a",
        client_order_id="1",
        instrument="X",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTD",
        quantity_lots=5,
        price_ticks=6,
        post_only=True,
        expires_at_ns=9,
        at_ns=7,
    )
    source = Source(epoch=3, origin="edge/account-commands", partition=1, sequence=41, item=2)
    ((topic, row),) = BY_TOPIC[topics.ACCOUNT_COMMANDS](asked, source)
    found: Any = row
    assert (topic, found.event, found.order_id) == (ORDER_EVENTS, "PlaceOrder", place_id(1, 41, 2))
    assert (found.post_only, found.expires_at_ns, found.self_trade_prevention) == (True, 9, None)


def test_what_all_are_told_is_taken_once() -> None:
    """Of the copies of a broadcast only that of partition 0 becomes a row; what concerns an account is no copy."""
    halted = control_events.TradingHalted(instrument="X", at_ns=1)
    limits = control_events.LimitsChanged(account="a", limits=Limits(), at_ns=1)
    flatten, second = BY_TOPIC[topics.ACCOUNT_EVENTS], msgspec.structs.replace(FIRST, partition=1)
    assert list(flatten(halted, second)) == []
    assert [topic for topic, _ in flatten(limits, second)] == [REFERENCE]


def test_a_definition_is_kept_whole_with_its_units() -> None:
    """A row of reference data holds the definition as JSON, and of an instrument what units are made of."""
    instrument = Instrument(
        symbol="BTC/USD",
        kind="SPOT",
        currency="USD",
        currency_exponent=2,
        tick_size_e9=10**7,
        lot_size_e9=10,
        multiplier=1,
        minor_per_tick_lot=1,
        maximum_quantity_lots=5,
        maximum_notional_minor=6,
    )
    ((_, row),) = BY_TOPIC[topics.ACCOUNT_EVENTS](InstrumentDefined(instrument=instrument, at_ns=9), FIRST)
    found: Any = row
    assert (found.kind, found.name, found.version) == ("INSTRUMENT", "BTC/USD", version_at(7, 2))
    assert msgspec.json.decode(found.definition, type=Instrument) == instrument
    assert (found.currency, found.currency_exponent, found.tick_size_e9, found.lot_size_e9) == (
        "USD",
        2,
        10**7,
        10,
    )
    defined = control_events.AccountDefined(account=Account(account="a"), at_ns=9)
    rows: list[Any] = [row for _, row in BY_TOPIC[topics.ACCOUNT_EVENTS](defined, FIRST)]
    assert [(it.kind, it.name) for it in rows] == [("ACCOUNT", "a"), ("LIMITS", "a")]


def test_a_dead_letter_may_hold_anything() -> None:
    """A letter's bytes stay as they are, and a NUL in its text, which no database of texts takes, is replaced."""
    letter = DeadLetter(
        topic="orders",
        partition=1,
        offset=2,
        reason="undecodable",
        reason_code=1,
        detail="a\0b",
        key=b"\0",
        value=b"\0\xff",
        at_ns=5,
    )
    _, row = of_dead_letter(letter, 3)
    found: Any = row
    assert (found.detail, found.source_key, found.source_value) == ("a\ufffdb", b"\0", b"\0\xff")


@pytest.mark.parametrize("sink", SINKS, ids=lambda it: it.table)
def test_the_keys_are_fields(sink: Any) -> None:
    """A table's key and its topic's are fields of its record; a key that must be there is never None.

    All is cut by time but for states and the few acts.
    """
    fields = {it.name: it for it in msgspec.structs.fields(sink.record)}
    assert {*sink.key, *sink.kafka_key} <= fields.keys()
    assert all(fields[it].required for it in sink.key)
    assert sink.is_state is ("version" in fields)
    assert sink.is_series is not (sink.is_state or sink.table == "audit")
    assert topics.BY_NAME[sink.topic].records == (sink.record,)


def test_the_kafka_key_is_what_a_state_is_of() -> None:
    """The key of a state is text that names it, and of an event whose it is; nobody's has none."""
    position = BY_TOPIC[topics.SETTLEMENT_EVENTS]
    changed: Any = next(it for it in get_args(SettlementEvent) if it.__name__ == "PositionChanged")
    item = changed(
        account="alice",
        instrument="X",
        currency="USD",
        quantity_lots=1,
        open_cost_minor=1,
        realised_profit_minor=0,
        version=4,
        at_ns=1,
    )
    ((_, row),) = position(item, FIRST)
    assert kafka_key(row) == b"alice X"
    refused = events.CommandRefused(
        command_id="c", account=None, reason="invalid_command", reason_code=407, detail="", at_ns=1
    )
    ((_, row),) = BY_TOPIC[topics.CONTROL_EVENTS](refused, FIRST)
    assert kafka_key(row) is None
