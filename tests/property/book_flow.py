"""Random flow for the books: every command and every type of order, in a narrow range, so that they meet."""

from typing import Any, get_args

import msgspec
from hypothesis import strategies as st

from schemas import control_events as control
from schemas.book_commands import AmendOrder, EnterOrder, RemoveOrder, RemoveOrders, Terms
from schemas.control_events import InstrumentDefined
from schemas.envelopes import BookCommandItem
from schemas.record import OrderType, SelfTradePrevention, Side, TimeInForce
from schemas.reference import Instrument

SESSION_END_MINUTES = {"X": 0, "Y": 1}
STEP_NS = 7_000_000_000  # between commands: a session end of Y comes by, and many a GTD
SIDES: tuple[Side, ...] = ("BUY", "SELL")
TYPES: tuple[OrderType, ...] = ("LIMIT", "LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT")
TIMES_IN_FORCE: tuple[TimeInForce, ...] = ("GTC", "GTC", "GTC", "GTC", "DAY", "GTD", "IOC", "FOK")
MODES: tuple[SelfTradePrevention, ...] = get_args(SelfTradePrevention)
TERMS = Terms(kind="SPOT", currency="USD", minor_per_tick_lot=1, maker_bps=1, taker_bps=2, settlement_days=2)

prices = st.integers(97, 103)
lots = st.integers(1, 9)
rarely = st.sampled_from([False] * 7 + [True])
accounts = st.sampled_from(["a", "b", "c", "d"])
instruments = st.sampled_from(["X", "X", "X", "Y"])


def definitions() -> list[BookCommandItem]:
    """The instruments of the flow."""
    return [
        InstrumentDefined(
            instrument=Instrument(
                symbol=symbol,
                kind="SPOT",
                currency="USD",
                currency_exponent=2,
                tick_size_e9=10_000_000,
                lot_size_e9=10**9,
                multiplier=1,
                minor_per_tick_lot=1,
                maximum_quantity_lots=10**9,
                maximum_notional_minor=10**15,
                session_end_minute_utc=minute,
            ),
            at_ns=0,
        )
        for symbol, minute in SESSION_END_MINUTES.items()
    ]


@st.composite
def orders(draw: st.DrawFn) -> EnterOrder:
    """Any order that the edge and risk would let through; its id and time are stamped by ``flows``."""
    order_type = draw(st.sampled_from(TYPES))
    has_limit, has_stop = order_type in {"LIMIT", "STOP_LIMIT"}, order_type in {"STOP", "STOP_LIMIT"}
    in_force = draw(st.sampled_from(TIMES_IN_FORCE))
    account = draw(accounts)
    quantity = draw(lots)
    may_post = has_limit and in_force not in {"IOC", "FOK"}
    return EnterOrder(
        order_id=0,
        account=account,
        client_order_id="",
        instrument=draw(instruments),
        side=draw(st.sampled_from(SIDES)),
        order_type=order_type,
        time_in_force=in_force,
        quantity_lots=quantity,
        price_ticks=draw(prices) if has_limit else None,
        stop_price_ticks=draw(prices) if has_stop else None,
        display_quantity_lots=draw(st.integers(1, quantity)) if has_limit and draw(st.booleans()) else None,
        minimum_quantity_lots=draw(st.integers(1, quantity)) if draw(rarely) else None,
        post_only=may_post and draw(rarely),
        expires_at_ns=draw(st.integers(0, 30)) if in_force == "GTD" else None,
        self_trade_group="ab" if account in "ab" else account,
        self_trade_prevention=draw(st.sampled_from(MODES)),
        worst_price_ticks=draw(prices) if not has_limit and draw(rarely) else None,
        terms=TERMS,
        at_ns=0,
    )


targets = st.integers(0, 9)  # how many orders ago
amendments = st.tuples(st.just("amend"), targets, st.none() | prices, st.none() | st.integers(0, 14))
removals = st.tuples(st.just("remove"), targets)
sweeps = st.tuples(
    st.just("sweep"),
    st.sampled_from(["a", "b", "c", "d", "d", None]),
    st.none() | instruments,
    st.none() | st.sampled_from(SIDES),
)
switches = st.tuples(
    st.sampled_from(["halt", "resume", "resume", "resume", "resume"]), st.none() | instruments
)
marks = st.tuples(st.just("mark"), instruments, prices)
ticks = st.tuples(st.just("tick"))
steps: st.SearchStrategy[Any] = st.sampled_from(
    [orders()] * 40 + [amendments] * 8 + [removals] * 3 + [ticks] * 3 + [switches] * 3 + [sweeps, marks]
).flatmap(lambda strategy: strategy)


def flows(size_max: int = 50) -> st.SearchStrategy[list[BookCommandItem]]:
    """Lists of commands: command ``n`` has offset and id ``n + 1`` and comes ``n + 1`` steps of time in."""
    return st.lists(steps, min_size=size_max // 2, max_size=size_max).map(flow_of)


def flow_of(drawn: list[Any]) -> list[BookCommandItem]:
    """Gives each step its id and time, and each target its order."""
    entered: list[EnterOrder] = []
    flow: list[BookCommandItem] = []
    for number, step in enumerate(drawn, 1):
        if isinstance(step, EnterOrder):
            entered.append(_stamped(step, number))
            flow.append(entered[-1])
        elif step[0] not in {"amend", "remove"}:
            flow.append(_of_many(step, number))
        elif entered:
            flow.append(_of_one(step, number, entered[-1 - step[1] % len(entered)]))
    return flow


def _stamped(order: EnterOrder, number: int) -> EnterOrder:
    expires_at_ns = order.expires_at_ns
    return msgspec.structs.replace(
        order,
        order_id=number,
        client_order_id=f"{order.account}{number}",
        expires_at_ns=None if expires_at_ns is None else (number - 2 + expires_at_ns) * STEP_NS,
        at_ns=number * STEP_NS,
    )


def _of_one(step: Any, number: int, order: EnterOrder) -> BookCommandItem:
    if step[0] == "amend":
        return AmendOrder(
            order_id=order.order_id,
            account=order.account,
            client_order_id=f"{order.account}{number}",
            original_client_order_id=order.client_order_id,
            instrument=order.instrument,
            price_ticks=step[2],
            quantity_lots=step[3],
            at_ns=number * STEP_NS,
        )
    return RemoveOrder(
        order_id=order.order_id,
        account=order.account,
        client_order_id=f"{order.account}{number}",
        original_client_order_id=order.client_order_id,
        instrument=order.instrument,
        at_ns=number * STEP_NS,
    )


def _of_many(step: Any, number: int) -> BookCommandItem:
    at_ns = number * STEP_NS
    match step:
        case ["sweep", account, instrument, side]:
            return RemoveOrders(
                command_id=f"m{number}",
                account_partition=0,
                account=account,
                instrument=instrument,
                side=side,
                reason="mass_cancel",
                at_ns=at_ns,
                sweep_id=number,
            )
        case ["halt", instrument]:
            return control.TradingHalted(instrument=instrument, at_ns=at_ns)
        case ["resume", instrument]:
            return control.TradingResumed(instrument=instrument, at_ns=at_ns)
        case ["mark", instrument, price]:
            return control.MarkSet(instrument=instrument, price_ticks=price, at_ns=at_ns)
        case _:
            return control.ClockTicked(tick_ns=at_ns, at_ns=at_ns)
