"""The states of orders: each event's step, and a random market whose open orders are risk's."""

from typing import Any

import pytest

from agents.order_states import order_states_stage
from agents.rules.order_states import OrderStates
from agents.rules.outbox import Outbox, Place
from agents.stage.fold import Fold, InboxRecord
from schemas import codec
from schemas.events import (
    OrderAccepted,
    OrderCancelled,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderReplaced,
    OrderTriggered,
)
from schemas.flat import FlatOrderState
from schemas.topics import ACCOUNT_EVENTS, ORDER_STATES
from tables.lifecycle import CLOSED
from tables.order_states import OrderStatesTables
from tables.risk import RiskTables
from tests.unit.infra.auditor.engine import COUNTS, Engine, open_market, trade_at_random
from tests.unit.schemas.records import FILLED

NAMES: Any = {"account": "a", "client_order_id": "1", "instrument": "X", "order_id": 9}
ACCEPTED = OrderAccepted(
    **NAMES,
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=10,
    price_ticks=100,
    stop_price_ticks=None,
    at_ns=1,
)


def filled(cum: int, leaves: int) -> OrderFilled:
    """A fill after which so much is filled, and open."""
    values = {name: getattr(FILLED, name) for name in FILLED.__struct_fields__}
    return OrderFilled(
        **{**values, **NAMES, "cum_quantity_lots": cum, "leaves_quantity_lots": leaves, "at_ns": 2}
    )


def replaced(quantity: int, cum: int, leaves: int, *, possible_resend: bool = False) -> OrderReplaced:
    """A replace by which the order goes by "2", at 101."""
    return OrderReplaced(
        **{**NAMES, "client_order_id": "2"},
        original_client_order_id="1",
        price_ticks=101,
        quantity_lots=quantity,
        cum_quantity_lots=cum,
        leaves_quantity_lots=leaves,
        at_ns=3,
        possible_resend=possible_resend,
    )


def cancelled(cancelled_: int, cum: int, *, possible_resend: bool = False) -> OrderCancelled:
    """The end of it."""
    return OrderCancelled(
        **NAMES,
        reason="requested",
        reason_code=300,
        command_id="c",
        cancelled_quantity_lots=cancelled_,
        cum_quantity_lots=cum,
        at_ns=4,
        possible_resend=possible_resend,
    )


EXPIRED = OrderExpired(**NAMES, cancelled_quantity_lots=10, cum_quantity_lots=0, at_ns=5)
TRIGGERED = OrderTriggered(**NAMES, trigger_price_ticks=100, at_ns=6)


def reduced(cum: int, leaves: int) -> OrderReduced:
    """Self-trade prevention took some."""
    return OrderReduced(
        **NAMES, reduced_quantity_lots=1, cum_quantity_lots=cum, leaves_quantity_lots=leaves, at_ns=7
    )


def said(*items: Any) -> list[FlatOrderState]:
    """The states after each item, one record each from offset 5 on."""
    rules, states = OrderStates(OrderStatesTables(), COUNTS, 0, epoch=2), list[Any]()
    for offset, item in enumerate(items, 5):
        outbox = Outbox()
        rules.apply(item, Place(0, offset, 1, item.at_ns), outbox)
        states += outbox.items.get((ORDER_STATES, 0), [])
    return states


@pytest.mark.parametrize(
    ("items", "states"),
    [
        ([], [("NEW", 10, 0, 10)]),
        ([filled(4, 6), filled(10, 0)], [("PARTIALLY_FILLED", 10, 4, 6), ("FILLED", 10, 10, 0)]),
        ([cancelled(10, 0)], [("CANCELLED", 10, 0, 0)]),
        ([filled(4, 6), cancelled(6, 4)], [("PARTIALLY_FILLED", 10, 4, 6), ("CANCELLED", 10, 4, 0)]),
        ([replaced(12, 0, 12)], [("REPLACED", 12, 0, 12)]),
        ([filled(4, 6), replaced(7, 4, 3)], [("PARTIALLY_FILLED", 10, 4, 6), ("PARTIALLY_FILLED", 7, 4, 3)]),
        ([EXPIRED], [("EXPIRED", 10, 0, 0)]),
        ([TRIGGERED], [("NEW", 10, 0, 10)]),
        ([reduced(0, 9)], [("NEW", 10, 0, 9)]),
        ([cancelled(10, 0), ACCEPTED_AGAIN := OrderAccepted(
            **{name: getattr(ACCEPTED, name) for name in ACCEPTED.__struct_fields__ if name != "possible_resend"},
            possible_resend=True,
        )], [("CANCELLED", 10, 0, 0)]),
        ([replaced(12, 0, 12), replaced(12, 0, 12, possible_resend=True)], [("REPLACED", 12, 0, 12)]),
        ([cancelled(10, 0), cancelled(10, 0, possible_resend=True)], [("CANCELLED", 10, 0, 0)]),
    ],
)  # fmt: skip
def test_an_event_moves_its_order(items: list[Any], states: list[tuple[str, int, int, int]]) -> None:
    """Each answer gives the state after it (state, quantity, filled, open); what is said again gives none."""
    first, *rest = said(ACCEPTED, *items)
    assert (first.state, first.leaves_quantity_lots) == ("NEW", 10)
    wanted = states[1:] if not items else states
    assert [
        (it.state, it.quantity_lots, it.cum_quantity_lots, it.leaves_quantity_lots) for it in rest
    ] == wanted


def test_a_state_is_whole() -> None:
    """What an answer leaves out comes from the order, and the version rises with the place."""
    *_, last = said(ACCEPTED, replaced(12, 0, 12), cancelled(12, 0))
    assert last == FlatOrderState(
        epoch=2,
        order_id=9,
        version=7 << 20 | 1,
        account="a",
        client_order_id="2",
        instrument="X",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        state="CANCELLED",
        price_ticks=101,
        stop_price_ticks=None,
        quantity_lots=12,
        cum_quantity_lots=0,
        leaves_quantity_lots=0,
        reason="requested",
        accepted_at_ns=1,
        at_ns=4,
    )


def test_an_answer_for_no_order_stops_the_stage() -> None:
    """A fill of an order that was never accepted cannot be."""
    with pytest.raises(AssertionError, match="order 9 is not open"):
        said(filled(1, 9))


def test_the_open_orders_are_risks() -> None:
    """After a random market the last states that are open are risk's open orders; repeats change nothing."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, 5, 700)
    closed = 0
    for partition in range(COUNTS.accounts):
        repeated = len(engine.log.records[ACCOUNT_EVENTS, partition]) - 1
        engine.repeat((ACCOUNT_EVENTS, partition), repeated)
        fold = Fold(order_states_stage(1), COUNTS, partition)
        fold.begin()
        last: dict[int, Any] = {}
        for record in engine.log.records[ACCOUNT_EVENTS, partition]:
            for output in fold.apply(InboxRecord(*record)):
                state: Any = codec.decode(output.value)
                assert output.key == str(state.order_id).encode()
                assert state.version > last[state.order_id].version if state.order_id in last else True
                last[state.order_id] = state
        assert fold.repeats_dropped == 1
        risk = engine.folds["risk", partition].tables
        assert isinstance(risk, RiskTables)
        open_ = {it.order_id: it for it in last.values() if it.state not in CLOSED}
        closed += len(last) - len(open_)
        assert open_.keys() == risk.orders.keys() == fold.tables.orders.keys()  # type: ignore[attr-defined]
        for order_id, row in risk.orders.items():
            state = open_[order_id]
            assert (state.account, state.client_order_id, state.instrument, state.side, state.state) == (
                row.account,
                row.client_order_id,
                row.instrument,
                row.side,
                row.state,
            )
            assert (state.cum_quantity_lots, state.leaves_quantity_lots) == (
                row.cum_quantity_lots,
                row.quantity_lots - row.cum_quantity_lots,
            )
    assert closed > 100
