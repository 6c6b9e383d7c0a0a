"""The trade blotter of a day: every trade with both its sides, its fees and its settlement date.

Regulation (EU) No 600/2014 (MiFIR), Article 25(1): a firm keeps the relevant data of all its transactions. The
regulation prescribes no layout; names are FIX's where it has one. A fee below zero is a rebate.
"""

from collections.abc import Iterator
from typing import Any

from infra.reports.day import Day, utc
from infra.reports.definitions import Definitions
from infra.reports.executions import Execution, executions
from infra.reports.notes import Notes
from infra.reports.rows import Rows
from schemas.record import Side


def trades(rows: Rows, day: Day, definitions: Definitions, notes: Notes) -> Iterator[dict[str, Any]]:
    """The day's trades by time, then as the tables' key orders them."""
    for sequence, it in enumerate(executions(rows, day, notes), 1):
        yield _row(sequence, it, definitions)


def _row(sequence: int, it: Execution, definitions: Definitions) -> dict[str, Any]:
    trade, maker = it.trade, it.confirmations["MAKER"]
    sides = {confirmed.side: liquidity for liquidity, confirmed in it.confirmations.items()}
    row = {
        "sequence": sequence,
        "time": utc(trade.at_ns),
        "trade_id": f"{trade.epoch}-{trade.trade_id}",
        "instrument": trade.instrument,
        "currency": maker.currency,
        "price": definitions.price(trade.instrument, trade.price_ticks),
        "quantity": definitions.quantity(trade.instrument, trade.quantity_lots),
        "notional": definitions.money(maker.currency, maker.notional_minor),
        "aggressor_side": trade.aggressor_side,
        "settlement_date": str(Day(maker.settlement_day or 0)),
    }
    names: tuple[tuple[str, Side], ...] = ("buy", "BUY"), ("sell", "SELL")
    for name, side in names:
        confirmed = it.confirmations[sides[side]]
        row |= {
            f"{name}_account": confirmed.account,
            f"{name}_client_order_id": confirmed.client_order_id,
            f"{name}_order_id": f"{trade.epoch}-{confirmed.order_id}",
            f"{name}_liquidity": confirmed.liquidity,
            f"{name}_fee": definitions.money(confirmed.currency, confirmed.fee_minor),
            f"{name}_realised_profit": definitions.money(confirmed.currency, confirmed.realised_profit_minor),
        }
    return row
