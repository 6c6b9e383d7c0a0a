"""The lifecycle of an order as one table, with FIX's names (OrdStatus, tag 39).

PENDING_NEW is an order that risk let through and matching has not answered; REPLACED is a working order that
was replaced before any of it was filled. Pending cancels and replaces are not states here: FIX lets several
of them wait beside any working state, so they are held beside it (``tables.risk.OrderRow.pending``).
"""

from types import MappingProxyType
from typing import Final, Literal

State = Literal[
    "PENDING_NEW", "NEW", "PARTIALLY_FILLED", "FILLED", "CANCELLED", "REJECTED", "REPLACED", "EXPIRED"
]
Event = Literal[
    "ACCEPTED",
    "REJECTED",
    "TRIGGERED",
    "PARTLY_FILLED",
    "FILLED",
    "REDUCED",
    "REPLACED",
    "CANCELLED",
    "EXPIRED",
]

CLOSED: Final[frozenset[State]] = frozenset({"FILLED", "CANCELLED", "REJECTED", "EXPIRED"})

LIFECYCLE: Final[MappingProxyType[tuple[State, Event], State]] = MappingProxyType(
    {
        ("PENDING_NEW", "ACCEPTED"): "NEW",
        ("PENDING_NEW", "REJECTED"): "REJECTED",
        ("NEW", "TRIGGERED"): "NEW",
        ("NEW", "PARTLY_FILLED"): "PARTIALLY_FILLED",
        ("NEW", "FILLED"): "FILLED",
        ("NEW", "REDUCED"): "NEW",
        ("NEW", "REPLACED"): "REPLACED",
        ("NEW", "CANCELLED"): "CANCELLED",
        ("NEW", "EXPIRED"): "EXPIRED",
        ("REPLACED", "TRIGGERED"): "REPLACED",
        ("REPLACED", "PARTLY_FILLED"): "PARTIALLY_FILLED",
        ("REPLACED", "FILLED"): "FILLED",
        ("REPLACED", "REDUCED"): "REPLACED",
        ("REPLACED", "REPLACED"): "REPLACED",
        ("REPLACED", "CANCELLED"): "CANCELLED",
        ("REPLACED", "EXPIRED"): "EXPIRED",
        ("PARTIALLY_FILLED", "PARTLY_FILLED"): "PARTIALLY_FILLED",
        ("PARTIALLY_FILLED", "FILLED"): "FILLED",
        ("PARTIALLY_FILLED", "REDUCED"): "PARTIALLY_FILLED",
        ("PARTIALLY_FILLED", "REPLACED"): "PARTIALLY_FILLED",
        ("PARTIALLY_FILLED", "CANCELLED"): "CANCELLED",
        ("PARTIALLY_FILLED", "EXPIRED"): "EXPIRED",
    }
)
"""What is not listed cannot happen: a filled order stays filled, and a stop triggers before it fills."""


def advance(state: State, event: Event) -> State:
    """The state after an event; AssertionError for a pair that cannot be."""
    after = LIFECYCLE.get((state, event))
    assert after is not None, f"an order that is {state} cannot be {event}: matching and risk disagree"
    return after
