"""Replace: totals, priority, crossing, icebergs."""

from tests.unit.agents.rules.matching_language import Script, check


def test_less_keeps_priority() -> None:
    """Equal or less quantity at the same price keeps priority; the order goes by its new id."""
    check(
        """
        a1 buy 5 @100         -> a1 accepted, bid 100 5x1
        b1 buy 5 @100         -> b1 accepted, bid 100 10x2
        a2 replaces a1 4      -> a2 replaced a1 left 4 of 4, bid 100 9x2
        a3 replaces a2        -> a3 replaced a2 left 4 of 4
        a4 replaces a3 3 @100 -> a4 replaced a3 left 3 of 3, bid 100 8x2
        c1 sell 4 @100        -> c1 accepted, a4 made 3@100 left 0, c1 took 3@100 left 1,
                                 b1 made 1@100 left 4, c1 took 1@100 left 0, bid 100 4x1
        """,
        Script(levels=True),
    )


def test_more_loses_priority() -> None:
    """More quantity loses priority."""
    check(
        """
        a1 buy 5 @100    -> a1 accepted, bid 100 5x1
        b1 buy 5 @100    -> b1 accepted, bid 100 10x2
        a2 replaces a1 6 -> a2 replaced a1 left 6 of 6, bid 100 11x2
        c1 sell 6 @100   -> c1 accepted, b1 made 5@100 left 0, c1 took 5@100 left 1, a2 made 1@100 left 5,
                            c1 took 1@100 left 0, bid 100 5x1
        """,
        Script(levels=True),
    )


def test_another_price_loses_priority() -> None:
    """Another price loses priority, also when it comes back."""
    check(
        """
        a1 buy 5 @100       -> a1 accepted, bid 100 5x1
        b1 buy 5 @100       -> b1 accepted, bid 100 10x2
        a2 replaces a1 @99  -> a2 replaced a1 left 5 of 5, bid 99 5x1, bid 100 5x1
        a3 replaces a2 @100 -> a3 replaced a2 left 5 of 5, bid 99 0x0, bid 100 10x2
        c1 sell 6 @100      -> c1 accepted, b1 made 5@100 left 0, c1 took 5@100 left 1,
                               a3 made 1@100 left 4, c1 took 1@100 left 0, bid 100 4x1
        """,
        Script(levels=True),
    )


def test_the_total_includes_fills() -> None:
    """The new quantity is the new total, what is filled included."""
    check(
        """
        a1 buy 5 @100    -> a1 accepted
        c1 sell 3 @100   -> c1 accepted, a1 made 3@100 left 2, c1 took 3@100 left 0
        a2 replaces a1 4 -> a2 replaced a1 left 1 of 4
        a3 replaces a2 9 -> a3 replaced a2 left 6 of 9
        a4 cancels a3    -> a3 cancelled 6 requested by a4
        """
    )


def test_to_filled() -> None:
    """A total not above what is filled cancels the rest."""
    check(
        """
        a1 buy 5 @100    -> a1 accepted, bid 100 5x1
        c1 sell 3 @100   -> c1 accepted, a1 made 3@100 left 2, c1 took 3@100 left 0, bid 100 2x1
        a2 replaces a1 3 -> a2 replaced a1 left 0 of 3, a2 cancelled 0 replaced_to_filled by a2, bid 100 0x0
        b1 buy 5 @100    -> b1 accepted, bid 100 5x1
        c2 sell 3 @100   -> c2 accepted, b1 made 3@100 left 2, c2 took 3@100 left 0, bid 100 2x1
        b2 replaces b1 1 -> b2 replaced b1 left 0 of 3, b2 cancelled 0 replaced_to_filled by b2, bid 100 0x0
        """,
        Script(levels=True),
    )


def test_a_replace_trades() -> None:
    """A replace that crosses trades, and its rest rests."""
    check(
        """
        a1 buy 5 @100       -> a1 accepted, bid 100 5x1
        b1 sell 3 @102      -> b1 accepted, ask 102 3x1
        a2 replaces a1 @103 -> a2 replaced a1 left 5 of 5, b1 made 3@102 left 0, a2 took 3@102 left 2,
                               bid 100 0x0, bid 103 2x1, ask 102 0x0
        c1 sell 1 @103      -> c1 accepted, a2 made 1@103 left 1, c1 took 1@103 left 0, bid 103 1x1
        """,
        Script(levels=True),
    )


def test_post_only_stays() -> None:
    """A post-only order is untouched by a replace that would cross."""
    check(
        """
        a1 buy 5 @100 post  -> a1 accepted
        b1 sell 3 @102      -> b1 accepted
        a2 replaces a1 @102 -> a2 refused post_only_would_trade
        a3 replaces a1 @101 -> a3 replaced a1 left 5 of 5
        c1 sell 1 @101      -> c1 accepted, a3 made 1@101 left 4, c1 took 1@101 left 0
        """
    )


def test_hidden_lots_go_first() -> None:
    """A replaced quantity comes off the hidden part first."""
    check(
        """
        a1 sell 10 @100 show 4 -> a1 accepted, ask 100 4x1
        b1 buy 1 @100          -> b1 accepted, a1 made 1@100 left 9, b1 took 1@100 left 0, ask 100 3x1
        a2 replaces a1 8       -> a2 replaced a1 left 7 of 8
        a3 replaces a2 4       -> a3 replaced a2 left 3 of 4
        a4 replaces a3 2       -> a4 replaced a3 left 1 of 2, ask 100 1x1
        c1 buy 1 @100          -> c1 accepted, a4 made 1@100 left 0, c1 took 1@100 left 0, ask 100 0x0
        """,
        Script(levels=True),
    )


def test_an_iceberg_enters_again() -> None:
    """An iceberg that loses its place shows a whole slice again."""
    check(
        """
        a1 sell 10 @100 show 4 -> a1 accepted, ask 100 4x1
        b1 buy 1 @100          -> b1 accepted, a1 made 1@100 left 9, b1 took 1@100 left 0, ask 100 3x1
        c1 sell 1 @100         -> c1 accepted, ask 100 4x2
        a2 replaces a1 11      -> a2 replaced a1 left 10 of 11, ask 100 5x2
        b2 buy 3 @100          -> b2 accepted, c1 made 1@100 left 0, b2 took 1@100 left 2,
                                  a2 made 2@100 left 8, b2 took 2@100 left 0, ask 100 2x1
        """,
        Script(levels=True),
    )


def test_self_trade_on_replace() -> None:
    """A replace that crosses meets its own group like an order."""
    check(
        """
        a1 sell 5 @103              -> a1 accepted
        a2 buy 5 @100 cancel_oldest -> a2 accepted
        a3 replaces a2 @103         -> a3 replaced a2 left 5 of 5, a1 cancelled 5 self_trade_prevention
        """
    )


def test_unknown_order() -> None:
    """A replace of an unknown or closed order is refused."""
    check(
        """
        a1 replaces zz 5 -> a1 refused unknown_order
        b1 buy 1 @100    -> b1 accepted
        b2 cancels b1    -> b1 cancelled 1 requested by b2
        b3 replaces b1 5 -> b3 refused unknown_order
        """
    )


def test_halted() -> None:
    """In a halt a replace is refused."""
    check(
        """
        a1 buy 5 @100    -> a1 accepted
        halt             -> nothing
        a2 replaces a1 4 -> a2 refused instrument_halted
        resume           -> nothing
        a3 replaces a1 4 -> a3 replaced a1 left 4 of 4
        """
    )
