"""The projection beside a running engine, killed in the middle: each event is one row, whatever happened."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from infra.auditor.log import KafkaLog
from schemas import codec
from schemas.commands import PlaceOrder
from schemas.ids import place_id
from schemas.sinks import BY_RECORD
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    BALANCES,
    BY_NAME,
    LEDGER,
    MARKET_DATA,
    MARKET_DATA_FLAT,
    ORDER_EVENTS,
    ORDER_STATES,
    POSITIONS,
    RISK_EVENTS_FLAT,
    SETTLEMENT_EVENTS,
    SETTLEMENTS,
    TRADES,
    TRADES_FLAT,
)
from tests.chaos.harness import Chaos

ENGINE: Final = "control+intake+risk+matching+settlement"
SINKS: Final = "projection+order-states"
KILLS: Final = 3
NO_ROW: Final = {"ClockTicked", "MarkChanged", "MarkSet", "SessionEnded"}
DEFINITIONS: Final = {"InstrumentDefined", "AccountDefined", "LimitsChanged"}
ENDS: Final = {"OrderCancelled", "OrderExpired"}

Row = tuple[str, int, int, int]
"""Origin, partition, sequence, item."""


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chaos]:
    """An engine and its projection after a flow of orders in which each was killed, three times and once."""
    with Chaos(
        tmp_path_factory.mktemp("engine"),
        11,
        (ENGINE, SINKS),
        account_partitions=2,
        book_partitions=3,
        session_timeout_ms=2_000,
    ) as chaos:
        with chaos.load():
            for _ in range(KILLS):
                chaos.until_said(100, ORDER_EVENTS)
                chaos.kill(SINKS)
                chaos.until_ready(SINKS)
            chaos.until_said(100, ORDER_EVENTS)
            chaos.kill(ENGINE)
            chaos.until_ready()
            chaos.until_said(100, ORDER_EVENTS)
        chaos.until_quiet()
        chaos.until(lambda: order_events(chaos) == rows_of(chaos, ORDER_EVENTS), "order-events are complete")
        yield chaos


def test_every_event_is_one_row(chaos: Chaos) -> None:
    """Repeats of either dropped, account-events and order-events hold the same events, with the same content."""
    said = order_events(chaos)
    assert said == rows_of(chaos, ORDER_EVENTS)
    assert {it["event"] for it in said.values()} >= {
        "PlaceOrder",
        "OrderAccepted",
        "OrderFilled",
        "OrderCancelled",
    }


def test_the_kills_made_it_say_again(chaos: Chaos) -> None:
    """Flat records were repeated, each under its key with the same bytes: or this proved nothing."""
    values: dict[object, bytes] = {}
    repeats = 0
    for value, row in records(chaos, ORDER_EVENTS):
        key = tuple(getattr(row, it) for it in BY_RECORD[type(row)].key)
        repeats += key in values
        assert values.setdefault(key, value) == value
    assert repeats


@pytest.mark.parametrize(
    ("topic", "flat", "kinds"),
    [
        (TRADES, [TRADES_FLAT], {"Trade"}),
        (MARKET_DATA, [MARKET_DATA_FLAT], {"LevelChanged", "MarkChanged"}),
        (SETTLEMENT_EVENTS, [LEDGER], {"Posting"}),
        (SETTLEMENT_EVENTS, [SETTLEMENTS], {"TradeConfirmed", "ObligationCreated", "CashReleased"}),
    ],
)
def test_every_other_event_is_one_row(chaos: Chaos, topic: str, flat: list[str], kinds: set[str]) -> None:
    """As many rows, by key, as the source holds events once its repeats are dropped."""
    count = sum(type(item).__name__ in kinds for _, item in items(chaos, topic))
    assert count

    def keys() -> set[object]:
        found = [row for name in flat for _, row in records(chaos, name)]
        return {tuple(getattr(row, it) for it in BY_RECORD[type(row)].key) for row in found}

    chaos.until(lambda: len(keys()) == count, f"{flat} are complete")


@pytest.mark.parametrize(
    ("flat", "kind", "key"),
    [(POSITIONS, "PositionChanged", "instrument"), (BALANCES, "BalanceChanged", "currency")],
)
def test_the_last_state_is_the_sources(chaos: Chaos, flat: str, kind: str, key: str) -> None:
    """The highest version of each position and balance says what settlement said last."""
    wanted = {
        (item.account, getattr(item, key)): item
        for _, item in items(chaos, SETTLEMENT_EVENTS)
        if type(item).__name__ == kind
    }

    def last() -> dict[tuple[str, str], Any]:
        rows: dict[tuple[str, str], Any] = {}
        for _, row in records(chaos, flat):
            name = row.account, getattr(row, key)
            if name not in rows or row.version >= rows[name].version:
                rows[name] = row
        return rows

    chaos.until(
        lambda: (
            {name: it.version for name, it in last().items()}
            == {name: it.version for name, it in wanted.items()}
        ),
        f"{flat} are complete",
    )
    for name, row in last().items():
        fields = type(wanted[name]).__struct_fields__
        assert {it: getattr(row, it) for it in fields} == {it: getattr(wanted[name], it) for it in fields}


def test_each_order_ends_in_its_last_state(chaos: Chaos) -> None:
    """The last state of each accepted order has what its last event says; a version has one content."""
    events: dict[int, list[dict[str, Any]]] = {}
    for row in order_events(chaos).values():
        if row["event"].startswith("Order") and row["order_id"] is not None and not row["possible_resend"]:
            events.setdefault(row["order_id"], []).append(row)
    accepted = {it: rows for it, rows in events.items() if rows[0]["event"] == "OrderAccepted"}

    def last() -> dict[int, Any]:
        states: dict[int, Any] = {}
        contents: dict[tuple[int, int], bytes] = {}
        for value, state in records(chaos, ORDER_STATES):
            assert contents.setdefault((state.order_id, state.version), value) == value
            if state.order_id not in states or state.version >= states[state.order_id].version:
                states[state.order_id] = state
        return states

    chaos.until(
        lambda: (
            {it: state.at_ns for it, state in last().items()}
            == {it: rows[-1]["at_ns"] for it, rows in accepted.items()}
        ),
        "order-states are complete",
    )
    for order_id, state in last().items():
        rows = accepted[order_id]
        cum = max(it["cum_quantity_lots"] or 0 for it in rows)
        is_closed = any(it["event"] in ENDS or it["leaves_quantity_lots"] == 0 for it in rows[1:])
        assert state.cum_quantity_lots == cum
        assert (state.leaves_quantity_lots == 0) is is_closed
        assert state.client_order_id == rows[-1]["client_order_id"]


def test_reference_and_control_have_rows(chaos: Chaos) -> None:
    """Each instrument and account that was defined is a definition; control's answers are there."""
    chaos.until(lambda: len(list(records(chaos, "reference"))) > 0, "definitions")
    defined = {(row.kind, row.name) for _, row in records(chaos, "reference")}
    accounts = {
        item.account.account
        for _, item in items(chaos, ACCOUNT_EVENTS)
        if type(item).__name__ == "AccountDefined"
    }
    assert {name for kind, name in defined if kind == "ACCOUNT"} == accounts
    assert {name for kind, name in defined if kind == "LIMITS"} == accounts
    assert {kind for kind, _ in defined} == {"INSTRUMENT", "ACCOUNT", "LIMITS"}
    applied = {row.command_id for _, row in records(chaos, RISK_EVENTS_FLAT) if row.event == "CommandApplied"}
    assert len(applied) >= len(accounts)


def order_events(chaos: Chaos) -> dict[Row, dict[str, Any]]:
    """What order-events must hold, worked out from account-events, and from the orders on account-commands."""
    fields = BY_NAME[ORDER_EVENTS].records[0].__struct_fields__
    wanted = {}
    asked = [it for it in items(chaos, ACCOUNT_COMMANDS) if isinstance(it[1], PlaceOrder)]
    for place, item in (*asked, *items(chaos, ACCOUNT_EVENTS)):
        kind = type(item).__name__
        if kind in NO_ROW | DEFINITIONS:
            continue
        row: dict[str, Any] = {it: getattr(item, it, None) for it in fields}
        row |= {"epoch": 1, "event": kind, "possible_resend": getattr(item, "possible_resend", False)}
        row |= dict(zip(("origin", "partition", "sequence", "item"), place, strict=True))
        if kind == "PlaceOrder":
            row["order_id"] = place_id(*place[1:])
        if kind in {"MassCancelled", "OrdersRemoved"}:
            row["order_count"] = getattr(item, "count", getattr(item, "removed_count", None))
        wanted[place] = row
    return wanted


def rows_of(chaos: Chaos, topic: str) -> dict[Row, dict[str, Any]]:
    """The rows of a flat topic by their places."""
    return {
        (row.origin, row.partition, row.sequence, row.item): {
            it: getattr(row, it) for it in row.__struct_fields__
        }
        for _, row in records(chaos, topic)
    }


def items(chaos: Chaos, topic: str) -> Iterator[tuple[Row, Any]]:
    """The items of a topic of lists in their order, those that are said again left out."""
    heard: set[tuple[str, int, int]] = set()
    for partition in range(chaos.counts.of(BY_NAME[topic])):
        for offset, value in values_of(chaos.log, topic, partition):
            envelope: Any = codec.decode(value)
            origin = envelope.origin
            who = "edge" if origin is None else f"{origin.stage}-{origin.partition}"
            name = f"{who}/{topic}"
            sequence = offset if origin is None else origin.sequence
            if (name, partition, sequence) not in heard:
                heard.add((name, partition, sequence))
                for index, item in enumerate(envelope.items):
                    yield (name, partition, sequence, index), item


def records(chaos: Chaos, topic: str) -> Iterator[tuple[bytes, Any]]:
    """All records of a flat topic, with their bytes."""
    for partition in range(chaos.counts.of(BY_NAME[topic])):
        for _, value in values_of(chaos.log, topic, partition):
            yield value, codec.decode(value)


def values_of(log: KafkaLog, topic: str, partition: int) -> Iterator[tuple[int, bytes]]:
    """The values of one partition, with their offsets."""
    place = topic, partition
    for record in log.read(place, log.bounds(place)):
        yield record.offset, record.value or b""
