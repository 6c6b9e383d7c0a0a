import copy
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from schemas.codec import generate, registry
from schemas.codec.derive import WIRE_TYPES, derive, file_stem
from schemas.commands import PlaceOrder
from schemas.envelopes import Envelope

REGISTRY = registry.read()


def _reads(reader: Any, writer: Any) -> bool:
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]
    result = checker.get_compatibility(parse(json.dumps(reader)), parse(json.dumps(writer)))
    return bool(result.compatibility is SchemaCompatibilityType.compatible)


def _fully_compatible(one: Any, other: Any) -> bool:
    return _reads(one, other) and _reads(other, one)


@pytest.mark.parametrize("name", generate.current_files())
def test_the_files_are_what_the_structs_say(name: str) -> None:
    """A changed Struct needs its file: run ``python -m schemas.codec.generate``."""
    assert (registry.AVRO / name).read_text() == generate.current_files()[name]


def test_no_file_is_left_over() -> None:
    """Every schema file is that of a wire type, and every released file is in the registry."""
    assert {path.name for path in registry.AVRO.glob("*.avsc")} == set(generate.current_files())
    released = {release.file for releases in REGISTRY.values() for release in releases}
    assert {f"released/{path.name}" for path in (registry.AVRO / "released").iterdir()} == released


@pytest.mark.parametrize("record", WIRE_TYPES)
def test_the_current_schema_is_released(record: type) -> None:
    """A changed schema needs a new id: run ``python -m schemas.codec.generate --release``."""
    last = registry.load(REGISTRY[record.__name__][-1].file)
    assert generate.without_docs(derive(record)) == generate.without_docs(last)


RELEASES = [(record, release) for record in WIRE_TYPES for release in REGISTRY[record.__name__]]


@pytest.mark.parametrize(("record", "release"), RELEASES)
def test_the_current_schema_is_fully_compatible(record: type, release: registry.Release) -> None:
    """Old readers read new values, and new readers old ones, for every release of a type."""
    current = registry.load(f"{file_stem(record)}.avsc")
    assert _fully_compatible(current, registry.load(release.file))


def test_ids_and_files_are_unique() -> None:
    """An id names one schema for ever."""
    releases = [release for known in REGISTRY.values() for release in known]
    assert len({release.id for release in releases}) == len(releases)
    assert len({release.file for release in releases}) == len(releases)


def _field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(field for field in schema["fields"] if field["name"] == name)
    return found


def test_a_change_that_would_break_a_reader_is_found() -> None:
    """Renamed, retyped, required or vanished: each of these makes the check above fail."""
    current = derive(PlaceOrder)
    renamed, narrowed, required, added = (copy.deepcopy(current) for _ in range(4))
    _field(renamed, "account")["name"] = "account_name"
    _field(narrowed, "quantity_lots")["type"] = "int"
    required["fields"][-1].pop("default")
    _field(required, "price_ticks")["type"] = "long"
    added["fields"].append({"name": "desk", "type": "string"})
    for broken in (renamed, narrowed, required, added):
        assert not _fully_compatible(broken, current)


def test_a_field_with_a_default_is_compatible() -> None:
    """This is how a type grows: the new field has a default and stands behind all others."""
    grown = derive(PlaceOrder)
    grown["fields"].append({"name": "desk", "type": ["null", "string"], "default": None})
    assert _fully_compatible(grown, derive(PlaceOrder))


def test_a_new_item_of_an_envelope_breaks_its_old_readers() -> None:
    """An item type cannot join a released envelope: it goes in an envelope of its own."""
    for envelope in get_args(Envelope):
        fewer = derive(envelope)
        items = fewer["fields"][0]["type"]["items"]
        if isinstance(items, list) and isinstance(items[-1], dict):
            items.pop()
            assert not _fully_compatible(derive(envelope), fewer)


def test_a_release_keeps_what_was_released(tmp_path: Path) -> None:
    """A changed type gets the next free id and a new file; what is unchanged, and what was, stays."""
    generate.write(tmp_path, release=True)
    before = registry.read(tmp_path)
    old = tmp_path / before["PlaceOrder"][0].file
    schema = json.loads(old.read_text())
    schema["fields"].pop()
    old.write_text(json.dumps(schema))

    assert generate.write(tmp_path, release=True) == ["released/place_order.v2.avsc"]
    after = registry.read(tmp_path)
    assert after["PlaceOrder"] == (
        *before["PlaceOrder"],
        registry.Release(len(WIRE_TYPES) + 1, "released/place_order.v2.avsc"),
    )
    assert json.loads(old.read_text()) == schema
    assert {name: known for name, known in after.items() if name != "PlaceOrder"} == {
        name: known for name, known in before.items() if name != "PlaceOrder"
    }


@pytest.mark.parametrize("envelope", get_args(Envelope))
def test_the_chain_is_the_last_of_an_envelope(envelope: type) -> None:
    """The last four bytes of a value with an origin are its chain: nothing may ever follow."""
    schema = derive(envelope)
    assert [field["name"] for field in schema["fields"]] == ["items", "origin"]
    origin = schema["fields"][-1]["type"][1]
    assert origin["fields"][-1]["type"] == {"type": "fixed", "name": "trading.Chain", "size": 4}
