"""The form of a client's command."""

import msgspec
import pytest

from agents.rules.intake import refusal
from schemas.commands import CancelOrder, MassCancel, PlaceOrder, ReplaceOrder
from schemas.maximums import INT64_MAX
from schemas.reasons import CODES

LIMIT = PlaceOrder(
    account="a",
    client_order_id="1",
    instrument="X",
    side="BUY",
    order_type="LIMIT",
    time_in_force="GTC",
    quantity_lots=10,
    price_ticks=100,
)
MARKET = msgspec.structs.replace(LIMIT, order_type="MARKET", price_ticks=None)
STOP = msgspec.structs.replace(MARKET, order_type="STOP", stop_price_ticks=90)
STOP_LIMIT = msgspec.structs.replace(LIMIT, order_type="STOP_LIMIT", stop_price_ticks=90)
GTD = msgspec.structs.replace(LIMIT, time_in_force="GTD", expires_at_ns=5)
CANCEL = CancelOrder(account="a", client_order_id="2", original_client_order_id="1")
REPLACE = ReplaceOrder(account="a", client_order_id="2", original_client_order_id="1", price_ticks=1)
MASS = MassCancel(command_id="m", account="a", instrument="X", side="SELL")

GOOD = [
    (LIMIT, {}),
    (LIMIT, {"account": "!" * 64, "client_order_id": '"\\~'}),
    (LIMIT, {"quantity_lots": INT64_MAX, "price_ticks": INT64_MAX}),
    (LIMIT, {"display_quantity_lots": 10, "minimum_quantity_lots": 10}),
    (LIMIT, {"post_only": True, "self_trade_prevention": "DECREMENT"}),
    (LIMIT, {"time_in_force": "FOK"}),
    (MARKET, {}),
    (MARKET, {"time_in_force": "DAY"}),
    (MARKET, {"time_in_force": "IOC"}),
    (STOP, {}),
    (STOP_LIMIT, {"post_only": True}),
    (GTD, {}),
    (CANCEL, {}),
    (REPLACE, {}),
    (REPLACE, {"price_ticks": None, "quantity_lots": 1}),
    (MASS, {}),
    (MASS, {"instrument": None, "side": None}),
]

BAD = [
    (LIMIT, {"account": ""}, "invalid_identifier"),
    (LIMIT, {"account": "a" * 65}, "invalid_identifier"),
    (LIMIT, {"client_order_id": "a b"}, "invalid_identifier"),
    (LIMIT, {"client_order_id": "a\x00"}, "invalid_identifier"),
    (LIMIT, {"client_order_id": "a\n"}, "invalid_identifier"),
    (LIMIT, {"instrument": "\u20acUR"}, "invalid_identifier"),
    (LIMIT, {"instrument": "X\x7f"}, "invalid_identifier"),
    (LIMIT, {"side": "HOLD"}, "unknown_value"),
    (LIMIT, {"order_type": "limit"}, "unknown_value"),
    (LIMIT, {"time_in_force": "GTX"}, "unknown_value"),
    (LIMIT, {"self_trade_prevention": "ALLOW"}, "unknown_value"),
    (LIMIT, {"price_ticks": None}, "price_required"),
    (STOP_LIMIT, {"price_ticks": None}, "price_required"),
    (MARKET, {"price_ticks": 100}, "price_not_allowed"),
    (STOP, {"price_ticks": 100}, "price_not_allowed"),
    (LIMIT, {"price_ticks": 0}, "number_out_of_range"),
    (LIMIT, {"price_ticks": INT64_MAX + 1}, "number_out_of_range"),
    (STOP, {"stop_price_ticks": None}, "stop_price_required"),
    (STOP_LIMIT, {"stop_price_ticks": None}, "stop_price_required"),
    (LIMIT, {"stop_price_ticks": 90}, "stop_price_not_allowed"),
    (MARKET, {"stop_price_ticks": 90}, "stop_price_not_allowed"),
    (STOP, {"stop_price_ticks": -1}, "number_out_of_range"),
    (LIMIT, {"quantity_lots": 0}, "number_out_of_range"),
    (LIMIT, {"quantity_lots": -1}, "number_out_of_range"),
    (LIMIT, {"quantity_lots": INT64_MAX + 1}, "number_out_of_range"),
    (STOP_LIMIT, {"display_quantity_lots": 1}, "display_quantity_not_allowed"),
    (LIMIT, {"display_quantity_lots": 0}, "number_out_of_range"),
    (LIMIT, {"display_quantity_lots": 11}, "display_quantity_exceeds_quantity"),
    (LIMIT, {"minimum_quantity_lots": 0}, "number_out_of_range"),
    (LIMIT, {"minimum_quantity_lots": 11}, "minimum_quantity_exceeds_quantity"),
    (LIMIT, {"post_only": True, "time_in_force": "IOC"}, "post_only_not_allowed"),
    (LIMIT, {"post_only": True, "time_in_force": "FOK"}, "post_only_not_allowed"),
    (MARKET, {"post_only": True}, "post_only_not_allowed"),
    (STOP, {"post_only": True}, "post_only_not_allowed"),
    (GTD, {"expires_at_ns": None}, "expiry_required"),
    (GTD, {"expires_at_ns": 0}, "number_out_of_range"),
    (LIMIT, {"expires_at_ns": 5}, "expiry_not_allowed"),
    (MARKET, {"time_in_force": "GTD", "expires_at_ns": 5}, "expiry_not_allowed"),
    (CANCEL, {"original_client_order_id": ""}, "invalid_identifier"),
    (REPLACE, {"client_order_id": ""}, "invalid_identifier"),
    (REPLACE, {"price_ticks": None}, "nothing_to_replace"),
    (REPLACE, {"price_ticks": 0}, "number_out_of_range"),
    (REPLACE, {"quantity_lots": 0}, "number_out_of_range"),
    (MASS, {"account": None}, "invalid_identifier"),
    (MASS, {"command_id": "m m"}, "invalid_identifier"),
    (MASS, {"instrument": ""}, "invalid_identifier"),
    (MASS, {"side": "BOTH"}, "unknown_value"),
]


@pytest.mark.parametrize(("command", "changes"), GOOD)
def test_good_form_passes(command: msgspec.Struct, changes: dict[str, object]) -> None:
    """Every combination that the rules give a meaning passes."""
    assert refusal(msgspec.structs.replace(command, **changes)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("command", "changes", "reason"), BAD)
def test_bad_form_is_refused(command: msgspec.Struct, changes: dict[str, object], reason: str) -> None:
    """Every fault of form has its own reason, and a detail."""
    found = refusal(msgspec.structs.replace(command, **changes))  # type: ignore[arg-type]
    assert found is not None
    assert found[0] == reason
    assert found[1]


def test_every_reason_of_form_is_tested() -> None:
    """Reasons 4 to 17 are all made by this one function."""
    assert {CODES[reason] for _, _, reason in BAD} == set(range(4, 18))
