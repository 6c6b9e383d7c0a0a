"""Settlement obligations by date and currency: what each account receives and delivers, gross, and net of each other.

What is open at the day's end: made on the day or before it, due on the day or after it. Netting is per account,
date, and asset (cash of a currency, or an instrument); over all accounts the nets of an asset are zero, since each
trade makes two obligations. Regulation (EU) No 909/2014 (CSDR), Article 5(2): the intended settlement date.
Fees are no obligations: they are posted on the trade's day.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from infra.reports.day import Day
from infra.reports.definitions import Definitions
from infra.reports.executions import executions
from infra.reports.notes import Notes
from infra.reports.rows import Rows
from schemas.flat import FlatSettlement
from schemas.maximums import NANOSECONDS_PER_DAY

CASH: Final = ""
LOOK_BACK_DAYS: Final = 7  # T+2 over a weekend is 4
UNBALANCED: Final = "nets are not zero over all accounts"
BEGINS_LATER: Final = "earlier obligations that may still be open are not in the source"


class Asset(NamedTuple):
    """What is owed to whom, and when: an instrument, or (CASH) the currency itself."""

    settlement_day: int
    currency: str
    account: str
    instrument: str


class Sums:
    """What is to be received and delivered, and over how many trades."""

    __slots__ = ("count", "deliver", "receive")

    def __init__(self) -> None:
        self.receive = self.deliver = self.count = 0


def obligations(rows: Rows, day: Day, definitions: Definitions, notes: Notes) -> Iterator[dict[str, Any]]:
    """By date, currency and account: cash first, then instruments."""
    for _ in executions(rows, day, notes):
        pass  # that none is missing
    since_ns = day.begin_ns - LOOK_BACK_DAYS * NANOSECONDS_PER_DAY
    if rows.since_ns > since_ns:
        notes.incomplete(BEGINS_LATER)
    sums: dict[Asset, Sums] = {}
    for it in rows.happened(FlatSettlement, since_ns, day.end_ns, ("ObligationCreated",)):
        if it.settlement_day is not None and it.settlement_day >= day.number:
            _add(sums, it)
    _check(sums, notes)
    for sequence, (asset, total) in enumerate(sorted(sums.items()), 1):
        yield _row(sequence, asset, total, definitions)


def _add(sums: dict[Asset, Sums], it: FlatSettlement) -> None:
    day, instrument = it.settlement_day or 0, it.instrument or CASH
    for asset, receive, deliver in (
        (Asset(day, it.currency, it.account, CASH), it.receive_minor, it.deliver_minor),
        (
            Asset(day, it.currency, it.account, instrument),
            it.receive_quantity_lots,
            it.deliver_quantity_lots,
        ),
    ):
        total = sums.setdefault(asset, Sums())
        total.receive += receive or 0
        total.deliver += deliver or 0
        total.count += 1


def _check(sums: dict[Asset, Sums], notes: Notes) -> None:
    nets: dict[tuple[int, str, str], int] = {}
    for asset, total in sums.items():
        key = asset.settlement_day, asset.currency, asset.instrument
        nets[key] = nets.get(key, 0) + total.receive - total.deliver
    for (day, currency, instrument), net in sorted(nets.items()):
        if net:
            notes.incomplete(UNBALANCED, f"{Day(day)} {instrument or currency}: {net}")


def _row(sequence: int, asset: Asset, total: Sums, definitions: Definitions) -> dict[str, Any]:
    def amount(steps: int) -> str | None:
        if asset.instrument == CASH:
            return definitions.money(asset.currency, steps)
        return definitions.quantity(asset.instrument, steps)

    return {
        "sequence": sequence,
        "settlement_date": str(Day(asset.settlement_day)),
        "currency": asset.currency,
        "account": asset.account,
        "asset": "CASH" if asset.instrument == CASH else "INSTRUMENT",
        "instrument": asset.instrument or None,
        "obligations": total.count,
        "gross_receive": amount(total.receive),
        "gross_deliver": amount(total.deliver),
        "net_receive": amount(max(total.receive - total.deliver, 0)),
        "net_deliver": amount(max(total.deliver - total.receive, 0)),
    }
