"""What risk tells those who watch it."""

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
