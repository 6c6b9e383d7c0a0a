"""What one record may do at most, and how the rest goes on."""

import pytest

from agents.rules.matching import turn
from tests.unit.agents.rules.matching_language import Script, check


def test_a_record_makes_so_many_trades(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a record's fills are used up, the incoming rest is cancelled; the next record has its own."""
    monkeypatch.setattr(turn, "FILLS_PER_RECORD", 2)
    check(
        """
        a1 sell 1 @100 -> a1 accepted
        a2 sell 1 @100 -> a2 accepted
        a3 sell 1 @101 -> a3 accepted
        b1 buy 5 @101  -> b1 accepted, a1 made 1@100 left 0, b1 took 1@100 left 4, a2 made 1@100 left 0,
                          b1 took 1@100 left 3, b1 cancelled 3 too_many_fills
        b2 buy 1 @101  -> b2 accepted, a3 made 1@101 left 0, b2 took 1@101 left 0
        """
    )


def test_demands_count_the_fills_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """A FOK or a minimum that needs more trades than a record may make is not met."""
    monkeypatch.setattr(turn, "FILLS_PER_RECORD", 2)
    check(
        """
        a1 sell 9 @100 show 1 -> a1 accepted
        b1 buy 3 @100 fok     -> b1 rejected fok_not_fillable
        b2 buy 3 @100 min 3   -> b2 rejected minimum_quantity_not_met
        b3 buy 2 @100 fok     -> b3 accepted, a1 made 1@100 left 8, b3 took 1@100 left 1,
                                 a1 made 1@100 left 7, b3 took 1@100 left 0
        """
    )


def test_elections_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elections beyond a record's count go on by a continuation, or before the next command on the book."""
    monkeypatch.setattr(turn, "ELECTIONS_PER_RECORD", 1)
    check(
        """
        a1 buy 1 @90 stop 101 -> a1 accepted
        a2 buy 1 @90 stop 101 -> a2 accepted
        a3 buy 1 @90 stop 101 -> a3 accepted
        b1 sell 3 @101        -> b1 accepted
        c1 buy 1 @101         -> c1 accepted, b1 made 1@101 left 2, c1 took 1@101 left 0, a1 triggered 101,
                                 ContinueElections
        a4 cancels a1         -> a2 triggered 101, a1 cancelled 1 requested by a4, ContinueElections
        go on                 -> a3 triggered 101
        go on                 -> nothing
        """,
        Script(asks=True),
    )


def test_owed_elections_pass_over_later_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trade whose elections are owed does not elect a stop that came after it."""
    monkeypatch.setattr(turn, "ELECTIONS_PER_RECORD", 1)
    check(
        """
        a1 buy 1 @90 stop 101 -> a1 accepted
        a2 buy 1 @90 stop 101 -> a2 accepted
        a3 buy 1 @90 stop 101 -> a3 accepted
        a4 buy 1 @90 stop 101 -> a4 accepted
        b1 sell 3 @101        -> b1 accepted
        c1 buy 1 @101         -> c1 accepted, b1 made 1@101 left 2, c1 took 1@101 left 0, a1 triggered 101
        d1 sell 1 @90         -> a2 triggered 101, d1 accepted, a1 made 1@90 left 0, d1 took 1@90 left 0
        e1 buy 1 @80 stop 101 -> a3 triggered 101, e1 accepted
        go on                 -> a4 triggered 101
        go on                 -> nothing
        """
    )


def test_owed_elections_wait_in_a_halt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elections that are owed wait for the end of a halt."""
    monkeypatch.setattr(turn, "ELECTIONS_PER_RECORD", 1)
    check(
        """
        a1 buy 1 @90 stop 101 -> a1 accepted
        a2 buy 1 @90 stop 101 -> a2 accepted
        b1 sell 3 @101        -> b1 accepted
        c1 buy 1 @101         -> c1 accepted, b1 made 1@101 left 2, c1 took 1@101 left 0, a1 triggered 101,
                                 ContinueElections
        halt X                -> nothing
        go on                 -> nothing
        resume X              -> a2 triggered 101
        """,
        Script(asks=True),
    )


def test_a_sweep_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mass cancel goes on from record to record, counts all, and leaves what came after it."""
    monkeypatch.setattr(turn, "ORDERS_PER_RECORD", 2)
    check(
        """
        a1 buy 1 @90   -> a1 accepted
        a2 buy 1 @91   -> a2 accepted
        a3 buy 1 @92   -> a3 accepted
        m1 sweeps of a -> a1 cancelled 1 mass_cancel by m1, a2 cancelled 1 mass_cancel by m1, RemoveOrders
        a4 buy 1 @93   -> a4 accepted
        go on          -> a3 cancelled 1 mass_cancel by m1, m1 removed 3
        a5 cancels a4  -> a4 cancelled 1 requested by a5
        """,
        Script(asks=True),
    )


def test_expiry_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expiry goes on from record to record, in the same order."""
    monkeypatch.setattr(turn, "ORDERS_PER_RECORD", 2)
    check(
        """
        a1 buy 1 @90 until 50 -> a1 accepted
        a2 buy 1 @91 until 60 -> a2 accepted
        a3 buy 1 @92 until 50 -> a3 accepted
        a4 buy 1 @93 until 60 -> a4 accepted
        tick 60               -> a1 expired 1, a3 expired 1, ContinueExpiry
        a5 cancels a2         -> a2 cancelled 1 requested by a5
        go on                 -> a4 expired 1
        """,
        Script(asks=True),
    )
