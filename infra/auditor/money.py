"""The arithmetic of money, written anew from `semantics.md`: the auditor takes none of the rules' code."""

from typing import Final, NamedTuple

from schemas.book_commands import Terms
from schemas.record import Side

NANOSECONDS_PER_DAY: Final = 86_400 * 10**9
WHOLE_BPS: Final = 10_000
_SATURDAY, _THURSDAY = 5, 3  # Monday is 0; the first day of 1970 was a Thursday


class Held(NamedTuple):
    """A position: lots and open cost, both negative when short, and all profit realised so far."""

    quantity_lots: int = 0
    open_cost_minor: int = 0
    realised_minor: int = 0
    version: int = 0


def notional(terms: Terms, price_ticks: int, quantity_lots: int) -> int:
    """Price times quantity in minor units."""
    return price_ticks * quantity_lots * terms.minor_per_tick_lot


def fee(amount: int, bps: int) -> int:
    """A charge is rounded up, a rebate (below zero) down in its amount."""
    if bps >= 0:
        return (amount * bps + WHOLE_BPS - 1) // WHOLE_BPS
    return -(amount * -bps // WHOLE_BPS)


def after_fill(held: Held, side: Side, quantity_lots: int, notional_minor: int) -> Held:
    """A position after a fill; its version is one more."""
    sign = 1 if side == "BUY" else -1
    quantity, cost = held.quantity_lots, held.open_cost_minor
    if quantity * sign >= 0:  # flat, or more of the same
        return Held(
            quantity + sign * quantity_lots,
            cost + sign * notional_minor,
            held.realised_minor,
            held.version + 1,
        )
    price = notional_minor // quantity_lots  # of one lot, exact
    closed = min(quantity_lots, abs(quantity))
    gone = cost if closed == abs(quantity) else (cost * closed) // abs(quantity)
    opened = quantity_lots - closed
    # What closing brings in (a sale) or costs (a purchase), less what the closed part had cost.
    profit = -sign * closed * price - gone
    return Held(
        quantity + sign * quantity_lots,
        cost - gone + sign * opened * price,
        held.realised_minor + profit,
        held.version + 1,
    )


def after_session(held: Held, mark_ticks: int, minor_per_tick_lot: int) -> Held:
    """A future's position after a session: it costs what it is worth at the mark, and the change is realised."""
    worth = mark_ticks * held.quantity_lots * minor_per_tick_lot
    profit = held.realised_minor + worth - held.open_cost_minor
    return Held(held.quantity_lots, worth, profit, held.version + 1)


def settlement_day(at_ns: int, weekdays: int) -> int:
    """So many weekdays after the trade's own day, in days since 1970."""
    day = at_ns // NANOSECONDS_PER_DAY
    for _ in range(weekdays):
        day += 1
        while (day + _THURSDAY) % 7 >= _SATURDAY:
            day += 1
    return day
