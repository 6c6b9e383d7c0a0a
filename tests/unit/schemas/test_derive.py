from typing import Literal

import pytest

from schemas.codec.derive import WIRE_TYPES, derive, file_stem
from schemas.commands import PlaceOrder
from schemas.envelopes import Chain
from schemas.record import Record


class Leg(Record, frozen=True, gc=False, kw_only=True):
    """A part."""

    symbol: str


class Basket(Record, frozen=True, gc=False, kw_only=True):
    """Some parts.

    And more.
    """

    first: Leg
    side: Literal["BUY", "SELL"]
    legs: tuple[Leg, ...] = ()
    price_ticks: int | None = None
    note: bytes = b""
    mixed: tuple[Leg | PlaceOrder, ...] = ()


def _types(record: type[Record]) -> dict[str, object]:
    return {field["name"]: field["type"] for field in derive(record)["fields"]}


def test_a_field_type_has_one_avro_type() -> None:
    """Strings, options, arrays and records become the Avro types that the base of records lists."""
    types = _types(Basket)
    assert types["side"] == "string"
    assert types["price_ticks"] == ["null", "long"]
    assert types["note"] == "bytes"
    assert types["legs"] == {"type": "array", "items": "trading.Leg"}


def test_a_record_is_defined_once_where_it_is_met_first() -> None:
    """The first mention of a record holds its fields, every later one its name."""
    first = {"name": "symbol", "type": "string"}
    types = _types(Basket)
    assert types["first"] == {"type": "record", "name": "trading.Leg", "doc": "A part.", "fields": [first]}
    mixed = types["mixed"]
    assert isinstance(mixed, dict)
    assert mixed["items"][0] == "trading.Leg"
    assert mixed["items"][1]["name"] == "trading.PlaceOrder"


def test_defaults_and_docs_are_those_of_the_struct() -> None:
    """A field's default and a class's docstring stand in the schema; a field without default has none."""
    schema = derive(Basket)
    assert schema["doc"] == "Some parts. And more."
    assert [field.get("default", "none") for field in schema["fields"]] == ["none", "none", [], None, "", []]


def test_a_type_outside_the_list_is_refused() -> None:
    """A float has no wire type: prices are integers."""

    class Loose(Record, frozen=True, gc=False, kw_only=True):
        price: float

    with pytest.raises(AssertionError, match="no Avro type stands for"):
        derive(Loose)


def test_a_chain_is_a_fixed_of_four_bytes() -> None:
    """The chain has one length whatever its number, so that all before it can be chained."""

    class Link(Record, frozen=True, gc=False, kw_only=True):
        chain: Chain

    assert _types(Link) == {"chain": {"type": "fixed", "name": "trading.Chain", "size": 4}}


def test_every_wire_type_has_its_own_file() -> None:
    """No two types share a file name, and a name is in snake case."""
    assert file_stem(PlaceOrder) == "place_order"
    assert len({file_stem(record) for record in WIRE_TYPES}) == len(WIRE_TYPES)
