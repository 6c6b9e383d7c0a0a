"""Stops: election by the last trade's price, and the order of elections."""

from tests.unit.agents.rules.matching_language import Script, check


def test_a_stop_waits() -> None:
    """A stop shows nothing, and waits for a trade at or beyond its price."""
    check(
        """
        a1 buy 5 stop 102 -> a1 accepted
        b1 sell 9 @101    -> b1 accepted, ask 101 9x1
        c1 buy 1 @101     -> c1 accepted, b1 made 1@101 left 8, c1 took 1@101 left 0, ask 101 8x1
        b2 sell 9 @102    -> b2 accepted, ask 102 9x1
        c2 buy 9 @102     -> c2 accepted, b1 made 8@101 left 0, c2 took 8@101 left 1, b2 made 1@102 left 8,
                             c2 took 1@102 left 0, a1 triggered 102, b2 made 5@102 left 3,
                             a1 took 5@102 left 0, ask 101 0x0, ask 102 3x1
        """,
        Script(levels=True),
    )


def test_a_sell_stop() -> None:
    """A sell stop is elected at or below its price."""
    check(
        """
        a1 sell 2 stop 98 -> a1 accepted
        b1 buy 9 @99      -> b1 accepted
        c1 sell 1 @99     -> c1 accepted, b1 made 1@99 left 8, c1 took 1@99 left 0
        b2 buy 9 @98      -> b2 accepted
        c2 sell 9 @98     -> c2 accepted, b1 made 8@99 left 0, c2 took 8@99 left 1, b2 made 1@98 left 8,
                             c2 took 1@98 left 0, a1 triggered 98, b2 made 2@98 left 6, a1 took 2@98 left 0
        """
    )


def test_a_stop_limit() -> None:
    """An elected STOP_LIMIT trades to its limit, and its rest rests."""
    check(
        """
        a1 buy 5 @102 stop 101 -> a1 accepted
        b1 sell 1 @101         -> b1 accepted
        b2 sell 2 @102         -> b2 accepted
        b3 sell 2 @103         -> b3 accepted
        c1 buy 1 @101          -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 0, a1 triggered 101,
                                  b2 made 2@102 left 0, a1 took 2@102 left 3
        d1 sell 1 @102         -> d1 accepted, a1 made 1@102 left 2, d1 took 1@102 left 0
        """
    )


def test_at_once() -> None:
    """A stop is elected at entry if the last trade has satisfied it already."""
    check(
        """
        b1 sell 9 @101          -> b1 accepted
        c1 buy 1 @101           -> c1 accepted, b1 made 1@101 left 8, c1 took 1@101 left 0
        a1 buy 5 stop 101       -> a1 accepted, a1 triggered 101, b1 made 5@101 left 3, a1 took 5@101 left 0
        a2 buy 5 @100 stop 100  -> a2 accepted, a2 triggered 101
        d3 sell 5 stop 101      -> d3 accepted, d3 triggered 101, a2 made 5@100 left 0, d3 took 5@100 left 0
        a4 sell 5 @105 stop 100 -> a4 accepted, a4 triggered 100
        """
    )


def test_the_order_of_elections() -> None:
    """After a trade: buys by rising stop price, then by time; then sells by falling."""
    check(
        """
        d1 sell 1 @100          -> d1 accepted
        e1 buy 1 @99            -> e1 accepted
        a1 buy 1 @90 stop 100   -> a1 accepted
        a2 buy 1 @90 stop 99    -> a2 accepted
        a3 buy 1 @90 stop 100   -> a3 accepted
        b1 sell 1 @110 stop 99  -> b1 accepted
        b2 sell 1 @110 stop 100 -> b2 accepted
        b3 sell 1 @110 stop 100 -> b3 accepted
        c1 buy 1 @100           -> c1 accepted, d1 made 1@100 left 0, c1 took 1@100 left 0,
                                   a2 triggered 100, a1 triggered 100, a3 triggered 100, b2 triggered 100,
                                   b3 triggered 100
        """
    )


def test_trade_by_trade() -> None:
    """Elections go trade by trade, each order to its end; its own trades elect behind those before."""
    check(
        """
        a1 buy 1 stop 101 -> a1 accepted
        a2 buy 1 stop 102 -> a2 accepted
        a3 buy 1 stop 105 -> a3 accepted
        b1 sell 1 @101    -> b1 accepted
        b2 sell 1 @102    -> b2 accepted
        b3 sell 1 @104    -> b3 accepted
        b4 sell 9 @105    -> b4 accepted
        c1 buy 2 @102     -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 1, b2 made 1@102 left 0,
                             c1 took 1@102 left 0, a1 triggered 101, b3 made 1@104 left 0,
                             a1 took 1@104 left 0, a2 triggered 102, b4 made 1@105 left 8,
                             a2 took 1@105 left 0, a3 triggered 105, b4 made 1@105 left 7,
                             a3 took 1@105 left 0
        """
    )


def test_elections_after_the_command() -> None:
    """Stops are elected after the command's matching has ended."""
    check(
        """
        a1 buy 5 stop 101 -> a1 accepted
        b1 sell 1 @101    -> b1 accepted
        b2 sell 1 @102    -> b2 accepted
        b3 sell 9 @103    -> b3 accepted
        c1 buy 5 @102     -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 4, b2 made 1@102 left 0,
                             c1 took 1@102 left 3, a1 triggered 101, b3 made 5@103 left 4,
                             a1 took 5@103 left 0
        """
    )


def test_price_protection() -> None:
    """An elected STOP never trades beyond its worst price."""
    check(
        """
        a1 buy 5 stop 101 worst 103 -> a1 accepted
        b1 sell 1 @101              -> b1 accepted
        b2 sell 1 @103              -> b2 accepted
        b3 sell 1 @104              -> b3 accepted
        c1 buy 1 @101               -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 0,
                                       a1 triggered 101, b2 made 1@103 left 0, a1 took 1@103 left 4,
                                       a1 cancelled 4 price_protection
        """
    )


def test_demands_at_election() -> None:
    """A stop that cannot have what it demands when it is elected is cancelled: it was accepted."""
    check(
        """
        b1 sell 1 @101                   -> b1 accepted
        b2 sell 3 @102                   -> b2 accepted
        a1 buy 4 stop 101 fok            -> a1 accepted
        a2 buy 4 @102 stop 101 min 4     -> a2 accepted
        a3 buy 4 @102 stop 101 post      -> a3 accepted
        a4 buy 3 @102 stop 101 ioc min 3 -> a4 accepted
        c1 buy 1 @101                    -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 0,
                                            a1 triggered 101, a1 cancelled 4 fok_not_fillable,
                                            a2 triggered 101, a2 cancelled 4 minimum_quantity_not_met,
                                            a3 triggered 101, a3 cancelled 4 post_only_would_trade,
                                            a4 triggered 101, b2 made 3@102 left 0, a4 took 3@102 left 0
        """
    )


def test_an_iceberg_stop() -> None:
    """An elected STOP_LIMIT may rest as an iceberg."""
    check(
        """
        a1 buy 9 @102 stop 101 show 2 -> a1 accepted
        b1 sell 1 @101                -> b1 accepted, ask 101 1x1
        c1 buy 1 @101                 -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 0,
                                         a1 triggered 101, bid 102 2x1, ask 101 0x0
        """,
        Script(levels=True),
    )


def test_cancel_and_replace() -> None:
    """A waiting stop can be cancelled and replaced; a raised quantity loses its time."""
    check(
        """
        a1 buy 1 @90 stop 101 -> a1 accepted
        a2 buy 1 @90 stop 101 -> a2 accepted
        a3 buy 1 @90 stop 101 -> a3 accepted
        a4 replaces a1 2      -> a4 replaced a1 left 2 of 2
        a5 replaces a2 @91    -> a5 replaced a2 left 1 of 1
        a6 cancels a3         -> a3 cancelled 1 requested by a6
        b1 sell 1 @101        -> b1 accepted
        c1 buy 1 @101         -> c1 accepted, b1 made 1@101 left 0, c1 took 1@101 left 0, a4 triggered 101,
                                 a5 triggered 101
        a7 replaces a4 2 @89  -> a7 replaced a4 left 2 of 2
        """
    )


def test_a_stop_has_no_price_to_replace() -> None:
    """A STOP has no limit price: a replace that gives it one is refused."""
    check(
        """
        a1 buy 5 stop 101   -> a1 accepted
        a2 replaces a1 @100 -> a2 refused price_not_allowed
        a3 replaces a1 3    -> a3 replaced a1 left 3 of 3
        a4 cancels a3       -> a3 cancelled 3 requested by a4
        """
    )


def test_no_election_in_a_halt() -> None:
    """A halted book trades nothing, so it elects nothing."""
    check(
        """
        a1 buy 1 @90 stop 101 -> a1 accepted
        b1 sell 1 @101        -> b1 accepted
        halt X                -> nothing
        c1 buy 1 @101         -> c1 rejected instrument_halted
        resume X              -> nothing
        c2 buy 1 @101         -> c2 accepted, b1 made 1@101 left 0, c2 took 1@101 left 0, a1 triggered 101
        """
    )
