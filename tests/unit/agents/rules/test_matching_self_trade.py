"""Self-trade prevention: the incoming order's mode, when it meets its own group."""

from tests.unit.agents.rules.matching_language import Script, check


def test_cancel_newest() -> None:
    """CANCEL_NEWEST cancels the incoming rest; earlier fills stand."""
    check(
        """
        b1 sell 2 @99               -> b1 accepted, ask 99 2x1
        a1 sell 5 @100              -> a1 accepted, ask 100 5x1
        c1 sell 5 @100              -> c1 accepted, ask 100 10x2
        a2 buy 9 @100 cancel_newest -> a2 accepted, b1 made 2@99 left 0, a2 took 2@99 left 7,
                                       a2 cancelled 7 self_trade_prevention, ask 99 0x0
        c2 buy 1 @100               -> c2 accepted, a1 made 1@100 left 4, c2 took 1@100 left 0, ask 100 9x2
        """,
        Script(levels=True),
    )


def test_cancel_oldest() -> None:
    """CANCEL_OLDEST cancels the resting order and goes on."""
    check(
        """
        b1 sell 2 @99               -> b1 accepted, ask 99 2x1
        a1 sell 5 @100              -> a1 accepted, ask 100 5x1
        c1 sell 5 @100              -> c1 accepted, ask 100 10x2
        a2 buy 9 @100 cancel_oldest -> a2 accepted, b1 made 2@99 left 0, a2 took 2@99 left 7,
                                       a1 cancelled 5 self_trade_prevention, c1 made 5@100 left 0,
                                       a2 took 5@100 left 2, bid 100 2x1, ask 99 0x0, ask 100 0x0
        """,
        Script(levels=True),
    )


def test_cancel_both() -> None:
    """CANCEL_BOTH cancels the resting order and the incoming rest."""
    check(
        """
        b1 sell 2 @99             -> b1 accepted, ask 99 2x1
        a1 sell 5 @100            -> a1 accepted, ask 100 5x1
        c1 sell 5 @100            -> c1 accepted, ask 100 10x2
        a2 buy 9 @100 cancel_both -> a2 accepted, b1 made 2@99 left 0, a2 took 2@99 left 7,
                                     a1 cancelled 5 self_trade_prevention,
                                     a2 cancelled 7 self_trade_prevention, ask 99 0x0, ask 100 5x1
        c2 buy 1 @100             -> c2 accepted, c2 cancelled 1 self_trade_prevention
        """,
        Script(levels=True),
    )


def test_decrement_the_resting_order() -> None:
    """DECREMENT with more coming in: the resting order reaches zero, the rest goes on."""
    check(
        """
        a1 sell 5 @100          -> a1 accepted, ask 100 5x1
        c1 sell 5 @100          -> c1 accepted, ask 100 10x2
        a2 buy 9 @100 decrement -> a2 accepted, a1 reduced 5 left 0, a1 cancelled 0 self_trade_prevention,
                                   a2 reduced 5 left 4, c1 made 4@100 left 1, a2 took 4@100 left 0,
                                   ask 100 1x1
        """,
        Script(levels=True),
    )


def test_decrement_the_incoming_order() -> None:
    """DECREMENT with less coming in: the resting order keeps its place with less."""
    check(
        """
        a1 sell 5 @100          -> a1 accepted, ask 100 5x1
        c1 sell 5 @100          -> c1 accepted, ask 100 10x2
        a2 buy 3 @100 decrement -> a2 accepted, a1 reduced 3 left 2, a2 reduced 3 left 0,
                                   a2 cancelled 0 self_trade_prevention, ask 100 7x2
        b1 buy 3 @100           -> b1 accepted, a1 made 2@100 left 0, b1 took 2@100 left 1,
                                   c1 made 1@100 left 4, b1 took 1@100 left 0, ask 100 4x1
        """,
        Script(levels=True),
    )


def test_decrement_both() -> None:
    """DECREMENT of equal leaves cancels both."""
    check(
        """
        a1 sell 5 @100          -> a1 accepted, ask 100 5x1
        a2 buy 5 @100 decrement -> a2 accepted, a1 reduced 5 left 0, a1 cancelled 0 self_trade_prevention,
                                   a2 reduced 5 left 0, a2 cancelled 0 self_trade_prevention, ask 100 0x0
        """,
        Script(levels=True),
    )


def test_decrement_an_iceberg() -> None:
    """DECREMENT counts hidden lots, and they go first."""
    check(
        """
        a1 sell 10 @100 show 3  -> a1 accepted, ask 100 3x1
        a2 buy 6 @100 decrement -> a2 accepted, a1 reduced 6 left 4, a2 reduced 6 left 0,
                                   a2 cancelled 0 self_trade_prevention
        a3 buy 3 @100 decrement -> a3 accepted, a1 reduced 3 left 1, a3 reduced 3 left 0,
                                   a3 cancelled 0 self_trade_prevention, ask 100 1x1
        a4 buy 5 @100 decrement -> a4 accepted, a1 reduced 1 left 0, a1 cancelled 0 self_trade_prevention,
                                   a4 reduced 1 left 4, bid 100 4x1, ask 100 0x0
        """,
        Script(levels=True),
    )


def test_none() -> None:
    """With mode NONE a group trades with itself."""
    check(
        """
        a1 sell 5 @100     -> a1 accepted
        a2 buy 5 @100 none -> a2 accepted, a1 made 5@100 left 0, a2 took 5@100 left 0
        """
    )


def test_the_incoming_mode_rules() -> None:
    """The resting order's mode does not matter."""
    check(
        """
        a1 sell 5 @100 cancel_both  -> a1 accepted
        a2 buy 2 @100 cancel_newest -> a2 accepted, a2 cancelled 2 self_trade_prevention
        a3 sell 5 @101 none         -> a3 accepted
        a4 buy 6 @101 cancel_oldest -> a4 accepted, a1 cancelled 5 self_trade_prevention,
                                       a3 cancelled 5 self_trade_prevention
        """
    )


def test_groups() -> None:
    """Accounts of one group do not trade with each other, even one account's orders of two groups do."""
    check(
        """
        a1 sell 5 @100 group g -> a1 accepted
        b1 buy 5 @100 group g  -> b1 accepted, b1 cancelled 5 self_trade_prevention
        a2 buy 2 @100 group h  -> a2 accepted, a1 made 2@100 left 3, a2 took 2@100 left 0
        """
    )


def test_stops_have_modes() -> None:
    """An elected stop brings its own mode."""
    check(
        """
        a1 buy 5 @90                    -> a1 accepted
        a2 sell 5 stop 95 cancel_oldest -> a2 accepted
        b1 buy 1 @95                    -> b1 accepted
        c1 sell 1 @95                   -> c1 accepted, b1 made 1@95 left 0, c1 took 1@95 left 0,
                                           a2 triggered 95, a1 cancelled 5 self_trade_prevention,
                                           a2 cancelled 5 no_liquidity
        """
    )
