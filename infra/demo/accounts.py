"""Who trades in the demo, in what and on which terms: 200 margin accounts drawn from the order ids.

1 lot is 1e-8 BTC and 1 tick 0.01 USD, so tick x lot is 1e-10 USD: the currency's exponent is 10, and an int64
holds 922 million USD. All deposits together stay below it, as the clearing account carries their sum.
"""

from collections.abc import Mapping
from typing import Final

from schemas.commands import DefineAccount, DefineInstrument, Deposit, SetMark
from schemas.maximums import BASIS_POINTS, INT64_MAX
from schemas.partitioner import partition_of
from schemas.reference import Account, FeeRate, Instrument

SYMBOL: Final = "BTC-USD"
CURRENCY: Final = "USD"
MINOR_PER_USD: Final = 10**10
TICKS_PER_USD: Final = 100
LOTS_PER_BTC: Final = 10**8
ACCOUNTS: Final = 200  # as many as a desk has clients, and enough for every account partition to have work
MARGIN_BPS: Final = 500  # the recorded book needs 164 million USD then, which leaves room in the int64
SPARE_USD: Final = (
    3_000_000  # orders on their way hold margin too, some seconds of them while a stage restarts
)
FEES: Final = FeeRate(fee_class="crypto", maker_bps=1, taker_bps=3)

INSTRUMENT: Final = Instrument(
    symbol=SYMBOL,
    kind="SPOT",
    currency=CURRENCY,
    currency_exponent=10,
    tick_size_e9=10**9 // TICKS_PER_USD,
    lot_size_e9=10**9 // LOTS_PER_BTC,
    multiplier=1,
    minor_per_tick_lot=1,
    maximum_quantity_lots=200_000 * LOTS_PER_BTC,  # the recording has one order of 138,800 BTC, at 1 USD
    maximum_notional_minor=INT64_MAX,
    collar_bps=None,  # the recorded book reaches from 0 to 999,999,999 USD
    initial_margin_bps=MARGIN_BPS,
    fee_class=FEES.fee_class,
)


def account_of(order_id: str) -> str:
    """The account that an exchange's order id is given to: the recording does not say whose it was."""
    return f"acct-{partition_of(order_id, ACCOUNTS):03d}"


ACCOUNT_NAMES: Final = tuple(f"acct-{number:03d}" for number in range(ACCOUNTS))


def reference(at_ns: int) -> tuple[DefineInstrument | DefineAccount, ...]:
    """What control is told first; orders of one account may meet, as they did, so nothing prevents it."""
    accounts = (
        Account(
            account=name,
            account_type="MARGIN",
            self_trade_prevention="NONE",
            fee_rates=(FEES,),
        )
        for name in ACCOUNT_NAMES
    )
    return (
        DefineInstrument(command_id=f"define-{SYMBOL}", instrument=INSTRUMENT, at_ns=at_ns),
        *(DefineAccount(command_id=f"define-{each.account}", account=each, at_ns=at_ns) for each in accounts),
    )


def mark(price_ticks: int, at_ns: int) -> SetMark:
    """An operator's mark before the opening: without one there is no margin to compute."""
    return SetMark(command_id="opening-mark", instrument=SYMBOL, price_ticks=price_ticks, at_ns=at_ns)


def deposits(open_lots: Mapping[str, int], mark_ticks: int, at_ns: int) -> tuple[Deposit, ...]:
    """Cash for the most that each account has open: its margin at the mark, a quarter more, and the spare.

    The quarter pays for fees and a moving price. AssertionError if the sum does not fit the clearing account.
    """
    cash = tuple(
        Deposit(
            account=name,
            command_id=f"deposit-{name}",
            currency=CURRENCY,
            amount_minor=_margin_minor(open_lots.get(name, 0), mark_ticks) * 5 // 4
            + SPARE_USD * MINOR_PER_USD,
            at_ns=at_ns,
        )
        for name in ACCOUNT_NAMES
    )
    total = sum(each.amount_minor for each in cash)
    assert total <= INT64_MAX, f"deposits of {total} minor units do not fit the clearing account"
    return cash


def can_be_valued(lots: int, mark_ticks: int) -> bool:
    """Whether a quantity at the mark fits an int64 of minor units; the engine refuses what does not."""
    return lots * mark_ticks * INSTRUMENT.minor_per_tick_lot <= INT64_MAX


def _margin_minor(lots: int, mark_ticks: int) -> int:
    return lots * mark_ticks * INSTRUMENT.minor_per_tick_lot * MARGIN_BPS // BASIS_POINTS
