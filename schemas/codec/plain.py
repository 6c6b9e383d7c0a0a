"""The codec on fastavro: any installation has it; the compiled one (``build``) takes its place.

A value has one form, the one that ``encode`` writes, so ``decode`` compares what it read with its own
encoding: fastavro itself reads cut strings, negative lengths and union indexes, and overlong integers.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_type_hints
from zlib import crc32

import fastavro
from msgspec.structs import asdict

from schemas.codec import registry
from schemas.codec.derive import WIRE_TYPES, full_name
from schemas.codec.errors import EncodeError, Malformed, NotFramed, UnknownSchema
from schemas.envelopes import Chain, Envelope, Origin
from schemas.record import Record

HEADER_BYTES: Final = 5
CHAIN_BYTES: Final = 4

Datum = dict[str, Any]
Convert = Callable[[Any], Any]


class Wire(NamedTuple):
    """All that is needed for one type: the five bytes before its values, its schema, its conversions."""

    header: bytes
    schema: Any
    to_datum: Callable[[Record], Datum]
    from_datum: Callable[[Datum], Record]


class Form(NamedTuple):
    """How the Structs and the data of one field or record turn into each other."""

    to_datum: Convert
    from_datum: Convert


def encode(record: Record) -> bytes:
    """A record of a wire type in the Confluent wire format; EncodeError where its schema has no room."""
    try:
        return _write(_WIRES[type(record)], record)
    except KeyError:
        raise EncodeError(f"{type(record).__name__} is not the value of any topic") from None
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise EncodeError(f"{type(record).__name__}: {error}") from error


def decode(value: bytes | None) -> Record:
    """The record of a value (Kafka's may be None); raises a DecodeError and nothing else."""
    if value is None or len(value) < HEADER_BYTES or value[0]:
        raise NotFramed("a value begins with a zero byte and a four-byte schema id")
    schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
    if schema_id not in _TYPES:
        raise UnknownSchema(f"schema {schema_id} is not in schemas/avro/registry.json of this version")
    try:
        return _read(_WIRES[_TYPES[schema_id]], value, schema_id)
    except Malformed:
        raise
    except Exception as error:  # what a hostile value makes fastavro raise is not documented
        raise Malformed(f"schema {schema_id}: {type(error).__name__} {error}") from error


def seal(
    envelope: type[Envelope], items: Iterable[Any], stage: str, partition: int, sequence: int, chain: int
) -> tuple[bytes, int]:
    """A stage's record, and its chain: that of ``chain``, the one before it, and of these bytes."""
    origin = Origin(stage=stage, partition=partition, sequence=sequence, chain=0)
    body = encode(envelope(items=tuple(items), origin=origin))[:-CHAIN_BYTES]
    new_chain = crc32(body, chain)
    return body + new_chain.to_bytes(CHAIN_BYTES, "big"), new_chain


def chain_of(value: bytes, chain: int) -> int:
    """The chain that a sealed value must bear if ``chain`` is that of the one before it."""
    return crc32(memoryview(value)[:-CHAIN_BYTES], chain)


def _write(wire: Wire, record: Record) -> bytes:
    out = BytesIO()
    out.write(wire.header)
    fastavro.schemaless_writer(out, wire.schema, wire.to_datum(record))
    return out.getvalue()


def _read(wire: Wire, value: bytes, schema_id: int) -> Record:
    written = _schema(schema_id)
    datum: Any = _read_datum(value, written, None)
    out = BytesIO(value[:HEADER_BYTES])
    out.seek(HEADER_BYTES)
    fastavro.schemaless_writer(out, written, datum)
    if out.getvalue() != value:
        raise Malformed(f"schema {schema_id}: not the bytes that an encoder writes")
    return wire.from_datum(datum if written is wire.schema else _read_datum(value, written, wire.schema))


def _read_datum(value: bytes, written: Any, wanted: Any) -> Any:
    source = BytesIO(value)
    source.seek(HEADER_BYTES)
    return fastavro.schemaless_reader(
        source, written, wanted, return_record_name=True, return_record_name_override=True
    )


@lru_cache
def _form(hint: Any) -> Form | None:
    """How values of a type hint are converted; None: they are the same on both sides."""
    if hint == Chain:
        return Form(
            lambda chain: chain.to_bytes(CHAIN_BYTES, "big"), lambda data: int.from_bytes(data, "big")
        )
    if isinstance(hint, type) and issubclass(hint, Record):
        return _record_form(hint)
    arguments = get_args(hint)
    if tuple in {hint, getattr(hint, "__origin__", None)}:
        return _array_form(_form(arguments[0]))
    records = [
        argument for argument in arguments if isinstance(argument, type) and issubclass(argument, Record)
    ]
    if not records:
        return None
    return _optional_form(records[0]) if NoneType in arguments else _union_form(records)


def _record_form(record: type[Record]) -> Form:
    hints = get_type_hints(record, include_extras=True)
    forms = [(name, form) for name, hint in hints.items() if (form := _form(hint))]
    if not forms:
        return Form(asdict, lambda datum: record(**datum))

    def to_datum(value: Record) -> Datum:
        datum = asdict(value)
        for name, form in forms:
            datum[name] = form.to_datum(datum[name])
        return datum

    def from_datum(datum: Datum) -> Record:
        changed = {name: form.from_datum(datum[name]) for name, form in forms}
        return record(**{**datum, **changed})

    return Form(to_datum, from_datum)


def _array_form(item: Form | None) -> Form:
    if item is None:
        return Form(lambda values: values, tuple)
    to_datum, from_datum = item
    return Form(
        lambda values: [to_datum(value) for value in values],
        lambda data: tuple([from_datum(datum) for datum in data]),
    )


def _optional_form(record: type[Record]) -> Form:
    to_datum, from_datum = _record_form(record)
    return Form(
        lambda value: None if value is None else to_datum(value),
        lambda datum: None if datum is None else from_datum(datum),
    )


def _union_form(records: list[type[Record]]) -> Form:
    """Data of a union are (record name, datum): fastavro need not guess which branch it is."""
    forms = {record: (full_name(record), _record_form(record).to_datum) for record in records}
    makers = {full_name(record): _record_form(record).from_datum for record in records}

    def to_datum(value: Record) -> tuple[str, Datum]:
        name, convert = forms[type(value)]
        return name, convert(value)

    return Form(to_datum, lambda named: makers[named[0]](named[1]))


def _wire(record: type[Record]) -> Wire:
    schema_id = _RELEASES[record.__name__][-1].id
    form = _record_form(record)
    header = b"\0" + schema_id.to_bytes(HEADER_BYTES - 1, "big")
    return Wire(header, _schema(schema_id), form.to_datum, form.from_datum)


@lru_cache
def _schema(schema_id: int) -> Any:
    return fastavro.parse_schema(_FILES[schema_id].schema())


_RELEASES: Final = registry.read()
_FILES: Final = {release.id: release for releases in _RELEASES.values() for release in releases}
_TYPES: Final = {
    release.id: record for record in WIRE_TYPES for release in _RELEASES.get(record.__name__, ())
}
_WIRES: Final = {record: _wire(record) for record in set(_TYPES.values())}
