"""What settlement says: positions, balances, double-entry postings, obligations, confirmations."""

from schemas.record import Liquidity, Record, Side


class PositionChanged(Record, frozen=True, gc=False, kw_only=True):
    """A holding after a change: lots (short is negative) and its open cost in minor units, same sign."""

    account: str
    instrument: str
    currency: str
    quantity_lots: int
    open_cost_minor: int
    realised_profit_minor: int
    version: int
    at_ns: int


class BalanceChanged(Record, frozen=True, gc=False, kw_only=True):
    """Cash of an account in one currency after a change; ``unsettled_minor`` waits for its date."""

    account: str
    currency: str
    cash_minor: int
    unsettled_minor: int
    version: int
    at_ns: int


class Posting(Record, frozen=True, gc=False, kw_only=True):
    """One transfer of the ledger: ``amount_minor`` (more than zero) from ``debit`` to ``credit``.

    A transfer balances by construction, so any set of them sums to zero. ``kind``: TRADE, FEE, REBATE,
    DEPOSIT, WITHDRAWAL, VARIATION. ``source_id`` is the trade id, or the command's id as text.
    """

    posting_id: int
    kind: str
    debit_account: str
    credit_account: str
    currency: str
    amount_minor: int
    source_id: str
    at_ns: int


class TradeConfirmed(Record, frozen=True, gc=False, kw_only=True):
    """One side's confirmation of one fill, with its money."""

    trade_id: int
    account: str
    client_order_id: str
    order_id: int
    instrument: str
    side: Side
    liquidity: Liquidity
    price_ticks: int
    quantity_lots: int
    currency: str
    notional_minor: int
    fee_minor: int
    realised_profit_minor: int
    settlement_day: int
    at_ns: int


class ObligationCreated(Record, frozen=True, gc=False, kw_only=True):
    """What an account must deliver and receive on a day (days since 1970-01-01, weekdays only)."""

    trade_id: int
    account: str
    instrument: str
    settlement_day: int
    currency: str
    receive_quantity_lots: int
    deliver_quantity_lots: int
    receive_minor: int
    deliver_minor: int
    at_ns: int


class CashReleased(Record, frozen=True, gc=False, kw_only=True):
    """Net receipts of an account that are withdrawable from this settlement day on; told to risk too."""

    account: str
    currency: str
    settlement_day: int
    amount_minor: int
    at_ns: int


class VariationSettled(Record, frozen=True, gc=False, kw_only=True):
    """A future's variation was posted for a session's end: cash and open cost both rise by ``amount_minor``.

    The session is that of ``SessionEnded``, which risk hears too, and posts the same for itself.
    """

    account: str
    instrument: str
    currency: str
    mark_price_ticks: int
    session_end_ns: int
    amount_minor: int
    at_ns: int


SettlementEvent = (
    PositionChanged
    | BalanceChanged
    | Posting
    | TradeConfirmed
    | ObligationCreated
    | CashReleased
    | VariationSettled
)
