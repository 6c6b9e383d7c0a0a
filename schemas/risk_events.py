"""What those who watch risk are told: by risk itself, and by whoever compares the engine with what others say."""

from schemas.record import Record


class MarginDeficit(Record, frozen=True, gc=False, kw_only=True):
    """Equity fell below what is required, or below zero: only reducing orders pass. Said once a crossing."""

    account: str
    currency: str
    equity_minor: int
    required_minor: int
    at_ns: int


class MarginRestored(Record, frozen=True, gc=False, kw_only=True):
    """Equity is back at or above what is required."""

    account: str
    currency: str
    equity_minor: int
    required_minor: int
    at_ns: int


RiskEvent = MarginDeficit | MarginRestored


class BreakFound(Record, frozen=True, gc=False, kw_only=True):
    """A reconciliation found that somebody holds an account to have something else than the engine does.

    ``against`` is whom the engine was compared with (postgres, a replay, a statement's name). Quantities are lots
    of the instrument, or minor units of the currency; None: there is no such holding. ``break_id`` is the same in
    every run that finds it, ``first_seen_ns`` the first of them. ``since_ns`` is the first event after which both
    differ, where the log tells. ``detail`` is JSON: every value of both, and the trades behind it.
    """

    break_id: str
    against: str
    account: str
    instrument: str | None
    currency: str | None
    engine_quantity: int | None
    other_quantity: int | None
    since_ns: int | None
    first_seen_ns: int
    detail: str
    at_ns: int


class BreakClosed(Record, frozen=True, gc=False, kw_only=True):
    """A break that an earlier reconciliation found is there no more."""

    break_id: str
    against: str
    account: str
    instrument: str | None
    currency: str | None
    first_seen_ns: int
    at_ns: int


ReconciliationEvent = BreakFound | BreakClosed
