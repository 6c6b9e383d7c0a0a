"""New orders: price and time, order types, time in force, demands, icebergs."""

from tests.unit.agents.rules.matching_language import Script, check


def test_priority() -> None:
    """The best price trades first, then the earliest order, each at the resting order's price."""
    check(
        """
        a1 buy 5 @100  -> a1 accepted
        b1 buy 5 @100  -> b1 accepted
        c1 buy 2 @101  -> c1 accepted
        d1 sell 8 @100 -> d1 accepted, c1 made 2@101 left 0, d1 took 2@101 left 6, a1 made 5@100 left 0,
                          d1 took 5@100 left 1, b1 made 1@100 left 4, d1 took 1@100 left 0
        d2 sell 3 @99  -> d2 accepted, b1 made 3@100 left 1, d2 took 3@100 left 0
        """
    )


def test_the_rest_of_a_limit_rests() -> None:
    """What a LIMIT does not trade rests at its own price."""
    check(
        """
        a1 sell 5 @100 -> a1 accepted
        b1 buy 8 @101  -> b1 accepted, a1 made 5@100 left 0, b1 took 5@100 left 3
        c1 sell 1 @101 -> c1 accepted, b1 made 1@101 left 2, c1 took 1@101 left 0
        """
    )


def test_the_tape() -> None:
    """A trade names both orders and the aggressor, and its number has no gap."""
    check(
        """
        a1 sell 5 @100 -> a1 accepted
        b1 buy 2 @101  -> trade 0 2@100 a1 b1 buy, b1 accepted, a1 made 2@100 left 3, b1 took 2@100 left 0
        c1 buy 8 @101  -> trade 1 3@100 a1 c1 buy, c1 accepted, a1 made 3@100 left 0, c1 took 3@100 left 5
        d1 sell 1      -> trade 2 1@101 c1 d1 sell, d1 accepted, c1 made 1@101 left 4, d1 took 1@101 left 0
        """,
        Script(trades=True),
    )


def test_market() -> None:
    """A MARKET trades at any price; its rest is cancelled, whatever its time in force."""
    check(
        """
        b0 buy 1       -> b0 accepted, b0 cancelled 1 no_liquidity
        a1 sell 5 @100 -> a1 accepted
        a2 sell 5 @101 -> a2 accepted
        b1 buy 7       -> b1 accepted, a1 made 5@100 left 0, b1 took 5@100 left 2, a2 made 2@101 left 3,
                          b1 took 2@101 left 0
        b2 buy 5 gtc   -> b2 accepted, a2 made 3@101 left 0, b2 took 3@101 left 2,
                          b2 cancelled 2 no_liquidity
        b3 buy 5 day   -> b3 accepted, b3 cancelled 5 no_liquidity
        """
    )


def test_price_protection() -> None:
    """A MARKET never trades beyond the worst price; its rest is cancelled."""
    check(
        """
        a1 sell 5 @100     -> a1 accepted
        a2 sell 5 @102     -> a2 accepted
        b1 buy 7 worst 101 -> b1 accepted, a1 made 5@100 left 0, b1 took 5@100 left 2,
                              b1 cancelled 2 price_protection
        b2 buy 7 worst 102 -> b2 accepted, a2 made 5@102 left 0, b2 took 5@102 left 2,
                              b2 cancelled 2 no_liquidity
        b3 buy 7 worst 102 -> b3 accepted, b3 cancelled 7 no_liquidity
        c1 buy 5 @90       -> c1 accepted
        d1 sell 7 worst 91 -> d1 accepted, d1 cancelled 7 price_protection
        d2 sell 7 worst 90 -> d2 accepted, c1 made 5@90 left 0, d2 took 5@90 left 2,
                              d2 cancelled 2 no_liquidity
        """
    )


def test_immediate_or_cancel() -> None:
    """An IOC is accepted, trades what it can, and its rest is cancelled."""
    check(
        """
        a1 sell 5 @100    -> a1 accepted
        b1 buy 7 @100 ioc -> b1 accepted, a1 made 5@100 left 0, b1 took 5@100 left 2,
                             b1 cancelled 2 immediate_or_cancel
        b2 buy 7 @100 ioc -> b2 accepted, b2 cancelled 7 immediate_or_cancel
        """
    )


def test_fill_or_kill() -> None:
    """A FOK trades whole or is rejected with nothing touched; hidden lots count, worse prices do not."""
    check(
        """
        a1 sell 5 @100 show 2  -> a1 accepted
        c1 sell 5 @101         -> c1 accepted
        b1 buy 11 @101 fok     -> b1 rejected fok_not_fillable
        b2 buy 6 @100 fok      -> b2 rejected fok_not_fillable
        b3 buy 6 @101 fok      -> b3 accepted, a1 made 2@100 left 3, b3 took 2@100 left 4,
                                  a1 made 2@100 left 1, b3 took 2@100 left 2, a1 made 1@100 left 0,
                                  b3 took 1@100 left 1, c1 made 1@101 left 4, b3 took 1@101 left 0
        b4 buy 5 fok           -> b4 rejected fok_not_fillable
        b5 buy 4 fok worst 100 -> b5 rejected fok_not_fillable
        b6 buy 4 fok worst 101 -> b6 accepted, c1 made 4@101 left 0, b6 took 4@101 left 0
        """
    )


def test_fill_or_kill_and_own_orders() -> None:
    """A FOK does not count own orders that self-trade prevention would stop, nor what is behind."""
    check(
        """
        a1 sell 5 @100                   -> a1 accepted
        b1 sell 5 @100                   -> b1 accepted
        c1 sell 5 @100                   -> c1 accepted
        b2 buy 6 @100 fok cancel_newest  -> b2 rejected fok_not_fillable
        b3 buy 6 @100 fok cancel_both    -> b3 rejected fok_not_fillable
        b4 buy 11 @100 fok cancel_oldest -> b4 rejected fok_not_fillable
        b5 buy 6 @100 fok decrement      -> b5 rejected fok_not_fillable
        b6 buy 5 @100 fok decrement      -> b6 accepted, a1 made 5@100 left 0, b6 took 5@100 left 0
        b7 buy 5 @100 fok cancel_oldest  -> b7 accepted, b1 cancelled 5 self_trade_prevention,
                                            c1 made 5@100 left 0, b7 took 5@100 left 0
        """
    )


def test_fill_or_kill_with_itself() -> None:
    """With mode NONE a FOK counts its own group's orders, since it trades with them."""
    check(
        """
        a1 sell 5 @100          -> a1 accepted
        b1 sell 5 @100          -> b1 accepted
        b2 buy 10 @100 fok none -> b2 accepted, a1 made 5@100 left 0, b2 took 5@100 left 5,
                                   b1 made 5@100 left 0, b2 took 5@100 left 0
        """
    )


def test_fill_or_kill_and_slices() -> None:
    """An iceberg's later slices stand behind the own order that ends the count."""
    check(
        """
        a1 sell 9 @100 show 2           -> a1 accepted
        b1 sell 5 @100                  -> b1 accepted
        b2 buy 3 @100 fok cancel_newest -> b2 rejected fok_not_fillable
        b3 buy 2 @100 fok cancel_newest -> b3 accepted, a1 made 2@100 left 7, b3 took 2@100 left 0
        """
    )


def test_minimum_quantity() -> None:
    """The minimum is summed over makers at entry; if short, the order is rejected; the rest then rests."""
    check(
        """
        a1 sell 3 @100         -> a1 accepted
        c1 sell 3 @101         -> c1 accepted
        b1 buy 9 @101 min 7    -> b1 rejected minimum_quantity_not_met
        b2 buy 9 @100 min 4    -> b2 rejected minimum_quantity_not_met
        b3 buy 9 @101 min 6    -> b3 accepted, a1 made 3@100 left 0, b3 took 3@100 left 6,
                                  c1 made 3@101 left 0, b3 took 3@101 left 3
        c2 sell 1 @101         -> c2 accepted, b3 made 1@101 left 2, c2 took 1@101 left 0
        b4 buy 5 @90 min 1 ioc -> b4 rejected minimum_quantity_not_met
        """
    )


def test_post_only() -> None:
    """A post-only order that would trade is rejected, the account's own orders counting as orders."""
    check(
        """
        a1 sell 3 @100     -> a1 accepted
        b1 buy 3 @100 post -> b1 rejected post_only_would_trade
        a2 buy 3 @100 post -> a2 rejected post_only_would_trade
        b2 buy 3 @99 post  -> b2 accepted
        a3 sell 3 @99 post -> a3 rejected post_only_would_trade
        c1 sell 4 @98      -> c1 accepted, b2 made 3@99 left 0, c1 took 3@99 left 1
        """
    )


def test_iceberg() -> None:
    """A slice that is used up refreshes behind its level at once; each slice is a trade."""
    check(
        """
        a1 sell 10 @100 show 3 -> a1 accepted, ask 100 3x1
        c1 sell 2 @100         -> c1 accepted, ask 100 5x2
        b1 buy 4 @100          -> b1 accepted, a1 made 3@100 left 7, b1 took 3@100 left 1,
                                  c1 made 1@100 left 1, b1 took 1@100 left 0, ask 100 4x2
        b2 buy 2 @100          -> b2 accepted, c1 made 1@100 left 0, b2 took 1@100 left 1,
                                  a1 made 1@100 left 6, b2 took 1@100 left 0, ask 100 2x1
        b3 buy 7 @100          -> b3 accepted, a1 made 2@100 left 4, b3 took 2@100 left 5,
                                  a1 made 3@100 left 1, b3 took 3@100 left 2, a1 made 1@100 left 0,
                                  b3 took 1@100 left 1, bid 100 1x1, ask 100 0x0
        b4 buy 9 @100 show 4   -> b4 accepted, bid 100 5x2
        d1 sell 3 @100         -> d1 accepted, b3 made 1@100 left 0, d1 took 1@100 left 2,
                                  b4 made 2@100 left 7, d1 took 2@100 left 0, bid 100 2x1
        """,
        Script(levels=True),
    )


def test_iceberg_enters_whole() -> None:
    """An iceberg enters with all of it and rests with at most its display."""
    check(
        """
        a1 sell 5 @100        -> a1 accepted, ask 100 5x1
        b1 buy 20 @100 show 4 -> b1 accepted, a1 made 5@100 left 0, b1 took 5@100 left 15, bid 100 4x1,
                                 ask 100 0x0
        c1 sell 20 @100       -> c1 accepted, b1 made 4@100 left 11, c1 took 4@100 left 16,
                                 b1 made 4@100 left 7, c1 took 4@100 left 12, b1 made 4@100 left 3,
                                 c1 took 4@100 left 8, b1 made 3@100 left 0, c1 took 3@100 left 5,
                                 bid 100 0x0, ask 100 5x1
        """,
        Script(levels=True),
    )


def test_books_are_apart() -> None:
    """Instruments do not meet."""
    check(
        """
        a1 sell 5 @100 in X -> a1 accepted
        b1 buy 5 @100 in Y  -> b1 accepted
        c1 buy 5 @100 in X  -> c1 accepted, a1 made 5@100 left 0, c1 took 5@100 left 0
        d1 sell 5 @100 in Y -> d1 accepted, b1 made 5@100 left 0, d1 took 5@100 left 0
        """
    )
