"""Money: the pure arithmetic that risk and settlement share, so that the two agree to the last minor unit.

All amounts are integers in minor units of one currency, quantities in lots, prices in ticks. A quantity, an
open cost and a change of cash are signed (short, owed and paid are negative); a notional never is. Python's
integers do not wrap: what is kept or sent must fit an int64, which ``fits`` tells beforehand (a refusal)
and ``book_fill`` asserts (what risk let through must fit).
"""

import msgspec

from schemas.book_commands import Terms
from schemas.maximums import BASIS_POINTS, INT64_MAX
from schemas.record import Liquidity, Side


class Booked(msgspec.Struct, frozen=True, gc=False):
    """A position after a fill, and what the fill moves.

    ``cash_minor`` is the whole change of cash, the fee taken off; ``fee_minor`` below zero is a rebate.
    ``unsettled_minor`` of that change is a receipt which waits for its settlement day. ``closed_lots`` (never
    negative) of the fill closed a position, the rest opened one.
    """

    quantity_lots: int
    open_cost_minor: int
    realised_profit_minor: int
    closed_lots: int
    notional_minor: int
    fee_minor: int
    cash_minor: int
    unsettled_minor: int


def fits(amount: int) -> bool:
    """Whether an amount may be kept and sent: an int64 that can be negated."""
    return -INT64_MAX <= amount <= INT64_MAX


def notional_minor(price_ticks: int, quantity_lots: int, minor_per_tick_lot: int) -> int:
    """What a quantity is worth at a price; exact, since tick x lot x multiplier is whole in minor units."""
    return price_ticks * quantity_lots * minor_per_tick_lot


def fee_minor(notional: int, bps: int) -> int:
    """The fee of one fill: ceil(|notional| x bps / 10,000) when charged; a rebate's amount is floored.

    Both are the same ceiling of a signed number: a fraction of a unit always goes to the house.
    """
    return -(-abs(notional) * bps // BASIS_POINTS)


def margin_minor(exposure: int, margin_bps: int) -> int:
    """The margin of an exposure in minor units, zero or more: ceil(exposure x bps / 10,000)."""
    return -(-exposure * margin_bps // BASIS_POINTS)


def book_fill(
    held_lots: int,
    open_cost_minor: int,
    terms: Terms,
    side: Side,
    liquidity: Liquidity,
    price_ticks: int,
    fill_lots: int,
) -> Booked:
    """Books one fill (``fill_lots`` above zero) on a position of ``held_lots`` with that open cost.

    A fill with the position adds its notional to the cost. A fill against it closes: it takes
    floor(cost x closed / held) of the cost, the last lot all that is left, and realises the difference to
    the trade's price; what goes through zero opens at the trade's price. A spot or equity fill moves the
    notional, a future only the realised profit. AssertionError if a result leaves int64.
    """
    signed = fill_lots if side == "BUY" else -fill_lots
    notional = price_ticks * fill_lots * terms.minor_per_tick_lot
    fee = fee_minor(notional, terms.maker_bps if liquidity == "MAKER" else terms.taker_bps)
    paid = notional if side == "BUY" else -notional
    if held_lots * signed >= 0:
        closed, cost, profit = 0, open_cost_minor + paid, 0
    else:
        closed = min(abs(held_lots), fill_lots)
        cost, profit = _close(held_lots, open_cost_minor, signed, closed, paid)
    future = terms.kind == "FUTURE"
    cash = (profit if future else -paid) - fee
    waits = cash > 0 and not future and terms.settlement_days > 0
    assert fits(max(abs(cost), abs(cash), notional)), "a fill that risk let through must fit an int64"
    return Booked(held_lots + signed, cost, profit, closed, notional, fee, cash, cash if waits else 0)


def book_variation(held_lots: int, open_cost_minor: int, price_ticks: int, minor_per_tick_lot: int) -> int:
    """A future's variation at a session's mark: what its open cost and its holder's cash both rise by.

    Afterwards the position costs what it is worth at the mark, so variations add up: that of two sessions is
    that of the second alone. AssertionError if a result leaves int64.
    """
    worth = notional_minor(price_ticks, held_lots, minor_per_tick_lot)
    amount = worth - open_cost_minor
    assert fits(worth), f"{held_lots} lots at a mark of {price_ticks} leave int64"
    assert fits(amount), f"a variation of {amount} leaves int64"
    return amount


def _close(held_lots: int, cost_minor: int, signed: int, closed: int, paid: int) -> tuple[int, int]:
    """(open cost, realised profit) after ``closed`` lots of the position went at the fill's price."""
    fill_lots = abs(signed)
    closing_paid = paid * closed // fill_lots  # exact: paid is a whole multiple of fill_lots
    taken = cost_minor if closed == abs(held_lots) else cost_minor * closed // abs(held_lots)
    opened = paid - closing_paid
    return cost_minor - taken + opened, -closing_paid - taken
