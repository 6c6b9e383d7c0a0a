"""The codec on fastavro: any installation has it; the compiled one (``build``) takes its place.

A value has one form, the one that ``encode`` writes, so ``decode`` compares what it read with its own
encoding: fastavro itself reads cut strings, negative lengths and union indexes, and overlong integers.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from types import NoneType
from typing import Any, Final, NamedTuple, get_args, get_type_hints
from zlib import crc32

import fastavro
import msgspec
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


class Form(NamedTuple):
    """How the Structs and the data of one field or record turn into each other."""

    to_datum: Convert
    from_datum: Convert


class Wire(NamedTuple):
    """All that is needed for one type: the five bytes before its values, its schema, its conversions."""

    header: bytes
    schema: Any
    form: Form


class Codec:
    """The codec over one registry's schemas; the functions of this module are those of the committed one."""

    def __init__(self, folder: Path = registry.AVRO) -> None:
        releases = registry.read(folder)
        self._files = {release.id: folder / release.file for known in releases.values() for release in known}
        self._types = {
            release.id: record for record in WIRE_TYPES for release in releases.get(record.__name__, ())
        }
        self._schemas: dict[int, Any] = {}
        self._wires = {
            record: self._wire(record, releases[record.__name__][-1].id)
            for record in set(self._types.values())
        }

    def encode(self, record: Record) -> bytes:
        """A record of a wire type in the Confluent wire format; EncodeError where its schema has no room."""
        wire = self._wires.get(type(record))
        if wire is None:
            raise EncodeError(f"{type(record).__name__} is not the value of any topic")
        try:
            return _write(wire.header, wire.schema, wire.form.to_datum(record))
        except (TypeError, ValueError, LookupError, OverflowError, AttributeError) as error:
            raise EncodeError(f"{type(record).__name__}: {error}") from error

    def decode(self, value: bytes | None) -> Record:
        """The record of a value (Kafka's may be None); raises a DecodeError and nothing else."""
        if value is None or len(value) < HEADER_BYTES or value[0]:
            raise NotFramed("a value begins with a zero byte and a four-byte schema id")
        schema_id = int.from_bytes(value[1:HEADER_BYTES], "big")
        if schema_id not in self._types:
            raise UnknownSchema(f"schema {schema_id} is not in schemas/avro/registry.json of this version")
        try:
            return self._read(self._wires[self._types[schema_id]], value, schema_id)
        except Malformed:
            raise
        except Exception as error:  # what a hostile value makes fastavro raise is not documented
            raise Malformed(f"schema {schema_id}: {type(error).__name__} {error}") from error

    def seal(
        self,
        envelope: type[Envelope],
        items: Iterable[Any],
        stage: str,
        partition: int,
        sequence: int,
        chain: int,
    ) -> tuple[bytes, int]:
        """A stage's record, and its chain: that of ``chain``, the one before it, and of these bytes."""
        origin = Origin(stage=stage, partition=partition, sequence=sequence, chain=0)
        body = self.encode(envelope(items=tuple(items), origin=origin))[:-CHAIN_BYTES]
        new_chain = crc32(body, chain)
        return body + new_chain.to_bytes(CHAIN_BYTES, "big"), new_chain

    def _read(self, wire: Wire, value: bytes, schema_id: int) -> Record:
        written = self._schema(schema_id)
        datum = _datum(value, written, None)
        if _write(value[:HEADER_BYTES], written, datum) != value:
            raise Malformed(f"schema {schema_id}: not the bytes that an encoder writes")
        if written is not wire.schema:
            datum = _datum(value, written, wire.schema)
        record: Record = wire.form.from_datum(datum)
        return record

    def _wire(self, record: type[Record], schema_id: int) -> Wire:
        header = b"\0" + schema_id.to_bytes(HEADER_BYTES - 1, "big")
        return Wire(header, self._schema(schema_id), _record_form(record))

    def _schema(self, schema_id: int) -> Any:
        if schema_id not in self._schemas:
            schema = msgspec.json.decode(self._files[schema_id].read_bytes())
            self._schemas[schema_id] = fastavro.parse_schema(schema)
        return self._schemas[schema_id]


def chain_of(value: bytes, chain: int) -> int:
    """The chain that a sealed value must bear if ``chain`` is that of the one before it."""
    return crc32(memoryview(value)[:-CHAIN_BYTES], chain)


def _write(header: bytes, schema: Any, datum: Any) -> bytes:
    out = BytesIO()
    out.write(header)
    fastavro.schemaless_writer(out, schema, datum)
    return out.getvalue()


def _datum(value: bytes, written: Any, wanted: Any) -> Any:
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


_CODEC: Final = Codec()
encode, decode, seal = _CODEC.encode, _CODEC.decode, _CODEC.seal
