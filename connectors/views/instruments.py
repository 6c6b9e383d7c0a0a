"""Views of the instruments, as control has them."""

from typing import Any, Final, NamedTuple

import msgspec

from agents.stage.fold import Fold
from connectors.views.reference import Reference, e9
from connectors.views.view import LIMIT, Ask, NotFound, Number, View
from schemas.maximums import INT64_MAX
from schemas.reference import Instrument
from schemas.topics import PartitionCounts
from tables.control import ControlTables

_MINUTES: Final = 60


class Listed(NamedTuple):
    """An instrument, and whether a switch is on for it or for all."""

    instrument: Instrument
    is_halted: bool
    is_killed: bool


def _partition(_ask: Ask, _counts: PartitionCounts) -> int:
    return 0  # control has one


def _listed(tables: ControlTables, symbol: str) -> Listed:
    halts, kills = tables.halts, tables.kills
    return Listed(
        tables.instruments[symbol].instrument,
        is_halted=symbol in halts or None in halts,
        is_killed=(None, symbol) in kills or (None, None) in kills,
    )


def _read_one(fold: Fold, ask: Ask) -> Listed:
    tables, symbol = fold.tables, ask.names["symbol"]
    assert isinstance(tables, ControlTables)
    if symbol not in tables.instruments:
        raise NotFound(f"instrument {symbol!r} is not defined; GET /instruments lists those that are")
    return _listed(tables, symbol)


def _read_all(fold: Fold, ask: Ask) -> tuple[Listed, ...]:
    tables, first = fold.tables, ask.numbers["first"]
    assert isinstance(tables, ControlTables)
    page = sorted(tables.instruments)[first : first + ask.numbers["limit"]]
    return tuple(_listed(tables, symbol) for symbol in page)


def _shape_one(listed: Listed, reference: Reference) -> dict[str, Any]:
    it = listed.instrument
    reference.define(it)
    quantities, money = reference.of(it.symbol)[1], reference.money(it.currency)
    return {
        "symbol": it.symbol,
        "kind": it.kind,
        "currency": it.currency,
        "tick_size": e9(it.tick_size_e9),
        "lot_size": e9(it.lot_size_e9),
        "multiplier": it.multiplier,
        "maximum_quantity": quantities.format(it.maximum_quantity_lots),
        "maximum_notional": money.format(it.maximum_notional_minor),
        "collar_bps": it.collar_bps,
        "initial_margin_bps": it.initial_margin_bps,
        "settlement_days": it.settlement_days,
        "session_end_utc": "{:02}:{:02}".format(*divmod(it.session_end_minute_utc, _MINUTES)),
        "fee_class": it.fee_class,
        "trading_state": "HALTED" if listed.is_halted and it.trading_state == "OPEN" else it.trading_state,
        "is_killed": listed.is_killed,
        "definition": msgspec.to_builtins(it),
    }


def _shape_all(page: tuple[Listed, ...], reference: Reference) -> dict[str, Any]:
    return {"instruments": [_shape_one(listed, reference) for listed in page]}


def definition_of(shown: dict[str, Any]) -> Instrument:
    """The instrument that another worker's view shows."""
    return msgspec.convert(shown["definition"], Instrument)


ONE: Final = View(
    "/instruments/{symbol}",
    "/instruments/BTC-USD",
    "one of them",
    "control",
    _partition,
    _read_one,
    _shape_one,
)

VIEWS: Final = (
    View(
        "/instruments",
        "/instruments?limit=100&first=0",
        "what can be traded, by symbol; `definition` has the integers that records on topics count in",
        "control",
        _partition,
        _read_all,
        _shape_all,
        (LIMIT, Number("first", 0, 0, INT64_MAX)),
    ),
    ONE,
)
