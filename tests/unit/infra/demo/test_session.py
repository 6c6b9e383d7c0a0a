import gzip
from collections import Counter
from pathlib import Path

from infra.demo.plain_book import Fill, Level
from infra.demo.session import Session, exchange_id, read_session
from schemas.commands import CancelOrder, PlaceOrder, ReplaceOrder
from schemas.maximums import INT64_MAX

ORDERS_HEADER = "id,timestamp,exchange_timestamp,price,volume,action,direction\n"
TRADES_HEADER = "trade_id,timestamp,exchange_timestamp,price,amount,buy_order_id,sell_order_id,side\n"


def write_session(folder: Path, orders: str, trades: str) -> Session:
    """Write rows of orders and trades as the package has them, and read them back."""
    rows = "".join(f"{line.strip()}\n" for line in orders.strip().splitlines())
    (folder / "orders.csv.gz").write_bytes(gzip.compress((ORDERS_HEADER + rows).encode()))
    (folder / "trades.csv").write_text(TRADES_HEADER + trades)
    return read_session(folder)


def shown(session: Session) -> list[str]:
    """One line a command, as a reader would say it."""
    lines = []
    for command in session.commands:
        match command:
            case PlaceOrder():
                post_only = " post-only" if command.post_only else ""
                price = f" at {command.price_ticks}" if command.price_ticks is not None else " at market"
                lines.append(
                    f"{command.client_order_id} {command.side} {command.quantity_lots}{price}{post_only}"
                )
            case CancelOrder():
                lines.append(f"cancel {command.original_client_order_id}")
            case ReplaceOrder():
                lines.append(f"replace {command.original_client_order_id} {command.quantity_lots}")
    return lines


def test_the_sample_is_repeated_as_far_as_a_plain_book_can(sample: Session) -> None:
    """Of the 284 recorded trades a plain book repeats 281 exactly, and makes one that is not true."""
    recorded, plain = Counter(trade.fill for trade in sample.recorded), Counter(sample.plain_fills)
    assert recorded.total() == 284
    assert (recorded & plain).total() == 281
    assert (plain - recorded).total() == 1


def test_every_row_of_the_sample_is_accounted_for(sample: Session) -> None:
    """Each of the 314,057 rows became a command or is nothing for one of the stated reasons."""
    assert sample.rows == {
        "post-only orders that cross": 100_518,
        "other orders": 56_371,
        "cancels": 49_549,
        "changes that a trade made": 263,
        "changes that no trade of the plain book made": 3,
        "deletions of refused orders": 100_518,
        "deletions of filled orders": 304,
        "deletions of orders never seen": 13,
        "closing rows of the collector": 6_518,
    }
    assert len(sample.ghosts) == 2
    assert len(sample.commands) == 100_518 + 56_371 + 49_549 + 3 + len(sample.ghosts)


def test_the_sample_has_one_id_a_command_and_times_that_do_not_fall(sample: Session) -> None:
    """Command ids are unique and times rise, as an engine demands that drops repeats by id."""
    assert len({command.client_order_id for command in sample.commands}) == len(sample.commands)
    times = [command.at_ns for command in sample.commands]
    assert times == sorted(times)


def test_the_deposits_of_the_sample_fit_one_clearing_account(sample: Session) -> None:
    """All deposits together are below an int64, with 200 accounts that each have some."""
    assert sum(deposit.amount_minor for deposit in sample.deposits) < INT64_MAX
    assert len({deposit.account for deposit in sample.deposits}) == 200


def test_an_order_that_is_not_an_aggressor_is_post_only(tmp_path: Path) -> None:
    """The recorded trades say who took; all others are post-only, and a market order has no price."""
    session = write_session(
        tmp_path,
        """
        1,100,100,10.0,2e-08,created,ask
        2,101,101,11.0,1e-08,created,bid
        3,102,102,0.0,1e-08,created,ask
        4,103,103,9.0,1e-08,created,bid
        1,900,900,10.0,1e-08,deleted,ask
        4,900,900,9.0,1e-08,deleted,bid
        """,
        "7,101,101,10.0,1e-08,2,1,buy\n8,102,102,9.0,1e-08,9,3,sell\n",
    )
    assert shown(session) == [
        "1 SELL 2 at 1000 post-only",
        "2 BUY 1 at 1100",
        "3 SELL 1 at market",
        "4 BUY 1 at 900 post-only",
    ]
    assert session.plain_fills == (Fill("2", "1", 1000, 1),)


def test_a_deletion_within_20_ms_is_a_refusal_and_no_command(tmp_path: Path) -> None:
    """A post-only order that crosses is sent, and its deletion is the exchange's own refusal."""
    session = write_session(
        tmp_path,
        """
        1,100,100,10.0,2e-08,created,ask
        2,101,101,10.0,1e-08,created,bid
        2,121,121,10.0,1e-08,deleted,bid
        1,130,130,10.0,2e-08,deleted,ask
        3,140,140,10.0,2e-08,created,ask
        3,900,900,10.0,2e-08,deleted,ask
        """,
        "7,1,1,1.0,1e-08,8,9,buy\n",
    )
    assert shown(session) == [
        "1 SELL 2 at 1000 post-only",
        "2 BUY 1 at 1000 post-only",
        "cancel 1",
        "3 SELL 2 at 1000 post-only",
    ]
    assert session.refused_crossing == {"2"}


def test_who_is_crossed_by_one_that_lives_is_a_ghost(tmp_path: Path) -> None:
    """A crossing post-only order that lives on for more than 20 ms shows that the resting one was gone."""
    session = write_session(
        tmp_path,
        """
        1,100,100,10.0,2e-08,created,ask
        2,101,101,10.0,1e-08,created,bid
        2,122,122,10.0,1e-08,deleted,bid
        3,130,130,10.0,1e-08,created,ask
        1,200,200,10.0,2e-08,deleted,ask
        3,200,200,10.0,1e-08,deleted,ask
        """,
        "7,1,1,1.0,1e-08,8,9,buy\n",
    )
    assert shown(session) == [
        "1 SELL 2 at 1000 post-only",
        "cancel 1",
        "2 BUY 1 at 1000 post-only",
        "cancel 2",
        "3 SELL 1 at 1000 post-only",
    ]
    assert [ghost.order_id for ghost in session.ghosts] == ["1"]
    assert session.recorded_book == {"BUY": (), "SELL": (Level(1000, 1),)}


def test_a_change_is_a_command_only_where_no_trade_made_it(tmp_path: Path) -> None:
    """A change after a trade of the book is nothing; after one that it could not make, it is a replace."""
    session = write_session(
        tmp_path,
        """
        1,100,100,10.0,9e-08,created,ask
        2,101,101,10.0,2e-08,created,bid
        1,101,101,10.0,7e-08,changed,ask
        2,101,101,10.0,0.0,deleted,bid
        3,102,102,999999999.0,0.0,created,bid
        1,102,102,10.0,6e-08,changed,ask
        1,103,103,10.0,6e-08,deleted,ask
        4,104,104,12.0,6e-08,created,ask
        4,900,900,12.0,6e-08,deleted,ask
        """,
        "7,101,101,10.0,2e-08,2,1,buy\n8,102,102,10.0,1e-08,3,1,buy\n",
    )
    assert shown(session) == [
        "1 SELL 9 at 1000 post-only",
        "2 BUY 2 at 1000",
        "3 BUY 0 at market",
        "replace 1 8",
        "cancel 1/replaced-102000000",
        "4 SELL 6 at 1200 post-only",
    ]
    assert session.without_quantity == {"3"}
    assert exchange_id("1/replaced-102000000") == "1"
