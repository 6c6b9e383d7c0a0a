"""The YAML files of instruments and accounts (connectors/README.md has their form), read exactly.

Every scalar is taken as the text that stands in the file: 0.01 is a hundredth, and no float comes near it.
"""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from agents.rules.reference import (
    CURRENCY_EXPONENT_MAX,
    account_fault,
    instrument_fault,
    minor_per_tick_lot,
)
from connectors.decimals import Grid
from infra.errors import OperatorError
from schemas.record import AccountStatus, AccountType, InstrumentKind, SelfTradePrevention, TradingState
from schemas.reference import Account, FeeRate, Instrument, Limits

_PARTS: Final = ("currencies", "instruments", "accounts")
_SIZES: Final = Grid(1, "smallest step")
_MINUTES_PER_HOUR: Final = 60


class _InstrumentEntry(msgspec.Struct, forbid_unknown_fields=True):
    symbol: str
    kind: InstrumentKind
    currency: str
    tick_size: str
    lot_size: str
    maximum_quantity: str
    maximum_notional: str
    multiplier: int = 1
    collar_bps: int | None = None
    initial_margin_bps: int = 10_000
    settlement_days: int = 0
    session_end: str = "00:00"
    fee_class: str = "default"
    trading_state: TradingState = "OPEN"


class _Fees(msgspec.Struct, forbid_unknown_fields=True):
    maker_bps: int
    taker_bps: int


class _Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As ``schemas.reference.Limits``, which takes what it does not know."""

    maximum_order_quantity_lots: int | None = None
    maximum_order_notional_minor: int | None = None
    maximum_messages_per_second: int | None = None
    maximum_repeated_orders_per_second: int | None = None
    maximum_open_orders: int | None = None
    maximum_position_lots: int | None = None


class _AccountEntry(msgspec.Struct, forbid_unknown_fields=True):
    account: str
    account_type: AccountType = "CASH"
    status: AccountStatus = "ACTIVE"
    self_trade_group: str | None = None
    self_trade_prevention: SelfTradePrevention = "CANCEL_NEWEST"
    fees: dict[str, _Fees] = {}
    limits: _Limits = _Limits()
    permitted_instruments: tuple[str, ...] = ()
    restricted_instruments: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()


T = TypeVar("T")


def read_instruments(path: Path) -> tuple[Instrument, ...]:
    """The instruments of a file, in its order.

    Raises:
        OperatorError: a line for the first fault, naming file, entry and field.

    """
    parts = _parts(path, "instruments")
    exponents = _convert(parts.get("currencies", {}), dict[str, int], f"{path}: currencies")
    for currency, exponent in exponents.items():
        if not 0 <= exponent <= CURRENCY_EXPONENT_MAX:
            raise OperatorError(
                f"{path}: currencies: {currency} has {exponent} decimals, not 0 to {CURRENCY_EXPONENT_MAX}"
            )
    found: dict[str, Instrument] = {}
    for number, raw in enumerate(parts["instruments"], 1):
        where = _where(path, "instrument", number, raw, "symbol")
        instrument = _instrument(_convert(raw, _InstrumentEntry, where), exponents, where)
        if fault := instrument_fault(instrument):
            raise OperatorError(f"{where}: {fault}")
        _add(found, instrument.symbol, instrument, where)
    return tuple(found.values())


def read_accounts(path: Path) -> tuple[Account, ...]:
    """The accounts of a file, in its order.

    Raises:
        OperatorError: a line for the first fault, naming file, entry and field.

    """
    found: dict[str, Account] = {}
    for number, raw in enumerate(_parts(path, "accounts")["accounts"], 1):
        where = _where(path, "account", number, raw, "account")
        account = _account(_convert(raw, _AccountEntry, where))
        if fault := account_fault(account):
            raise OperatorError(f"{where}: {fault}")
        _add(found, account.account, account, where)
    return tuple(found.values())


def _instrument(entry: _InstrumentEntry, exponents: dict[str, int], where: str) -> Instrument:
    exponent = exponents.get(entry.currency)
    if exponent is None:
        raise OperatorError(f"{where}: currency {entry.currency} is not under currencies, with its decimals")
    tick_size_e9 = _size(entry.tick_size, "tick_size", where)
    lot_size_e9 = _size(entry.lot_size, "lot_size", where)
    lots, money = Grid(lot_size_e9, "lot size"), Grid(1, "minor unit", exponent)
    unit = minor_per_tick_lot(tick_size_e9, lot_size_e9, entry.multiplier, exponent)
    return Instrument(
        symbol=entry.symbol,
        kind=entry.kind,
        currency=entry.currency,
        currency_exponent=exponent,
        tick_size_e9=tick_size_e9,
        lot_size_e9=lot_size_e9,
        multiplier=entry.multiplier,
        minor_per_tick_lot=0 if unit is None else unit,  # the fault of the two sizes is found first
        maximum_quantity_lots=_steps(lots, entry.maximum_quantity, "maximum_quantity", where),
        maximum_notional_minor=_steps(money, entry.maximum_notional, "maximum_notional", where),
        collar_bps=entry.collar_bps,
        initial_margin_bps=entry.initial_margin_bps,
        settlement_days=entry.settlement_days,
        session_end_minute_utc=_minute(entry.session_end, where),
        fee_class=entry.fee_class,
        trading_state=entry.trading_state,
    )


def _account(entry: _AccountEntry) -> Account:
    return Account(
        account=entry.account,
        account_type=entry.account_type,
        status=entry.status,
        self_trade_group=entry.self_trade_group,
        self_trade_prevention=entry.self_trade_prevention,
        fee_rates=tuple(
            FeeRate(fee_class=name, maker_bps=fees.maker_bps, taker_bps=fees.taker_bps)
            for name, fees in entry.fees.items()
        ),
        limits=Limits(**msgspec.structs.asdict(entry.limits)),
        permitted_instruments=entry.permitted_instruments,
        restricted_instruments=entry.restricted_instruments,
        clients=entry.clients,
    )


def _parts(path: Path, wanted: str) -> dict[str, Any]:
    try:
        # The base loader knows strings, lists and mappings only: it makes no object and no number.
        parts = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: {error}") from error
    except yaml.YAMLError as error:
        raise OperatorError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(parts, dict) or not isinstance(parts.get(wanted), list):
        raise OperatorError(f"{path}: there is no list `{wanted}:`")
    if unknown := sorted(set(parts) - set(_PARTS)):
        raise OperatorError(f"{path}: {unknown[0]!r} is not one of {', '.join(_PARTS)}")
    return parts


def _where(path: Path, kind: str, number: int, raw: object, key: str) -> str:
    name = raw.get(key, "") if isinstance(raw, dict) else ""
    return f"{path}: {kind} {number} ({name})" if name else f"{path}: {kind} {number}"


def _convert(raw: object, kind: type[T], where: str) -> T:
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        raise OperatorError(f"{where}: {error}") from None


def _add(found: dict[str, T], name: str, entry: T, where: str) -> None:
    if name in found:
        raise OperatorError(f"{where}: {name} is in the file twice")
    found[name] = entry


def _size(text: str, field: str, where: str) -> int:
    size = _steps(_SIZES, text, field, where)
    if size < 1:
        raise OperatorError(f"{where}: {field} {text} is not above zero")
    return size


def _steps(grid: Grid, text: str, field: str, where: str) -> int:
    try:
        return grid.parse(text)
    except ValueError as error:
        raise OperatorError(f"{where}: {field} {error}") from None


def _minute(text: str, where: str) -> int:
    hours, _, minutes = text.partition(":")
    if not (hours.isdecimal() and minutes.isdecimal() and int(minutes) < _MINUTES_PER_HOUR):
        raise OperatorError(f"{where}: session_end {text!r} is not a time of day in UTC, as 17:00")
    return int(hours) * _MINUTES_PER_HOUR + int(minutes)
