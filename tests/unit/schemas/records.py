"""Records of every type: hypothesis strategies from the Structs, and samples made by hand."""

from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from schemas.book_commands import Terms
from schemas.codec.derive import WIRE_TYPES
from schemas.commands import PlaceOrder
from schemas.envelopes import AccountCommands, Answers, Chain
from schemas.events import OrderAccepted, OrderFilled
from schemas.maximums import INT64_MAX
from schemas.record import Record

_LEAVES: Final[dict[Any, st.SearchStrategy[Any]]] = {
    int: st.integers(-INT64_MAX - 1, INT64_MAX),
    str: st.text(max_size=40),
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    NoneType: st.none(),
    Chain: st.integers(0, 2**32 - 1),
}


@cache
def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """A strategy for the values of a field's type, or of a record type."""
    if hint in _LEAVES:
        return _LEAVES[hint]
    if isinstance(hint, type) and issubclass(hint, Record):
        hints = get_type_hints(hint, include_extras=True)
        return st.builds(hint, **{name: values_of(field) for name, field in hints.items()})
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is tuple:
        return st.lists(values_of(get_args(hint)[0]), max_size=4).map(tuple)
    assert get_origin(hint) in {Union, UnionType}
    return st.one_of([values_of(argument) for argument in get_args(hint)])


wire_records: Final = st.one_of([values_of(record) for record in WIRE_TYPES])

PLACE: Final = PlaceOrder(
    account="account-1",
    client_order_id="order-000001",
    instrument="BTC/USD",
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=250,
    price_ticks=2_345_678,
    at_ns=1_700_000_000_000_000_000,
)
ACCEPTED: Final = OrderAccepted(
    account="account-1",
    client_order_id="order-000001",
    instrument="BTC/USD",
    order_id=1 << 60,
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=250,
    price_ticks=2_345_678,
    stop_price_ticks=None,
    at_ns=1_700_000_000_000_000_000,
)
FILLED: Final = OrderFilled(
    account="account-1",
    client_order_id="order-000001",
    instrument="BTC/USD",
    order_id=1 << 60,
    trade_id=1 << 54,
    side="BUY",
    liquidity="TAKER",
    last_price_ticks=2_345_678,
    last_quantity_lots=125,
    cum_quantity_lots=125,
    leaves_quantity_lots=125,
    terms=Terms(
        kind="SPOT",
        currency="USD",
        minor_per_tick_lot=1,
        maker_bps=1,
        taker_bps=2,
        settlement_days=2,
    ),
    at_ns=1_700_000_000_000_000_000,
)
COMMANDS: Final = AccountCommands(items=(PLACE,))
ANSWERS: Final = Answers(items=(ACCEPTED, FILLED, FILLED))
