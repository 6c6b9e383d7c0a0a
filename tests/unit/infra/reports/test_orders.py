"""Order record keeping: the code of each event, and what each field of RTS 24 holds after it."""

import json
from importlib import resources
from typing import Any, Final

import pytest

from infra.reports.day import Day
from infra.reports.files import schema
from infra.reports.orders import HIDDEN, NEVER_CAME_IN, OLDER, REDEFINED, orders
from schemas.flat import FlatRiskEvent
from schemas.reference import Account
from tests.unit.infra.reports.list_rows import DAY, ListRows, Story, built, defined

CODE: Final = "New order, order modification, order cancellation, order rejections, partial or full execution"
STOP: Final[dict[str, Any]] = {"order_type": "STOP", "price_ticks": None, "stop_price_ticks": 107}


def rows_of(story: Story, *more: Any) -> list[dict[str, Any]]:
    """The report's rows of one order's story, which is complete."""
    found, notes = built(orders, ListRows(*story.rows, *more))
    assert notes.reasons == ()
    return found


def last(story: Story, *more: Any) -> dict[str, Any]:
    """The row of the last event."""
    return rows_of(story, *more)[-1]


@pytest.mark.parametrize(
    ("story", "codes"),
    [
        (Story().accept(), ["NEWO"]),
        (Story(**STOP).accept().tell("OrderTriggered", trigger_price_ticks=108), ["NEWO", "TRIG"]),
        (
            Story().accept().tell("OrderReplaced", price_ticks=105, quantity_lots=5, leaves_quantity_lots=5),
            ["NEWO", "REME"],
        ),
        (
            Story().accept().tell("OrderReduced", reduced_quantity_lots=2, leaves_quantity_lots=8),
            ["NEWO", "REMA"],
        ),
        (Story().accept().tell("OrderCancelled", reason="requested"), ["NEWO", "CAME"]),
        (Story().accept().tell("OrderCancelled", reason="mass_cancel", command_id="m"), ["NEWO", "CAME"]),
        (Story().accept().tell("OrderCancelled", reason="replaced_to_filled"), ["NEWO", "CAME"]),
        (Story().accept().tell("OrderCancelled", reason="killed"), ["NEWO", "CAMO"]),
        (Story().accept().tell("OrderCancelled", reason="self_trade_prevention"), ["NEWO", "CAMO"]),
        (Story().accept().tell("OrderCancelled", reason="price_protection"), ["NEWO", "CAMO"]),
        (Story().accept().tell("OrderCancelled", reason="too_many_fills"), ["NEWO", "CAMO"]),
        (Story().accept().tell("OrderCancelled", reason="immediate_or_cancel"), ["NEWO", "EXPI"]),
        (Story().accept().tell("OrderCancelled", reason="no_liquidity"), ["NEWO", "EXPI"]),
        (Story().accept().tell("OrderExpired", cancelled_quantity_lots=10), ["NEWO", "EXPI"]),
        (Story().tell("OrderRejected", reason="insufficient_cash", order_id=None), ["REMO"]),
        (Story().tell("OrderRejected", reason="post_only_would_trade"), ["REMO"]),
        (Story().accept().fill(4, 6).fill(6, 0), ["NEWO", "PARF", "FILL"]),
        (Story().accept().tell("CancelRejected", reason="order_closed"), ["NEWO"]),
        (Story().accept().tell("OrderAccepted", possible_resend=True), ["NEWO"]),
    ],
)
def test_each_event_has_its_code(story: Story, codes: list[str]) -> None:
    """Field 21 of every event that changes an order; what changes none, or is said again, has no row."""
    found = rows_of(story)
    assert [it[CODE] for it in found] == codes
    assert [it["Sequence number"] for it in found] == list(range(1, len(codes) + 1))


def test_an_operators_mass_cancel_is_the_markets() -> None:
    """A mass cancel that control ordered is CAMO, an account's own with the same reason CAME."""
    ordered = FlatRiskEvent(
        epoch=1,
        origin="control-0/account-events",
        partition=0,
        sequence=1,
        item=0,
        event="MassCancelOrdered",
        at_ns=DAY.begin_ns + 1,
        command_id="op-1",
    )
    story = Story().accept().tell("OrderCancelled", reason="mass_cancel", command_id="op-1")
    assert last(story, ordered)[CODE] == "CAMO"
    assert last(story)[CODE] == "CAME"


def test_a_new_order_in_full() -> None:
    """Every field that the engine knows of a new order, in the rule's own words and units, times to the microsecond."""
    found = last(Story(minimum_quantity_lots=3, post_only=True).accept())
    assert {name: value for name, value in found.items() if value is not None} == {
        "Date and time": "2026-11-25T10:00:02.123456Z",
        "Validity period": "GTCV",
        "Priority time stamp": "2026-11-25T10:00:02.123456Z",
        "Sequence number": 1,
        "Order book code": "ACME",
        "Date of receipt": "2026-11-25",
        "Order identification code": "1-9",
        CODE: "NEWO",
        "Order type": "LIMIT",
        "Order type classification": "LMTO",
        "Limit price": "1.05",
        "Price currency": "USD",
        "Price notation": "MONE",
        "Buy-sell indicator": "BUYI",
        "Order status": "ACTI",
        "Quantity notation": "UNIT",
        "Initial quantity": "5",
        "Remaining quantity including hidden": "5",
        "Displayed quantity": "5",
        "Minimum Acceptable Quantity (MAQ)": "1.5",
        "Passive only indicator": True,
        "Self-execution prevention": True,
        "Account": "alice",
        "Client order identifier": "mine",
    }


def test_a_fill_says_who_was_passive() -> None:
    """Price, quantity, what remains, the side's liquidity and the trade's code stand at a fill, and only there."""
    new, part, full = rows_of(Story().accept().fill(4, 6).fill(6, 0, "TAKER"))
    names = (
        "Transaction price",
        "Traded quantity",
        "Remaining quantity including hidden",
        "Passive or aggressive indicator",
        "Trading venue transaction identification code",
        "Order status",
    )
    assert [new[it] for it in names] == [None, None, "5", None, None, "ACTI"]
    assert [part[it] for it in names] == ["1.04", "2", "3", "PASV", "1-3", "ACTI"]
    assert [full[it] for it in names] == ["1.04", "3", "0", "AGRE", "1-3", "INAC"]


@pytest.mark.parametrize(
    ("asked", "validity", "until"),
    [
        ({}, "GTCV", None),
        ({"time_in_force": "IOC"}, "IOCV", None),
        ({"time_in_force": "FOK"}, "FOKV", None),
        ({"time_in_force": "DAY"}, "DAVY", "2026-11-25T16:59:59.999999Z"),
        (
            {"time_in_force": "GTD", "expires_at_ns": DAY.end_ns + 5_000},
            "GTSV",
            "2026-11-26T00:00:00.000005Z",
        ),
    ],
)
def test_validity(asked: dict[str, Any], validity: str, until: str | None) -> None:
    """Fields 10 and 12: a day order ends immediately before its session does, a dated one when it says."""
    found = last(Story(**asked).accept())
    assert (found["Validity period"], found["Validity period date and time"]) == (validity, until)


@pytest.mark.parametrize(
    ("story", "shown"),
    [
        (Story().accept(), "5"),
        (Story(display_quantity_lots=2).accept(), "1"),
        (Story(display_quantity_lots=2).accept().fill(9, 1, "TAKER"), "0.5"),
        (Story(time_in_force="IOC").accept(), "0"),
        (Story(order_type="MARKET", price_ticks=None).accept(), "0"),
        (Story(**STOP).accept(), "0"),
        (Story().accept().tell("OrderCancelled", reason="requested"), "0"),
    ],
)
def test_what_the_book_shows(story: Story, shown: str) -> None:
    """Field 38: all that is left, an iceberg's slice, and nothing of what never rests, waits, or has ended."""
    assert last(story)["Displayed quantity"] == shown


def test_an_icebergs_later_slices_are_not_invented() -> None:
    """After it has traded while it rested its slice and its priority are empty, and the manifest says why."""
    found, notes = built(orders, ListRows(*Story(display_quantity_lots=2).accept().fill(1, 9).rows))
    assert (found[-1]["Displayed quantity"], found[-1]["Priority time stamp"]) == (None, None)
    assert [it["why"] for it in notes.partly()] == [HIDDEN]
    assert notes.reasons == ()


@pytest.mark.parametrize(
    ("price", "lots", "keeps"), [(105, 10, True), (105, 4, True), (105, 11, False), (106, 4, False)]
)
def test_priority_after_a_replace(price: int, lots: int, keeps: bool) -> None:
    """Field 13: equal or less at the same price keeps its time, anything else loses it."""
    story = (
        Story()
        .accept()
        .tell("OrderReplaced", price_ticks=price, quantity_lots=lots, leaves_quantity_lots=lots)
    )
    new, replaced = rows_of(story)
    assert (replaced["Priority time stamp"] == new["Priority time stamp"]) is keeps
    assert replaced["Limit price"] == f"{price / 100}"


def test_a_stop_has_no_priority_before_it_is_elected() -> None:
    """A waiting stop is inactive; elected, it is active from then on."""
    new, triggered = rows_of(Story(**STOP).accept().tell("OrderTriggered", trigger_price_ticks=108))
    assert (new["Order status"], new["Priority time stamp"], new["Stop price"]) == ("INAC", None, "1.07")
    assert (triggered["Order status"], triggered["Priority time stamp"]) == (
        "ACTI",
        triggered["Date and time"],
    )


@pytest.mark.parametrize(
    ("account", "mode", "flag"),
    [("alice", None, True), ("bob", None, False), ("bob", "DECREMENT", True), ("alice", "NONE", False)],
)
def test_the_self_trade_flag(account: str, mode: str | None, flag: bool) -> None:
    """Field 45: the order's own mode, else its account's."""
    story = Story(account=account, self_trade_prevention=mode).tell(
        "OrderRejected", account=account, order_id=None
    )
    assert last(story)["Self-execution prevention"] is flag


def test_an_account_that_was_changed_since_says_nothing_of_then() -> None:
    """Where the account's mode of then is not known the flag is empty, and the report incomplete."""
    later = defined("ACCOUNT", "alice", Account(account="alice"), at_ns=DAY.end_ns)
    found, notes = built(orders, ListRows(*Story().accept().rows, later))
    assert found[0]["Self-execution prevention"] is None
    assert notes.reasons == (f"{REDEFINED}: alice",)


def test_a_rejected_order_has_the_terms_that_were_asked_for() -> None:
    """What risk refused has its side, price and quantity all the same, and the reason."""
    found = last(Story(side="SELL").tell("OrderRejected", reason="insufficient_cash", order_id=None))
    assert (found["Buy-sell indicator"], found["Limit price"], found["Initial quantity"]) == (
        "SELL",
        "1.05",
        "5",
    )
    assert (found["Order identification code"], found["Reason"]) == (None, "insufficient_cash")


def test_what_was_refused_at_the_edge_has_no_terms() -> None:
    """An order that never came in is a row without terms; the manifest says so, and it is complete."""
    story = Story()
    story.tell("OrderRejected", client_order_id="other", order_id=None, reason="number_out_of_range")
    found, notes = built(orders, ListRows(*story.rows))
    assert (found[0][CODE], found[0]["Buy-sell indicator"]) == ("REMO", None)
    assert [it["why"] for it in notes.partly()] == [NEVER_CAME_IN]
    assert notes.reasons == ()


def test_an_order_of_an_earlier_day_is_known() -> None:
    """What happens to an order of an earlier day has its terms, and its date of receipt."""
    story = Story(Day(DAY.number - 3)).accept()
    story.rows += [it for it in Story().accept().fill(4, 6).rows if it.event == "OrderFilled"]
    (found,) = rows_of(story)
    assert (found["Date of receipt"], found["Limit price"], found[CODE]) == ("2026-11-22", "1.05", "PARF")


def test_an_order_from_before_the_source_is_named() -> None:
    """Without its terms the row is there, and the report is incomplete."""
    story = Story().accept().fill(4, 6)
    found, notes = built(orders, ListRows(*story.rows[2:]))
    assert (found[0]["Limit price"], found[0]["Traded quantity"]) == (None, "2")
    assert notes.reasons == (f"{OLDER}: 1-9",)


def test_the_columns_are_the_rules() -> None:
    """Fields 1 to 51 in the order of RTS 24's table, each with its number and article; then the engine's own."""
    fields = list(schema("orders").document["properties"].values())
    assert len(fields) == 54
    for number, field in enumerate(fields[:51], 1):
        assert field["description"].startswith(f"RTS 24, Annex, Table 2, field {number}; Article ")
    articles = [int(it["description"].rpartition(" ")[2]) for it in fields[:51]]
    assert articles == sorted(articles)
    assert articles[0] == 2
    assert articles[-1] == 13
    text = resources.files("infra.reports").joinpath("orders.schema.json").read_text(encoding="utf-8")
    assert list(json.loads(text)["properties"]) == list(schema("orders").columns)


def test_nothing_is_left_out_in_silence() -> None:
    """Each column is filled by the builder, or the schema says why it is not."""
    quiet = {it["field"] for key in ("x-missing", "x-not-applicable") for it in schema("orders").why(key)}
    told = set(last(Story().accept()))
    assert told.isdisjoint(quiet)
    assert told | quiet == set(schema("orders").columns)
