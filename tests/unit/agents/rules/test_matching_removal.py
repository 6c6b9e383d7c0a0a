"""Cancels, mass cancels, expiry."""

from tests.unit.agents.rules.matching_language import Script, check


def test_cancel() -> None:
    """A cancel takes the order out, names the command, and a second finds nothing."""
    check(
        """
        a1 buy 5 @100  -> a1 accepted, bid 100 5x1
        b1 sell 2 @100 -> b1 accepted, a1 made 2@100 left 3, b1 took 2@100 left 0, bid 100 3x1
        a2 cancels a1  -> a1 cancelled 3 requested by a2, bid 100 0x0
        a3 cancels a1  -> a3 refused unknown_order
        a4 cancels zz  -> a4 refused unknown_order
        """,
        Script(levels=True),
    )


def test_cancel_by_the_current_id() -> None:
    """After a replace events name the order by its current id."""
    check(
        """
        a1 buy 5 @100    -> a1 accepted
        a2 replaces a1 4 -> a2 replaced a1 left 4 of 4
        a3 cancels a2    -> a2 cancelled 4 requested by a3
        """
    )


def test_sweep_an_account() -> None:
    """A mass cancel takes an account's orders, stops included, in order-id order."""
    check(
        """
        a1 buy 5 @100       -> a1 accepted, bid 100 5x1
        b1 buy 5 @100       -> b1 accepted, bid 100 10x2
        a2 sell 5 stop 90   -> a2 accepted
        a3 sell 5 @110 in Y -> a3 accepted, ask 110 5x1
        m1 sweeps of a      -> a1 cancelled 5 mass_cancel by m1, a2 cancelled 5 mass_cancel by m1,
                               a3 cancelled 5 mass_cancel by m1, m1 removed 3, bid 100 5x1, ask 110 0x0
        m2 sweeps of a      -> m2 removed 0
        """,
        Script(levels=True),
    )


def test_sweep_by_instrument_and_side() -> None:
    """The filters of a mass cancel are ANDed."""
    check(
        """
        a1 buy 5 @100         -> a1 accepted
        a2 sell 5 @110        -> a2 accepted
        a3 buy 5 @100 in Y    -> a3 accepted
        b1 buy 5 @100         -> b1 accepted
        m1 sweeps of a X buys -> a1 cancelled 5 mass_cancel by m1, m1 removed 1
        m2 sweeps Y           -> a3 cancelled 5 mass_cancel by m2, m2 removed 1
        m3 sweeps sells       -> a2 cancelled 5 mass_cancel by m3, m3 removed 1
        m4 sweeps             -> b1 cancelled 5 mass_cancel by m4, m4 removed 1
        """
    )


def test_sweep_in_a_halt() -> None:
    """Cancels work in a halt."""
    check(
        """
        a1 buy 5 @100  -> a1 accepted
        a2 buy 5 @100  -> a2 accepted
        halt           -> nothing
        a3 cancels a1  -> a1 cancelled 5 requested by a3
        m1 sweeps of a -> a2 cancelled 5 mass_cancel by m1, m1 removed 1
        """
    )


def test_good_till_date() -> None:
    """GTD ends at the first tick at or after its expiry, in order of expiry, then of order id."""
    check(
        """
        a1 buy 5 @100 until 300     -> a1 accepted, bid 100 5x1
        a2 buy 5 @100 until 200     -> a2 accepted, bid 100 10x2
        b1 buy 5 @99 until 200      -> b1 accepted, bid 99 5x1
        c1 buy 5 @98                -> c1 accepted, bid 98 5x1
        a3 buy 5 stop 120 until 200 -> a3 accepted
        tick 199                    -> nothing
        tick 200                    -> a2 expired 5, b1 expired 5, a3 expired 5, bid 99 0x0, bid 100 5x1
        tick 200                    -> nothing
        tick 300                    -> a1 expired 5, bid 100 0x0
        c2 cancels c1               -> c1 cancelled 5 requested by c2, bid 98 0x0
        """,
        Script(levels=True),
    )


def test_a_past_expiry() -> None:
    """An expiry that engine time has reached is refused."""
    check(
        """
        tick 1000                -> nothing
        a1 buy 5 @100 until 1000 -> a1 rejected expiry_in_the_past
        a2 buy 5 @100 until 1001 -> a2 accepted
        """
    )


def test_only_ticks_expire() -> None:
    """Nothing expires between ticks."""
    check(
        """
        a1 buy 5 @100 until 3 -> a1 accepted
        b1 buy 1 @90          -> b1 accepted
        b2 buy 1 @90          -> b2 accepted
        c1 sell 1 @100        -> c1 accepted, a1 made 1@100 left 4, c1 took 1@100 left 0
        tick 4                -> a1 expired 4, mark X 100
        """
    )


def test_day() -> None:
    """DAY ends at its instrument's session end: X's is midnight, Y's a minute later."""
    check(
        """
        define Y open 1        -> nothing
        a1 buy 5 @100 day      -> a1 accepted
        a2 buy 5 @100 day in Y -> a2 accepted
        tick 59999999999       -> nothing
        tick 60000000000       -> a2 expired 5
        tick 86399999999999    -> nothing
        tick 86400000000000    -> a1 expired 5
        a3 buy 5 @100 day      -> a3 accepted
        tick 172799999999999   -> nothing
        tick 172800000000000   -> a3 expired 5
        """
    )


def test_a_replace_keeps_the_expiry() -> None:
    """A replaced order ends when it would have ended."""
    check(
        """
        a1 buy 5 @100 until 500 -> a1 accepted
        a2 replaces a1 9 @101   -> a2 replaced a1 left 9 of 9
        tick 500                -> a2 expired 9
        """
    )
