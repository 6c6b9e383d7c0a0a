"""Orders in files: what a line becomes, and what is said of one that cannot be sent."""

import pytest

from connectors.json_commands import LineError
from connectors.views.reference import Reference
from infra.commands.order_lines import read_csv, read_ndjson
from infra.errors import OperatorError
from schemas.commands import CancelOrder, ClientCommand, MassCancel, PlaceOrder, ReplaceOrder
from schemas.reference import Instrument

ORDER = (
    b'{"command":"PlaceOrder","account":"a","client_order_id":"1","instrument":"X","side":"BUY",'
    b'"order_type":"LIMIT","time_in_force":"GTC","price":"%s","quantity":"%s"}'
)


@pytest.fixture
def units() -> Reference:
    """Instrument X: ticks of 0.05, lots of 0.1."""
    reference = Reference()
    reference.define(
        Instrument(
            symbol="X",
            kind="SPOT",
            currency="USD",
            currency_exponent=3,
            tick_size_e9=50_000_000,
            lot_size_e9=100_000_000,
            multiplier=1,
            minor_per_tick_lot=5,
            maximum_quantity_lots=1000,
            maximum_notional_minor=10**9,
        )
    )
    return reference


def test_orders_count_in_ticks_and_lots(units: Reference) -> None:
    """Every client's command is read in its instrument's units, with no time: the broker stamps it."""
    source = (
        ORDER % (b"100.5", b"3"),
        b" \n",
        b'{"command":"CancelOrder","account":"a","client_order_id":"2","original_client_order_id":"1"}\n',
        (
            b'{"command":"ReplaceOrder","account":"a","client_order_id":"3","original_client_order_id":"1",'
            b'"instrument":"X","quantity":"0.5"}'
        ),
        b'{"command":"MassCancel","account":"a","command_id":"4","side":"BUY"}',
    )
    commands: list[tuple[int, ClientCommand]] = [
        (
            1,
            PlaceOrder(
                account="a",
                client_order_id="1",
                instrument="X",
                side="BUY",
                order_type="LIMIT",
                time_in_force="GTC",
                quantity_lots=30,
                price_ticks=2010,
            ),
        ),
        (3, CancelOrder(account="a", client_order_id="2", original_client_order_id="1")),
        (4, ReplaceOrder(account="a", client_order_id="3", original_client_order_id="1", quantity_lots=5)),
        (5, MassCancel(command_id="4", account="a", side="BUY")),
    ]
    assert list(read_ndjson(source, units)) == commands


@pytest.mark.parametrize(
    ("line", "reason", "words"),
    [
        (b"garbage", "undecodable", "malformed"),
        (b'{"command":"Fly"}', "unknown_type", "Fly"),
        (ORDER % (b"100.51", b"3"), "invalid_price", "price 100.51 is not a multiple of the tick size 0.05"),
        (ORDER % (b"100", b"0.01"), "invalid_quantity", "not a multiple of the lot size 0.1"),
        ((ORDER % (b"1", b"1")).replace(b'"X"', b'"Y"'), "unknown_instrument", "'Y' is not defined"),
        (b'{"command":"Kill"}', "unknown_type", "Kill is an operator's"),
        (b'{"command":"MassCancel","command_id":"1"}', "undecodable", "trading mass-cancel"),
        (b'{"command":"MassCancel","account":"a"}', "undecodable", "needs its command_id"),
        (
            b'{"command":"ReplaceOrder","account":"a","client_order_id":"3","original_client_order_id":"1","price":"1"}',
            "undecodable",
            "names its instrument",
        ),
    ],
)
def test_line_that_cannot_be_sent_says_why(units: Reference, line: bytes, reason: str, words: str) -> None:
    """A line that cannot be read or counted gives its reason, and the next one is read."""
    (first, fault), (second, order) = read_ndjson((line, ORDER % (b"1", b"1")), units)
    assert (first, second) == (1, 2)
    assert isinstance(fault, LineError)
    assert fault.reason == reason
    assert words in str(fault)
    assert isinstance(order, PlaceOrder)


def test_csv_says_the_same_as_ndjson(units: Reference) -> None:
    """A row is a command: empty cells leave fields out, words become flags and numbers, PlaceOrder is the default."""
    source = (
        b"\xef\xbb\xbfaccount,client_order_id,instrument,side,order_type,time_in_force,price,quantity,post_only,expires_at\r\n",
        b"a,1,X,BUY,LIMIT,GTC,100.5,3,,\r\n",
        b"a,2,X,SELL,LIMIT,GTD,100.5,3,true,1700000000000000000\r\n",
        b'"a",3,X,SELL,MARKET,IOC,,3,,\r\n',
    )
    first, second, third = (command for _, command in read_csv(source, units))
    assert [(1, first)] == list(read_ndjson((ORDER % (b"100.5", b"3"),), units))
    assert isinstance(second, PlaceOrder)
    assert (second.post_only, second.expires_at_ns) == (True, 1_700_000_000_000_000_000)
    assert isinstance(third, PlaceOrder)
    assert (third.price_ticks, third.quantity_lots) == (None, 30)


def test_csv_may_name_its_commands(units: Reference) -> None:
    """A column `command` says what each row is; a faulty row is named by its line, and the next one is read."""
    source = (
        b"command,account,client_order_id,original_client_order_id\n",
        b"CancelOrder,a,2,1,more\n",
        b"CancelOrder,a,,1\n",
        b"CancelOrder,a,2,1\n",
    )
    (_, more), (line, missing), last = read_csv(source, units)
    assert "1 cells more than the first row has" in str(more)
    assert line == 3
    assert "client_order_id" in str(missing)
    assert last == (4, CancelOrder(account="a", client_order_id="2", original_client_order_id="1"))


def test_csv_with_a_mistyped_column_is_refused(units: Reference) -> None:
    """A column that nobody knows is an error before anything is sent: its values would be lost in silence."""
    with pytest.raises(OperatorError, match="column 'quantty' is unknown: there is account, client_order_id"):
        list(read_csv((b"account,quantty\n", b"a,1\n"), units))
