"""The lifecycle of an order, pair by pair."""

from typing import get_args

import pytest

from tables.lifecycle import CLOSED, LIFECYCLE, Event, State, advance

TABLE = """
                  ACCEPTED  REJECTED  TRIGGERED         PARTLY_FILLED     FILLED  REDUCED           REPLACED          CANCELLED  EXPIRED
PENDING_NEW       NEW       REJECTED  -                 -                 -       -                 -                 -          -
NEW               -         -         NEW               PARTIALLY_FILLED  FILLED  NEW               REPLACED          CANCELLED  EXPIRED
REPLACED          -         -         REPLACED          PARTIALLY_FILLED  FILLED  REPLACED          REPLACED          CANCELLED  EXPIRED
PARTIALLY_FILLED  -         -         -                 PARTIALLY_FILLED  FILLED  PARTIALLY_FILLED  PARTIALLY_FILLED  CANCELLED  EXPIRED
FILLED            -         -         -                 -                 -       -                 -                 -          -
CANCELLED         -         -         -                 -                 -       -                 -                 -          -
REJECTED          -         -         -                 -                 -       -                 -                 -          -
EXPIRED           -         -         -                 -                 -       -                 -                 -          -
"""  # noqa: E501  (one row a state, one column an event: it is read as a whole)


def pairs() -> list[tuple[State, Event, str]]:
    """Every cell of the table."""
    head, *rows = (line.split() for line in TABLE.strip().splitlines())
    return [(row[0], event, after) for row in rows for event, after in zip(head, row[1:], strict=True)]  # type: ignore[misc]


@pytest.mark.parametrize(("state", "event", "after"), pairs())
def test_every_pair_gives_its_state_or_cannot_be(state: State, event: Event, after: str) -> None:
    """A pair leads to the state the table says, and one that cannot be stops the worker."""
    if after == "-":
        with pytest.raises(AssertionError, match=f"an order that is {state} cannot be {event}"):
            advance(state, event)
    else:
        assert advance(state, event) == after


def test_the_table_names_every_state_and_every_event() -> None:
    """No state or event is missing from the test's table."""
    cells = pairs()
    assert {state for state, _, _ in cells} == set(get_args(State))
    assert {event for _, event, _ in cells} == set(get_args(Event))
    assert len(cells) == len(get_args(State)) * len(get_args(Event))


def test_nothing_leads_out_of_a_closed_state() -> None:
    """An order that is closed stays closed, and every open state has a way to be closed."""
    assert not {state for state, _ in LIFECYCLE} & CLOSED
    open_states = set(get_args(State)) - CLOSED
    assert all(
        any(state == it and LIFECYCLE[it, event] in CLOSED for it, event in LIFECYCLE)
        for state in open_states
    )
