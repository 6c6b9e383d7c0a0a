"""The trade blotter, positions and obligations, on hand-made events."""

from typing import Any

import msgspec
import pytest

from infra.reports import executions, obligations, positions
from infra.reports.day import Day
from infra.reports.trades import trades
from schemas.flat import FlatOrderEvent, FlatPosition, FlatSettlement, FlatTrade
from schemas.record import Record
from tests.unit.infra.reports.list_rows import DAY, SECOND, ListRows, built

PLACE: dict[str, Any] = {"epoch": 1, "origin": "settlement-0/settlement-events", "partition": 0, "item": 0}


def traded(
    number: int,
    lots: int,
    ticks: int,
    day: Day = DAY,
    buyer: str = "alice",
    seller: str = "bob",
    **profit: int,
) -> list[Record]:
    """A trade with its fills, confirmations and obligations: the buyer takes; ``profit`` by account."""
    at_ns = day.begin_ns + number * SECOND
    notional = lots * ticks
    trade = FlatTrade(
        epoch=1,
        trade_id=number,
        instrument="ACME",
        price_ticks=ticks,
        quantity_lots=lots,
        aggressor_side="BUY",
        maker_order_id=1,
        maker_client_order_id="m",
        maker_account=seller,
        taker_order_id=2,
        taker_client_order_id="t",
        taker_account=buyer,
        at_ns=at_ns,
    )
    found: list[Record] = [trade]
    for index, (account, side, liquidity) in enumerate(((buyer, "BUY", "TAKER"), (seller, "SELL", "MAKER"))):
        common: dict[str, Any] = {
            **PLACE,
            "sequence": 10 * number + index,
            "at_ns": at_ns,
            "account": account,
            "instrument": "ACME",
            "trade_id": number,
        }
        sided: dict[str, Any] = {
            "side": side,
            "liquidity": liquidity,
            "order_id": 2 - index,
            "client_order_id": "t",
        }
        found.append(FlatOrderEvent(event="OrderFilled", **common, **sided))
        found.append(
            FlatSettlement(
                event="TradeConfirmed",
                currency="USD",
                price_ticks=ticks,
                quantity_lots=lots,
                notional_minor=notional,
                fee_minor=3 if side == "BUY" else -1,
                realised_profit_minor=profit.get(account, 0),
                settlement_day=day.number + 2,
                **common,
                **sided,
            )
        )
        buys = side == "BUY"
        found.append(
            FlatSettlement(
                event="ObligationCreated",
                currency="USD",
                settlement_day=day.number + 2,
                receive_quantity_lots=lots if buys else 0,
                deliver_quantity_lots=0 if buys else lots,
                receive_minor=0 if buys else notional,
                deliver_minor=notional if buys else 0,
                **{**common, "item": 1},
            )
        )
    return found


def held(account: str, lots: int, cost: int, version: int) -> FlatPosition:
    """What settlement says that an account holds."""
    return FlatPosition(
        epoch=1,
        account=account,
        instrument="ACME",
        version=version,
        currency="USD",
        quantity_lots=lots,
        open_cost_minor=cost,
        realised_profit_minor=0,
        at_ns=1,
    )


EARLIER = Day(DAY.number - 1)
LATER = Day(DAY.number + 1)
# alice buys 10 at 100 and 4 at 110; sells 7 at 120, of 14 that cost 1,440, so with a profit of 120; then buys 1.
MARKET = [
    *traded(0, 10, 100, EARLIER),
    *traded(1, 4, 110),
    *traded(2, 7, 120, buyer="bob", seller="alice", alice=120, bob=-120),
    *traded(3, 1, 130, LATER),
]
ALICE = held("alice", 8, 850, 4)
BOB = held("bob", -8, -850, 4)
MARKS = {"ACME": 125}


def test_a_trade_has_both_its_sides() -> None:
    """Buyer and seller with their fees (a rebate is below zero), in units, under the epoch's ids."""
    (first, _), notes = built(trades, ListRows(*MARKET))
    assert notes.reasons == ()
    assert first == {
        "sequence": 1,
        "time": "2026-11-25T00:00:01.000000Z",
        "trade_id": "1-1",
        "instrument": "ACME",
        "currency": "USD",
        "price": "1.1",
        "quantity": "2",
        "notional": "4.4",
        "aggressor_side": "BUY",
        "settlement_date": "2026-11-27",
        "buy_account": "alice",
        "buy_client_order_id": "t",
        "buy_order_id": "1-2",
        "buy_liquidity": "TAKER",
        "buy_fee": "0.03",
        "buy_realised_profit": "0",
        "sell_account": "bob",
        "sell_client_order_id": "t",
        "sell_order_id": "1-1",
        "sell_liquidity": "MAKER",
        "sell_fee": "-0.01",
        "sell_realised_profit": "0",
    }


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        (FlatTrade, "1 has no trade"),
        (FlatOrderEvent, "1 has no TAKER fill"),
        (FlatSettlement, "1 has no TAKER confirmation"),
    ],
)
def test_a_trade_without_a_part_is_named(gone: type[Record], said: str) -> None:
    """A trade, a fill or a confirmation that is not there makes every report of money incomplete."""
    lost = next(it for it in MARKET if isinstance(it, gone) and it.trade_id == 1)  # type: ignore[attr-defined]
    rows = ListRows(*(it for it in MARKET if it is not lost), ALICE, BOB, marks=MARKS)
    for build in (trades, positions.positions, obligations.obligations):
        _, notes = built(build, rows)
        assert f"{executions.MISSING}: {said}" in notes.reasons


def test_a_gap_in_the_numbers_is_named() -> None:
    """Trades of a partition rise by one: a whole trade that is not there is missed."""
    _, notes = built(trades, ListRows(*traded(1, 1, 100), *traded(3, 1, 100)))
    assert notes.reasons == (f"{executions.NUMBERS}: 1 is followed by 3",)


def test_positions_tie() -> None:
    """Opening, movements, closing, what was realised, and what is not at the mark."""
    (alice, bob), notes = built(positions.positions, ListRows(*MARKET, ALICE, BOB, marks=MARKS))
    assert notes.reasons == ()
    assert alice == {
        "sequence": 1,
        "account": "alice",
        "instrument": "ACME",
        "currency": "USD",
        "opening_quantity": "5",
        "opening_cost": "10",
        "bought_quantity": "2",
        "bought_notional": "4.4",
        "sold_quantity": "3.5",
        "sold_notional": "8.4",
        "movements": 2,
        "variation": "0",
        "realised_profit": "1.2",
        "fees": "0.02",
        "closing_quantity": "3.5",
        "closing_cost": "7.2",
        "mark_price": "1.25",
        "unrealised_profit": "1.55",
    }
    assert (bob["closing_quantity"], bob["closing_cost"], bob["unrealised_profit"]) == (
        "-3.5",
        "-7.2",
        "-1.55",
    )


def test_a_source_that_begins_later_opens_with_what_is_held_now() -> None:
    """Without the first trades the opening is what settlement holds now, less what moved since."""
    known = [it for it in MARKET if it.at_ns >= DAY.begin_ns]  # type: ignore[attr-defined]
    rows = ListRows(*known, ALICE, BOB, since_ns=DAY.begin_ns, marks=MARKS)
    whole, _ = built(positions.positions, ListRows(*MARKET, ALICE, BOB, marks=MARKS))
    found, notes = built(positions.positions, rows)
    assert (found, notes.reasons) == (whole, ())


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (
            msgspec.structs.replace(ALICE, quantity_lots=9),
            "alice ACME: 4 movements give (10, 1000) at the start, settlement's version 4 (11, 1000)",
        ),
        (
            msgspec.structs.replace(ALICE, version=5),
            "alice ACME: 4 movements give (10, 1000) at the start, settlement's version 5 (10, 1000)",
        ),
        (
            msgspec.structs.replace(ALICE, version=1),
            "alice ACME: 4 movements, and settlement knows of 1",
        ),
    ],
)
def test_a_position_that_does_not_tie_is_named(state: FlatPosition, said: str) -> None:
    """What trades give and what settlement says of a holding must agree, in amount and in count."""
    _, notes = built(positions.positions, ListRows(*MARKET, state, BOB, marks=MARKS))
    assert notes.reasons == (f"{positions.UNTIED}: {said}",)


def test_a_position_that_nobody_states_is_named() -> None:
    """Where settlement's own word is not in the source the opening is not known."""
    _, notes = built(positions.positions, ListRows(*MARKET, BOB, marks=MARKS))
    assert notes.reasons[0].startswith(f"{positions.UNKNOWN}: alice ACME")


def test_without_a_mark_nothing_is_unrealised() -> None:
    """No mark: the profit is left empty and the report is incomplete; it is never guessed."""
    found, notes = built(positions.positions, ListRows(*MARKET, ALICE, BOB))
    assert [it["unrealised_profit"] for it in found] == [None, None]
    assert notes.reasons == (f"{positions.NO_MARK}: ACME and 1 more",)


def test_a_future_is_varied() -> None:
    """A variation raises cost and realised profit alike."""
    varied = FlatSettlement(
        **PLACE,
        sequence=99,
        event="VariationSettled",
        at_ns=DAY.begin_ns + 9 * SECOND,
        account="alice",
        currency="USD",
        instrument="ACME",
        amount_minor=30,
    )
    rows = ListRows(*MARKET, varied, held("alice", 8, 880, 5), BOB, marks=MARKS)
    (alice, _), notes = built(positions.positions, rows)
    assert notes.reasons == ()
    assert (alice["variation"], alice["realised_profit"], alice["closing_cost"]) == ("0.3", "1.5", "7.5")


def test_obligations_are_netted_by_date_and_asset() -> None:
    """What is open at the day's end, gross and net, by date; not what was made later."""
    found, notes = built(obligations.obligations, ListRows(*MARKET))
    assert notes.reasons == ()
    shown = [
        (
            it["settlement_date"],
            it["account"],
            it["instrument"],
            it["gross_receive"],
            it["gross_deliver"],
            it["net_receive"],
            it["net_deliver"],
        )
        for it in found
    ]
    assert shown == [
        ("2026-11-26", "alice", None, "0", "10", "0", "10"),
        ("2026-11-26", "alice", "ACME", "5", "0", "5", "0"),
        ("2026-11-26", "bob", None, "10", "0", "10", "0"),
        ("2026-11-26", "bob", "ACME", "0", "5", "0", "5"),
        ("2026-11-27", "alice", None, "8.4", "4.4", "4", "0"),
        ("2026-11-27", "alice", "ACME", "2", "3.5", "0", "1.5"),
        ("2026-11-27", "bob", None, "4.4", "8.4", "0", "4"),
        ("2026-11-27", "bob", "ACME", "3.5", "2", "1.5", "0"),
    ]


def test_obligations_that_do_not_cancel_out_are_named() -> None:
    """Each trade makes two: where one is not there the nets of its date are not zero."""
    lost = next(it for it in MARKET if isinstance(it, FlatSettlement) and it.event == "ObligationCreated")
    _, notes = built(obligations.obligations, ListRows(*(it for it in MARKET if it is not lost)))
    assert notes.reasons == (f"{obligations.UNBALANCED}: 2026-11-26 USD: 1000, 2026-11-26 ACME: -10",)


def test_obligations_reach_back() -> None:
    """Where the days before are not in the source, what they left open is not either."""
    _, notes = built(obligations.obligations, ListRows(*MARKET, since_ns=DAY.begin_ns))
    assert notes.reasons == (obligations.BEGINS_LATER,)
