"""Avro schemas from the Structs: fields in their order, docs from docstrings, defaults from defaults.

The mapping is that of ``schemas.record.Record``. Each schema is one closed document: a record type stands
in full where it is met first, by name afterwards. Source of the form: Avro 1.12 specification.
"""

import inspect
import re
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from schemas.envelopes import Chain
from schemas.record import Record
from schemas.topics import FLAT_TOPICS, TOPICS

Schema = dict[str, Any] | list[Any] | str

NAMESPACE: Final = "trading"
PRIMITIVES: Final = {int: "long", str: "string", bool: "boolean", bytes: "bytes", NoneType: "null"}
WIRE_TYPES: Final = tuple(
    dict.fromkeys(record for topic in (*TOPICS, *FLAT_TOPICS) for record in topic.records)
)
"""Every type that is a value of some topic, each once, in the order of the topics."""


def full_name(record: type[Record]) -> str:
    """The Avro name of a record type."""
    return f"{NAMESPACE}.{record.__name__}"


def file_stem(record: type[Record]) -> str:
    """The name of a record type's file: ``PlaceOrder`` gives ``place_order``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", record.__name__).lower()


def derive(record: type[Record]) -> dict[str, Any]:
    """The Avro schema of a record type, everything it names inside."""
    schema = _record(record, set())
    assert isinstance(schema, dict), "the first mention of a record is its definition"
    return schema


def _record(record: type[Record], named: set[str]) -> Schema:
    name = full_name(record)
    if name in named:
        return name
    named.add(name)
    hints = get_type_hints(record, include_extras=True)
    fields = [_field(field, hints[field.name], named) for field in msgspec.structs.fields(record)]
    doc = " ".join(inspect.cleandoc(record.__doc__ or "").split())
    return {"type": "record", "name": name, "doc": doc, "fields": fields}


def _field(field: msgspec.structs.FieldInfo, hint: Any, named: set[str]) -> dict[str, Any]:
    schema: dict[str, Any] = {"name": field.name, "type": _type(hint, named)}
    if field.default is not msgspec.NODEFAULT:
        schema["default"] = msgspec.json.decode(msgspec.json.encode(field.default))
    return schema


def _type(hint: Any, named: set[str]) -> Schema:
    if hint in PRIMITIVES:
        return PRIMITIVES[hint]
    if hint == Chain:
        return _chain(named)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _record(hint, named)
    arguments = get_args(hint)
    origin = get_origin(hint)
    if origin is Literal:
        return "string"
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": _type(arguments[0], named)}
    assert origin in {Union, UnionType}, f"no Avro type stands for {hint}: see schemas.record.Record"
    if NoneType in arguments:
        assert len(arguments) == 2, f"{hint}: an optional field has one type, and None"  # noqa: PLR2004
        arguments = tuple(sorted(arguments, key=lambda argument: argument is not NoneType))
    return [_type(argument, named) for argument in arguments]


def _chain(named: set[str]) -> Schema:
    name = f"{NAMESPACE}.Chain"
    if name in named:
        return name
    named.add(name)
    return {"type": "fixed", "name": name, "size": 4}
