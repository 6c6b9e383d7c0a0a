"""Halts, sessions, marks, and the levels that are told."""

from agents.rules.matching import Matching
from agents.rules.outbox import Outbox, Place
from schemas.control_events import ClockTicked, InstrumentDefined, MarkSet
from schemas.envelopes import BookCommandItem
from schemas.events import MarkChanged, SessionEnded
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.topics import MARKET_DATA, PartitionCounts
from tables.matching import MatchingTables
from tests.unit.agents.rules.matching_language import Script, check, instrument


def test_a_halt_of_one() -> None:
    """A halted instrument refuses new orders and replaces; the others go on."""
    check(
        """
        halt X             -> nothing
        a1 buy 1 @100      -> a1 rejected instrument_halted
        a2 buy 1 @100 in Y -> a2 accepted
        resume X           -> nothing
        a3 buy 1 @100      -> a3 accepted
        """
    )


def test_two_switches() -> None:
    """A halt of all and a halt of one are two switches: both must be off."""
    check(
        """
        halt               -> nothing
        halt X             -> nothing
        a1 buy 1 @100      -> a1 rejected instrument_halted
        resume X           -> nothing
        a2 buy 1 @100      -> a2 rejected instrument_halted
        a3 buy 1 @100 in Y -> a3 rejected instrument_halted
        halt X             -> nothing
        resume             -> nothing
        a4 buy 1 @100      -> a4 rejected instrument_halted
        a5 buy 1 @100 in Y -> a5 accepted
        """
    )


def test_the_trading_state() -> None:
    """An instrument that is defined halted or closed takes no orders."""
    check(
        """
        define X halted -> nothing
        a1 buy 1 @100   -> a1 rejected instrument_halted
        define X closed -> nothing
        a2 buy 1 @100   -> a2 rejected session_closed
        define X open   -> nothing
        a3 buy 1 @100   -> a3 accepted
        """
    )


def test_a_halt_outlives_a_definition() -> None:
    """A definition does not lift a halt."""
    check(
        """
        halt X        -> nothing
        define X open -> nothing
        a1 buy 1 @100 -> a1 rejected instrument_halted
        """
    )


def test_not_ours() -> None:
    """A halt or a mark of an instrument of another partition changes nothing."""
    check(
        """
        halt Z        -> nothing
        mark Z 100    -> nothing
        resume Z      -> nothing
        a1 buy 1 @100 -> a1 accepted, bid 100 1x1
        """,
        Script(levels=True),
    )


def test_an_instrument_not_yet_defined() -> None:
    """Risk may hear of an instrument sooner than matching: what comes too soon is refused."""
    check(
        """
        a1 buy 1 @100 in Z -> a1 rejected unknown_instrument
        a2 cancels a1      -> a2 refused unknown_order
        a3 replaces a1 5   -> a3 refused unknown_order
        """
    )


def test_marks_follow_trades() -> None:
    """The mark is the last trade's price, told at a tick when it changed."""
    check(
        """
        tick 100            -> nothing
        a1 sell 5 @100      -> a1 accepted
        b1 buy 1 @100       -> b1 accepted, a1 made 1@100 left 4, b1 took 1@100 left 0
        tick 200            -> mark X 100
        tick 300            -> nothing
        b2 buy 1 @100       -> b2 accepted, a1 made 1@100 left 3, b2 took 1@100 left 0
        a2 sell 1 @101 in Y -> a2 accepted
        tick 400            -> nothing
        b3 buy 1 @101 in Y  -> b3 accepted, a2 made 1@101 left 0, b3 took 1@101 left 0
        tick 500            -> mark Y 101
        """
    )


def test_a_set_mark_holds() -> None:
    """SetMark is told at once, and holds whatever trades until the next."""
    check(
        """
        mark X 105     -> mark X 105, mark X 105
        a1 sell 5 @100 -> a1 accepted, ask 100 5x1
        b1 buy 1 @100  -> b1 accepted, a1 made 1@100 left 4, b1 took 1@100 left 0, ask 100 4x1
        tick 200       -> nothing
        mark X 106     -> mark X 106, mark X 106
        mark X 106     -> mark X 106, mark X 106
        """,
        Script(levels=True),
    )


def test_sessions_end_with_the_first_tick_at_or_after() -> None:
    """A session ends once, at the mark it has: X's at midnight, Y's a minute later."""
    check(
        """
        define Y open 1     -> nothing
        mark Y 7            -> mark Y 7
        a1 sell 2 @101      -> a1 accepted
        b1 buy 1 @101       -> b1 accepted, a1 made 1@101 left 1, b1 took 1@101 left 0
        tick 59999999999    -> mark X 101
        tick 60000000000    -> session Y 60000000000 7
        tick 60000000001    -> nothing
        tick 86399999999999 -> nothing
        tick 86400000000500 -> session X 86400000000000 101
        tick 86459999999999 -> nothing
        tick 86460000000000 -> session Y 86460000000000 7
        """
    )


def test_a_session_ends_after_all_else_of_its_tick() -> None:
    """Orders of the day expire and the mark is told first; so the session's mark is the one that all have."""
    check(
        """
        a1 sell 2 @101 day  -> a1 accepted
        b1 buy 1 @101       -> b1 accepted, a1 made 1@101 left 1, b1 took 1@101 left 0
        tick 86400000000000 -> a1 expired 1, mark X 101, session X 86400000000000 101
        """
    )


def test_without_a_mark_nobody_hears_of_the_session() -> None:
    """What never traded and has no mark, nobody holds; the first session with a mark is told."""
    check(
        """
        tick 86400000000000  -> nothing
        mark X 5             -> mark X 5
        tick 86400000000001  -> nothing
        tick 172800000000000 -> session X 172800000000000 5
        """
    )


def test_sessions_that_a_clock_jumps_over_end_as_one() -> None:
    """A clock that was still for two days ends the last session only, those of all instruments by symbol."""
    check(
        """
        mark Y 7             -> mark Y 7
        mark X 5             -> mark X 5
        tick 259200000000123 -> session X 259200000000000 5, session Y 259200000000000 7
        tick 259200000000124 -> nothing
        """
    )


def test_a_session_ends_though_nobody_may_trade() -> None:
    """Halted and closed books have sessions too: positions in them have their variation."""
    check(
        """
        mark X 5            -> mark X 5
        halt X              -> nothing
        mark Y 7            -> mark Y 7
        define Y closed     -> nothing
        tick 86400000000000 -> session X 86400000000000 5, session Y 86400000000000 7
        """
    )


def test_a_session_end_that_is_moved() -> None:
    """A definition with another session end holds from its own time on; one with the same changes nothing."""
    check(
        """
        mark X 5            -> mark X 5
        define X open 2     -> nothing
        tick 60000000000    -> nothing
        define X open 1     -> nothing
        tick 120000000000   -> nothing
        a1 buy 1 @1 gtc     -> a1 accepted
        define X open 1     -> nothing
        tick 86460000000000 -> session X 86460000000000 5
        """
    )


def test_every_account_partition_hears_of_marks_and_sessions() -> None:
    """Whoever holds an instrument, wherever its account is, hears the same in the same order."""
    matching, outbox = Matching(MatchingTables(), PartitionCounts(accounts=3, books=1), 0), Outbox()
    end_ns = NANOSECONDS_PER_DAY
    items: tuple[BookCommandItem, ...] = (
        InstrumentDefined(instrument=instrument("X"), at_ns=0),
        MarkSet(instrument="X", price_ticks=5, at_ns=1),
        ClockTicked(tick_ns=end_ns, at_ns=end_ns),
    )
    for offset, item in enumerate(items):
        matching.apply(item, Place(0, offset, 0, item.at_ns), outbox)
    mark = MarkChanged(instrument="X", price_ticks=5, at_ns=1)
    ended = SessionEnded(instrument="X", mark_price_ticks=5, session_end_ns=end_ns, at_ns=end_ns)
    assert outbox.items == {
        (MARKET_DATA, 0): [mark],
        **{("answers", partition): [mark, ended] for partition in range(3)},
    }


def test_levels() -> None:
    """Each level whose displayed quantity or count changed is told once: buys, then sells, by rising price."""
    check(
        """
        a1 sell 1 @101        -> a1 accepted, ask 101 1x1
        a2 sell 1 @102        -> a2 accepted, ask 102 1x1
        a3 sell 2 @103 show 1 -> a3 accepted, ask 103 1x1
        b1 buy 1 @100         -> b1 accepted, bid 100 1x1
        b2 buy 5 @102         -> b2 accepted, a1 made 1@101 left 0, b2 took 1@101 left 4,
                                 a2 made 1@102 left 0, b2 took 1@102 left 3, bid 102 3x1, ask 101 0x0,
                                 ask 102 0x0
        c1 sell 9 @99         -> c1 accepted, b2 made 3@102 left 0, c1 took 3@102 left 6,
                                 b1 made 1@100 left 0, c1 took 1@100 left 5, bid 100 0x0, bid 102 0x0,
                                 ask 99 5x1
        """,
        Script(levels=True),
    )


def test_a_level_that_did_not_change() -> None:
    """A level that is touched but not changed is not told."""
    check(
        """
        a1 sell 4 @100 show 2 -> a1 accepted, ask 100 2x1
        b1 buy 2 @100         -> b1 accepted, a1 made 2@100 left 2, b1 took 2@100 left 0
        a2 replaces a1        -> a2 replaced a1 left 2 of 4
        """,
        Script(levels=True),
    )
