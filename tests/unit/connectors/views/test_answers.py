"""What each view shows of the state, and what is said where there is nothing to show."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from connectors.views.server import VIEWS
from schemas.commands import CancelOrder, Deposit, ReplaceOrder
from tests.unit.connectors.views.town import NOW_NS, Map, Town, get, hosted, servers

TIME = "2023-11-14T22:13:20.000000000Z"
BOOK = "/books/BTC%2FUSD"


@pytest.fixture
def town() -> Town:
    """All stages with reference data: a tick of 0.5, a mark of 100, and 10,000.00 of cash for each account."""
    return Town()


@pytest.fixture
async def client(town: Town) -> AsyncIterator[ClientSession]:
    """A client of one process that runs all stages."""
    process = hosted(*(town[stage] for stage in town.workers))
    async with servers([process], Map()) as (client,):
        yield client


async def test_account(town: Town, client: ClientSession) -> None:
    """An account shows its cash, holds, holdings, and what its limits leave."""
    town.order("bob", "b1", "SELL", 202, 4)
    town.order("alice", "a1", "BUY", 202, 4)
    town.order("alice", "a2", "BUY", 198, 10)
    answer = await get(client, "/accounts/alice")
    assert answer.pop("as_of") | {"partition": 0, "next_offset": 0} == {
        "stage": "risk",
        "partition": 0,
        "next_offset": 0,
        "time": TIME,
        "time_ns": NOW_NS,
    }
    assert answer == {
        "account": "alice",
        "account_type": "CASH",
        "status": "ACTIVE",
        "is_killed": False,
        "balances": [
            {
                "currency": "USD",
                "cash": "9596",
                "unsettled": "0",
                "free_to_withdraw": "8606",
                "held": "990",
                "headroom": "8606",
            }
        ],
        "positions": [
            {
                "instrument": "BTC/USD",
                "quantity": "4",
                "open_cost": "404",
                "average_price": "101",
                "mark_price": "100",
                "open_buys": "10",
                "open_sells": "0",
                "buy_headroom": "86",
                "sell_headroom": "104",
            }
        ],
        "limits": {
            "maximum_order_quantity_lots": None,
            "maximum_order_notional_minor": None,
            "maximum_position_lots": 100,
            "maximum_repeated_orders_per_second": None,
            "maximum_open_orders": {"limit": 5, "used": 1, "headroom": 4},
            "maximum_messages_per_second": {"limit": None, "used": 0, "headroom": None},
        },
    }


async def test_margin_account(town: Town, client: ClientSession) -> None:
    """A margin account shows its equity at the mark, what is required of it, and its message rate."""
    town.order("bob", "b1", "SELL", 202, 4)
    town.order("alice", "a1", "BUY", 202, 4)
    answer = await get(client, "/accounts/bob")
    assert answer["balances"] == [
        {
            "currency": "USD",
            "cash": "10404",
            "unsettled": "0",
            "free_to_withdraw": "9964",
            "equity": "10004",
            "required": "40",
            "headroom": "9964",
            "is_reducing_only": False,
        }
    ]
    assert answer["positions"][0]["quantity"] == "-4"
    assert answer["positions"][0]["average_price"] == "101"
    assert answer["limits"]["maximum_messages_per_second"] == {"limit": 9, "used": 1, "headroom": 8}


async def test_cash_in_a_currency_of_no_instrument(town: Town, client: ClientSession) -> None:
    """Nobody can say how many decimals such a currency has: its amounts are minor units."""
    town.command(Deposit(account="alice", command_id="e", currency="XAU", amount_minor=12345, at_ns=NOW_NS))
    balances = (await get(client, "/accounts/alice"))["balances"]
    assert [(it["currency"], it["cash"]) for it in balances] == [("USD", "10000"), ("XAU", "12345")]


async def test_open_orders_come_in_pages(town: Town, client: ClientSession) -> None:
    """An account's open orders come by order id, a page at a time, and nobody else's are among them."""
    for number in range(5):
        town.order("alice", f"a{number}", "BUY", 190 - number, 1)
    town.order("bob", "b", "BUY", 150, 1)
    first = (await get(client, "/accounts/alice/orders?limit=3"))["orders"]
    rest = (await get(client, f"/accounts/alice/orders?limit=3&after={first[-1]['order_id']}"))["orders"]
    assert [it["client_order_id"] for it in first + rest] == ["a0", "a1", "a2", "a3", "a4"]


async def test_order_by_either_id(town: Town, client: ClientSession) -> None:
    """An open order is found by its client's id and by the engine's, and says the same."""
    town.order("bob", "b1", "SELL", 202, 1)
    town.order("alice", "a1", "BUY", 202, 3)
    by_name = await get(client, "/accounts/alice/orders/a1")
    by_id = await get(client, f"/orders/{by_name['order_id']}")
    assert by_id == by_name
    del by_id["as_of"]
    assert by_id == {
        "order_id": by_id["order_id"],
        "account": "alice",
        "client_order_id": "a1",
        "instrument": "BTC/USD",
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GTC",
        "state": "PARTIALLY_FILLED",
        "quantity": "3",
        "cum_quantity": "1",
        "leaves_quantity": "2",
        "price": "101",
        "stop_price": None,
        "held_at_price": "101",
        "pending_replaces": [],
        "entered_at": TIME,
        "entered_at_ns": NOW_NS,
    }


async def test_replaced_order_is_found_by_both_names(town: Town, client: ClientSession) -> None:
    """After a replace both names lead to the order, which shows the current one."""
    town.order("alice", "a1", "BUY", 190, 3)
    replace = ReplaceOrder(
        account="alice", client_order_id="a2", original_client_order_id="a1", price_ticks=191, at_ns=NOW_NS
    )
    town.command(replace)
    for name in "a1", "a2":
        order = await get(client, f"/accounts/alice/orders/{name}")
        assert (order["client_order_id"], order["price"]) == ("a2", "95.5")


async def test_order_that_is_not_open(town: Town, client: ClientSession) -> None:
    """A refused order tells why, a closed one that it is closed, and neither is found by the engine's id."""
    town.order("alice", "much", "BUY", 202, 2000)
    town.order("alice", "a1", "BUY", 190, 3)
    order_id = (await get(client, "/accounts/alice/orders/a1"))["order_id"]
    town.command(
        CancelOrder(account="alice", client_order_id="c1", original_client_order_id="a1", at_ns=NOW_NS)
    )
    refused = await get(client, "/accounts/alice/orders/much")
    assert (refused["state"], refused["reason"], refused["reason_code"]) == (
        "REFUSED",
        "quantity_exceeds_maximum",
        115,
    )
    closed = await get(client, "/accounts/alice/orders/a1")
    assert (closed["state"], closed["reason"], closed["order_id"]) == ("CLOSED", None, order_id)
    assert "not open" in (await get(client, f"/orders/{order_id}", 404))["error"]
    assert "a cancel" in (await get(client, "/accounts/alice/orders/c1", 404))["error"]


async def test_settled_positions(town: Town, client: ClientSession) -> None:
    """Settlement shows what it booked: cost, average price beyond the tick, and realised profit."""
    for number, (price, lots) in enumerate([(200, 1), (202, 2)]):
        town.order("bob", f"b{number}", "SELL", price, lots)
        town.order("alice", f"a{number}", "BUY", price, lots)
    town.order("alice", "a9", "SELL", 204, 1)
    town.order("bob", "b9", "BUY", 204, 1)
    (position,) = (await get(client, "/accounts/alice/positions"))["positions"]
    assert position == {
        "instrument": "BTC/USD",
        "currency": "USD",
        "quantity": "2",
        "open_cost": "201.34",
        "average_price": "100.67",
        "realised_profit": "1.34",
        "mark_price": "100",
        "version": 3,
    }
    assert (await get(client, "/accounts/nobody/positions"))["positions"] == []


async def test_book(town: Town, client: ClientSession) -> None:
    """The book shows its levels, its orders and its top, best first, as deep as was asked."""
    for number, price in enumerate([196, 198, 198]):
        town.order("alice", f"a{number}", "BUY", price, 2 + number)
    town.order("bob", "b0", "SELL", 205, 7)
    state = {"last_trade_price": None, "mark_price": "100", "trading_state": "OPEN"}
    best = {"price": "99", "quantity": "7", "order_count": 2}
    ask = {"price": "102.5", "quantity": "7", "order_count": 1}
    levels = await get(client, BOOK)
    assert levels["bids"] == [best, {"price": "98", "quantity": "2", "order_count": 1}]
    assert (await get(client, f"{BOOK}?depth=1"))["bids"] == [best]
    top = await get(client, f"{BOOK}/top")
    del top["as_of"]
    assert top == {"instrument": "BTC/USD", "bid": best, "ask": ask} | state
    orders = await get(client, f"{BOOK}/orders?limit=2")
    assert [it["quantity"] for it in orders["bids"]] == ["3", "4"]
    assert [it["price"] for it in orders["asks"]] == ["102.5"]


async def test_instruments(client: ClientSession) -> None:
    """An instrument shows its grid in decimals, and its definition as records have it."""
    one = await get(client, "/instruments/BTC%2FUSD")
    assert (one["tick_size"], one["maximum_notional"], one["session_end_utc"]) == (
        "0.5",
        "10000000000",
        "00:00",
    )
    assert one["definition"]["tick_size_e9"] == 500_000_000
    del one["as_of"]
    assert (await get(client, "/instruments"))["instruments"] == [one]
    assert (await get(client, "/instruments?first=1"))["instruments"] == []


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/accounts/nobody", 404, "account 'nobody' is not defined"),
        ("/accounts/nobody/orders", 404, "trading accounts apply"),
        ("/accounts/alice/orders/zz", 404, "used no client_order_id 'zz'"),
        ("/books/XYZ", 404, "GET /instruments lists those that are"),
        ("/instruments/XYZ", 404, "'XYZ' is not defined"),
        ("/orders/1", 404, "order 1 is not open"),
        (f"/orders/{2**62}", 404, "this engine has 2"),
        ("/orders/a1", 400, "/accounts/ACCOUNT/orders/CLIENT_ORDER_ID"),
        (f"/orders/{2**63}", 400, "is not an integer from 0"),
        ("/accounts/al%20ice", 400, "printable ASCII characters without spaces"),
        (f"/accounts/{'a' * 65}", 400, "1 to 64"),
        (f"{BOOK}?depth=0", 400, "depth='0' is not an integer from 1 to 1000"),
        (f"{BOOK}?depth=ten", 400, "depth='ten'"),
        (f"{BOOK}?deep=1", 400, "there is no parameter 'deep'; allowed: depth"),
        (f"{BOOK}/top?depth=1", 400, "takes none"),
        ("/nothing", 404, "there is no view at /nothing; GET / lists all"),
    ],
)
async def test_errors(client: ClientSession, path: str, status: int, says: str) -> None:
    """What was wrong, and what is allowed, is said in a sentence of JSON."""
    assert says in (await get(client, path, status))["error"]


async def test_only_reading_is_allowed(client: ClientSession) -> None:
    """Any method but GET is refused, in JSON as well."""
    async with client.post("/accounts/alice") as response:
        assert (response.status, "views are read" in (await response.json())["error"]) == (405, True)


async def test_index_names_every_view(client: ClientSession) -> None:
    """The index lists every path, and each example leads to a view that understands it."""
    async with client.get("/") as response:
        text = await response.text()
    assert response.content_type == "text/html"
    for view in VIEWS:
        assert f"<code>{view.path}</code>" in text
        async with client.get(view.example) as response:
            error = (await response.json()).get("error", "")
        assert response.status in {200, 404}
        assert "there is no view" not in error
    for path in ("/stages", "/metrics", "/health/live", "/health/ready"):
        assert path in text


async def test_a_look_keeps_nothing(town: Town, client: ClientSession) -> None:
    """An answer is of one moment: what is asked for later is told later, by the place in the inbox too."""
    before: Any = await get(client, "/accounts/alice")
    town.order("alice", "a1", "BUY", 190, 1)
    after: Any = await get(client, "/accounts/alice")
    assert before["limits"]["maximum_open_orders"]["used"] == 0
    assert after["limits"]["maximum_open_orders"]["used"] == 1
    assert after["as_of"]["next_offset"] > before["as_of"]["next_offset"]
