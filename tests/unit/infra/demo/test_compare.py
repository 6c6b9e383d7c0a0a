from infra.demo.compare import compare_books, compare_refusals, compare_trades
from infra.demo.plain_book import Fill, Level
from infra.demo.session import Session
from schemas.events import Trade


def trade(fill: Fill, *, taker_buys: bool = True, suffix: str = "") -> Trade:
    """A trade as the engine would say it, by a taker on the side of buyers unless told."""
    maker, taker = (fill.sell_id, fill.buy_id) if taker_buys else (fill.buy_id, fill.sell_id)
    return Trade(
        trade_id=1,
        instrument="BTC-USD",
        price_ticks=fill.price_ticks,
        quantity_lots=fill.quantity_lots,
        aggressor_side="BUY" if taker_buys else "SELL",
        maker_order_id=1,
        maker_client_order_id=maker + suffix,
        maker_account="a",
        taker_order_id=2,
        taker_client_order_id=taker,
        taker_account="b",
        at_ns=0,
    )


def test_the_plain_books_trades_leave_three_missing_and_one_made_up(sample: Session) -> None:
    """Every trade that is not exact is named with its reason: two without a volume, and one ghost."""
    found = compare_trades(sample, [trade(fill) for fill in sample.plain_fills], {})
    assert (found.recorded, found.made, found.exact) == (284, 282, 281)
    assert found.unlike_plain_book == ()
    assert sorted("volume is recorded as 0" in missing.why for missing in found.missing) == [
        False,
        True,
        True,
    ]
    assert [made_up.fill.sell_id for made_up in found.made_up] == ["2002347646152704"]
    assert "was a ghost" in found.made_up[0].why
    assert not [each for each in (*found.missing, *found.made_up) if "not explained" in each.why]


def test_who_took_and_a_replaced_id_make_no_difference(sample: Session) -> None:
    """A trade is compared under the exchange's ids, whoever took, whatever an order is called now."""
    fills = [trade(fill, taker_buys=False, suffix="/replaced-1") for fill in sample.plain_fills]
    assert compare_trades(sample, fills, {}).exact == 281


def test_a_lost_trade_is_missing_with_the_refusal_that_lost_it(sample: Session) -> None:
    """A trade that is not there because an order was refused says so; one without a reason says that."""
    first, second = sample.plain_fills[:2]
    rest = [trade(fill) for fill in sample.plain_fills[2:]]
    found = compare_trades(sample, rest, {first.sell_id: "insufficient_margin"})
    why = {each.fill: each.why for each in found.missing}
    assert why[first] == f"{first.sell_id} was refused: insufficient_margin"
    assert why[second] == "not explained by the recording"
    assert set(found.unlike_plain_book) == {first, second}


def test_crossing_orders_are_held_against_the_exchanges_refusals(sample: Session) -> None:
    """The engine must refuse exactly the crossing orders; the data explain other refusals."""
    crossing = sorted(sample.refused_crossing)
    odd = dict.fromkeys(sample.without_quantity, "invalid_quantity")
    found = compare_refusals(sample, dict.fromkeys([*crossing[1:], "x"], "post_only_would_trade") | odd)
    assert found.crossing_in_both == len(crossing) - 1
    assert (found.crossing_only_recorded, found.crossing_only_engine) == (1, 1)
    assert found.by_reason == {"post_only_would_trade": len(crossing), "invalid_quantity": 2}
    assert found.explained["invalid_quantity"].startswith("2 recorded with volume 0")


def test_books_stand_side_by_side(sample: Session) -> None:
    """Ten rows a side, best first; a level that the engine has not is None."""
    best = sample.recorded_book["BUY"][0]
    rows = compare_books(sample, {"BUY": (best,), "SELL": (Level(1, 1),)})
    assert [row.side for row in rows] == ["SELL"] * 10 + ["BUY"] * 10
    assert rows[10].recorded == rows[10].engine == best
    assert rows[11].engine is None
