"""What reference data must be like before control sequences it; each function names the first fault."""

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from agents.rules.intake import is_identifier, not_identifier, not_in_range
from schemas.maximums import BASIS_POINTS, INT64_MAX
from schemas.record import AccountStatus, AccountType, InstrumentKind, SelfTradePrevention, TradingState
from schemas.reference import Account, Instrument, Limits

CURRENCY_EXPONENT_MAX: Final = 18  # 10**18 minor units to the unit is the last power of ten that fits int64
SETTLEMENT_DAYS: Final = (0, 1, 2)
SESSION_MINUTES: Final = 24 * 60
UNITS_E9: Final = 10**9

# The engine's own accounts: with the partition's number behind them (see agents/rules/settlement).
HOUSE: Final = "house:"
CLEARING: Final = "clearing:"
OUTSIDE: Final = "cash:"
RESERVED_ACCOUNTS: Final = (HOUSE, CLEARING, OUTSIDE)

# Open orders, holds and positions are counted on these: they stay what they were when the symbol was made.
UNCHANGEABLE: Final = (
    "kind",
    "currency",
    "currency_exponent",
    "tick_size_e9",
    "lot_size_e9",
    "multiplier",
)


def minor_per_tick_lot(tick_size_e9: int, lot_size_e9: int, multiplier: int, exponent: int) -> int | None:
    """Tick x lot x multiplier in minor units of a currency of this exponent; None if that is not whole."""
    minor, rest = divmod(tick_size_e9 * lot_size_e9 * multiplier * 10**exponent, UNITS_E9**2)
    return None if rest else minor


def instrument_fault(instrument: Instrument) -> str | None:
    """What makes an instrument impossible."""
    return (
        _identifiers_fault(
            {
                "symbol": instrument.symbol,
                "currency": instrument.currency,
                "fee_class": instrument.fee_class,
            }
        )
        or _word_fault("kind", instrument.kind, get_args(InstrumentKind))
        or _word_fault("trading_state", instrument.trading_state, get_args(TradingState))
        or _range_fault("currency_exponent", instrument.currency_exponent, 0, CURRENCY_EXPONENT_MAX)
        or _range_fault("tick_size_e9", instrument.tick_size_e9, 1)
        or _range_fault("lot_size_e9", instrument.lot_size_e9, 1)
        or _range_fault("multiplier", instrument.multiplier, 1)
        or _range_fault("maximum_quantity_lots", instrument.maximum_quantity_lots, 1)
        or _range_fault("maximum_notional_minor", instrument.maximum_notional_minor, 1)
        or _range_fault("collar_bps", instrument.collar_bps, 0)
        or _range_fault("initial_margin_bps", instrument.initial_margin_bps, 0)
        or _range_fault("session_end_minute_utc", instrument.session_end_minute_utc, 0, SESSION_MINUTES - 1)
        or _word_fault("settlement_days", instrument.settlement_days, SETTLEMENT_DAYS)
        or _unit_fault(instrument)
    )


def changed_field(old: Instrument, new: Instrument) -> str | None:
    """The first unchangeable field in which a new definition of a symbol differs from the one in force."""
    for name in UNCHANGEABLE:
        if getattr(old, name) != getattr(new, name):
            return f"{name} of {old.symbol} is {getattr(old, name)} for good: use another symbol"
    return None


def account_fault(account: Account) -> str | None:
    """What makes an account impossible."""
    if account.account.startswith(RESERVED_ACCOUNTS):
        return f"account {account.account!r}: names that start so are the engine's own"
    group = account.self_trade_group
    return (
        _identifiers_fault(
            {"account": account.account, "self_trade_group": account.account if group is None else group}
        )
        or _word_fault("account_type", account.account_type, get_args(AccountType))
        or _word_fault("status", account.status, get_args(AccountStatus))
        or _word_fault("self_trade_prevention", account.self_trade_prevention, get_args(SelfTradePrevention))
        or _fees_fault(account)
        or limits_fault(account.limits)
        or _list_fault("permitted_instruments", account.permitted_instruments)
        or _list_fault("restricted_instruments", account.restricted_instruments)
        or _list_fault("clients", account.clients)
    )


def limits_fault(limits: Limits) -> str | None:
    """What makes limits impossible; zero is a bound like another."""
    for name, bound in msgspec.structs.asdict(limits).items():
        if fault := _range_fault(name, bound, 0):
            return fault
    return None


def _unit_fault(instrument: Instrument) -> str | None:
    minor = minor_per_tick_lot(
        instrument.tick_size_e9, instrument.lot_size_e9, instrument.multiplier, instrument.currency_exponent
    )
    if minor is None:
        return (
            f"tick x lot x multiplier is no whole number of minor units of {instrument.currency}"
            f" (10**-{instrument.currency_exponent}): take a larger tick or lot, or more currency decimals"
        )
    if minor != instrument.minor_per_tick_lot:
        return (
            f"minor_per_tick_lot is {instrument.minor_per_tick_lot}, but tick x lot x multiplier is {minor}"
        )
    return _range_fault("minor_per_tick_lot", minor, 1)


def _fees_fault(account: Account) -> str | None:
    if fault := _list_fault("fee_rates", tuple(rate.fee_class for rate in account.fee_rates)):
        return fault
    for rate in account.fee_rates:
        for name, bps in (("maker_bps", rate.maker_bps), ("taker_bps", rate.taker_bps)):
            if fault := _range_fault(f"{name} of {rate.fee_class}", bps, -BASIS_POINTS, BASIS_POINTS):
                return fault
    return None


def _identifiers_fault(names: Mapping[str, str]) -> str | None:
    for name, value in names.items():
        if not is_identifier(value):
            return not_identifier(name, value)[1]
    return None


def _list_fault(name: str, values: tuple[str, ...]) -> str | None:
    if len(set(values)) < len(values):
        return f"{name} names something twice"
    for value in values:
        if fault := _identifiers_fault({name: value}):
            return fault
    return None


def _range_fault(name: str, value: int | None, least: int, most: int = INT64_MAX) -> str | None:
    if value is None or least <= value <= most:
        return None
    return not_in_range(name, value, least, most)[1]


def _word_fault(name: str, value: object, allowed: tuple[object, ...]) -> str | None:
    return None if value in allowed else f"{name} {value!r} is not one of {', '.join(map(str, allowed))}"
