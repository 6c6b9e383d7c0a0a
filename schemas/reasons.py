"""Reasons for refusal and cancellation: a sentence-like name and a number that never changes meaning."""

from types import MappingProxyType
from typing import Final

# 1-99: a command that cannot be understood (the edges)
# 100-199: risk's checks, in the order in which they are made
# 200-299: matching
# 300-399: why an accepted order ended
# 400-499: cash and control
CODES: Final = MappingProxyType(
    {
        "undecodable": 1,
        "unknown_schema": 2,
        "unknown_type": 3,
        "invalid_identifier": 4,
        "unknown_value": 5,
        "number_out_of_range": 6,
        "price_required": 7,
        "price_not_allowed": 8,
        "stop_price_required": 9,
        "stop_price_not_allowed": 10,
        "expiry_required": 11,
        "expiry_not_allowed": 12,
        "display_quantity_not_allowed": 13,
        "display_quantity_exceeds_quantity": 14,
        "minimum_quantity_exceeds_quantity": 15,
        "post_only_not_allowed": 16,
        "nothing_to_replace": 17,
        "not_your_account": 18,
        "record_too_large": 19,
        "client_order_id_already_used": 100,
        "command_too_old": 101,
        "unknown_account": 102,
        "unknown_instrument": 103,
        "trading_killed": 104,
        "account_killed": 105,
        "instrument_killed": 106,
        "account_suspended": 107,
        "account_closed": 108,
        "instrument_not_permitted": 109,
        "instrument_restricted": 110,
        "instrument_halted": 111,
        "session_closed": 112,
        "invalid_price": 113,
        "invalid_quantity": 114,
        "quantity_exceeds_maximum": 115,
        "notional_exceeds_maximum": 116,
        "price_outside_collar": 117,
        "no_reference_price": 118,
        "message_rate_exceeded": 119,
        "repeated_order_throttled": 120,
        "open_orders_exceed_maximum": 121,
        "position_limit_exceeded": 122,
        "insufficient_cash": 123,
        "insufficient_holding": 124,
        "insufficient_margin": 125,
        "reducing_orders_only": 126,
        "arithmetic_overflow": 127,
        "expiry_in_the_past": 128,
        "post_only_would_trade": 200,
        "fok_not_fillable": 201,
        "minimum_quantity_not_met": 202,
        "unknown_order": 203,
        "order_closed": 204,
        "order_id_in_use": 205,
        "requested": 300,
        "mass_cancel": 301,
        "killed": 302,
        "immediate_or_cancel": 303,
        "no_liquidity": 304,
        "price_protection": 305,
        "self_trade_prevention": 306,
        "replaced_to_filled": 307,
        "too_many_fills": 308,
        "command_id_already_used": 400,
        "invalid_amount": 401,
        "insufficient_free_cash": 402,
        "invalid_instrument": 403,
        "invalid_account": 404,
        "unchangeable_field": 405,
        "unknown_rules_version": 406,
        "invalid_command": 407,
    }
)


def code(reason: str) -> int:
    """The stable number of a reason; KeyError for one that is not listed."""
    return CODES[reason]
