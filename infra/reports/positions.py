"""Positions and profit of a day: opening, movements, closing; profit realised, and unrealised at the mark.

Regulation (EU) No 600/2014 (MiFIR), Article 25(1), and Delegated Regulation (EU) 2017/565, Article 63 (statement of
client holdings). Cost is what the holding cost, signed as the quantity; a movement changes it linearly
(agents/rules/money.py):

    quantity += bought - sold        cost += bought notional - sold notional + realised
    unrealised = mark x quantity x unit - cost

A statement ties when opening + movements = closing for both, the closing being what settlement says itself.
"""

from collections.abc import Iterator
from typing import Any, Final

from infra.reports.day import Day
from infra.reports.definitions import Definitions
from infra.reports.executions import executions
from infra.reports.notes import Notes
from infra.reports.rows import Rows
from schemas.flat import FlatPosition, FlatSettlement

Key = tuple[str, str]
"""An account and an instrument."""

EVENTS: Final = ("TradeConfirmed", "VariationSettled")
FOREVER_NS: Final = 2**63 - 1
UNTIED: Final = "positions do not tie"
UNKNOWN: Final = "the opening position is not known"
NO_MARK: Final = "no mark before the day's end"


class Moved:
    """What movements of a span add up to."""

    __slots__ = ("bought", "bought_minor", "count", "fees", "realised", "sold", "sold_minor", "variation")

    def __init__(self) -> None:
        self.bought = self.sold = self.bought_minor = self.sold_minor = 0
        self.realised = self.variation = self.fees = self.count = 0

    def add(self, it: FlatSettlement) -> None:
        """A confirmation, or a variation."""
        self.count += 1
        if it.event == "VariationSettled":
            self.variation += it.amount_minor or 0
            return
        lots, notional = it.quantity_lots or 0, it.notional_minor or 0
        self.realised += it.realised_profit_minor or 0
        self.fees += it.fee_minor or 0
        if it.side == "BUY":
            self.bought, self.bought_minor = self.bought + lots, self.bought_minor + notional
        else:
            self.sold, self.sold_minor = self.sold + lots, self.sold_minor + notional

    @property
    def quantity(self) -> int:
        """By how much the holding changed, in lots."""
        return self.bought - self.sold

    @property
    def cost(self) -> int:
        """By how much its cost changed, in minor units."""
        return self.bought_minor - self.sold_minor + self.realised + self.variation


class Statement:
    """One holding's day: what moved before it, on it and after it, and what settlement says it is now."""

    __slots__ = ("after", "before", "currency", "now", "on")

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self.before, self.on, self.after = Moved(), Moved(), Moved()
        self.now: FlatPosition | None = None

    @property
    def count(self) -> int:
        """How many movements are known."""
        return self.before.count + self.on.count + self.after.count


def positions(rows: Rows, day: Day, definitions: Definitions, notes: Notes) -> Iterator[dict[str, Any]]:
    """By account and instrument: what was held at the day's start or end, or moved on it."""
    for _ in executions(rows, day, notes):
        pass  # that none is missing
    statements = _statements(rows, day)
    marks = rows.marks(day.end_ns)
    sequence = 0
    for key, it in sorted(statements.items()):
        opening = _opening(key, it, rows.since_ns, notes)
        closing = opening[0] + it.on.quantity, opening[1] + it.on.cost
        if any((*opening, *closing, it.on.count)):
            sequence += 1
            yield _row(sequence, key, it, opening, closing, marks, definitions, notes)


def _statements(rows: Rows, day: Day) -> dict[Key, Statement]:
    found: dict[Key, Statement] = {}
    for it in rows.happened(FlatSettlement, 0, FOREVER_NS, EVENTS):
        statement = found.setdefault((it.account, it.instrument or ""), Statement(it.currency))
        if it.at_ns < day.begin_ns:
            statement.before.add(it)
        elif it.at_ns < day.end_ns:
            statement.on.add(it)
        else:
            statement.after.add(it)
    for held in rows.latest(FlatPosition):
        found.setdefault((held.account, held.instrument), Statement(held.currency)).now = held
    return found


def _opening(key: Key, it: Statement, since_ns: int, notes: Notes) -> tuple[int, int]:
    """Lots and cost at the day's start: all movements before it, or what is held now less all movements since.

    Where both are known they must agree: that is the tie, as the one comes from trades and the other from settlement.
    """
    name, now = " ".join(key), it.now
    forward = it.before.quantity, it.before.cost
    if now is None:
        notes.incomplete(UNKNOWN, f"{name}: settlement's own word of it is not in the source")
        return forward
    since = it.on.count + it.after.count
    if since > now.version:
        notes.incomplete(UNTIED, f"{name}: {it.count} movements, and settlement knows of {now.version}")
        return forward
    backward = (
        now.quantity_lots - it.on.quantity - it.after.quantity,
        now.open_cost_minor - it.on.cost - it.after.cost,
    )
    if it.count == now.version or not since_ns:
        if forward != backward or it.count != now.version:
            notes.incomplete(
                UNTIED,
                f"{name}: {it.count} movements give {forward} at the start, settlement's version {now.version}"
                f" {backward}",
            )
        return forward
    return backward


def _row(
    sequence: int,
    key: Key,
    it: Statement,
    opening: tuple[int, int],
    closing: tuple[int, int],
    marks: Any,
    definitions: Definitions,
    notes: Notes,
) -> dict[str, Any]:
    account, instrument = key
    mark, unit = marks.get(instrument), definitions.instruments.get(instrument)
    unrealised = None
    if not closing[0]:
        unrealised = -closing[1]
    elif mark is not None and unit is not None:
        unrealised = mark * closing[0] * unit.minor_per_tick_lot - closing[1]
    else:
        notes.incomplete(NO_MARK, instrument)

    def lots(steps: int) -> str | None:
        return definitions.quantity(instrument, steps)

    def money(minor: int | None) -> str | None:
        return definitions.money(it.currency, minor)

    return {
        "sequence": sequence,
        "account": account,
        "instrument": instrument,
        "currency": it.currency,
        "opening_quantity": lots(opening[0]),
        "opening_cost": money(opening[1]),
        "bought_quantity": lots(it.on.bought),
        "bought_notional": money(it.on.bought_minor),
        "sold_quantity": lots(it.on.sold),
        "sold_notional": money(it.on.sold_minor),
        "movements": it.on.count,
        "variation": money(it.on.variation),
        "realised_profit": money(it.on.realised + it.on.variation),
        "fees": money(it.on.fees),
        "closing_quantity": lots(closing[0]),
        "closing_cost": money(closing[1]),
        "mark_price": definitions.price(instrument, mark),
        "unrealised_profit": money(unrealised),
    }
