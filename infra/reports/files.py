"""A report's file: CSV (RFC 4180) or JSON, checked against the report's own schema after it was written.

A schema names the columns in their order, and which of them the engine does not know (`x-missing`) or has no use for
(`x-not-applicable`): those are null in every row, and in the manifest with the reason.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Final, TextIO

import msgspec
from jsonschema import Draft202012Validator

from infra.errors import OperatorError

Row = Mapping[str, Any]
SEQUENCES: Final = ("sequence", "Sequence number")
MISSING: Final = "x-missing"
NOT_APPLICABLE: Final = "x-not-applicable"
CHUNK: Final = 1 << 20


class SchemaError(OperatorError):
    """A row is not as its report's schema has it: a defect of this program, or a file that somebody changed."""


class Schema:
    """A report's schema."""

    def __init__(self, name: str) -> None:
        """Reads `NAME.schema.json` of this package."""
        self.name = name
        text = resources.files(__package__).joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
        self.document: Final[dict[str, Any]] = json.loads(text)
        self.columns: Final[tuple[str, ...]] = tuple(self.document["properties"])
        self._validator = Draft202012Validator(self.document)

    def why(self, keyword: str) -> list[dict[str, str]]:
        """The fields that bear a keyword, each with its reason."""
        fields = self.document["properties"].items()
        return [{"field": name, "why": it[keyword]} for name, it in fields if keyword in it]

    def check(self, row: Any, place: str) -> None:
        """SchemaError names the place, the field and what is wrong with it."""
        if self._validator.is_valid(row):
            return
        error = next(self._validator.iter_errors(row))
        field = ".".join(map(str, error.absolute_path))
        raise SchemaError(
            f"{place} is not as {self.name}.schema.json has it: {field or 'row'}: {error.message}"
        )

    def typed(self, cells: Mapping[str, str | None]) -> dict[str, Any]:
        """A row of CSV: an empty cell is null, integers and booleans are what their columns say."""
        return {name: self._value(name, cell) for name, cell in cells.items()}

    def _value(self, name: str, cell: str | None) -> Any:
        types = self.document["properties"].get(name, {}).get("type", "string")
        if not cell:
            return None
        if "boolean" in types:
            return {"true": True, "false": False}.get(cell, cell)
        if "integer" in types and cell.lstrip("-").isdecimal():
            return int(cell)
        return cell


@cache
def schema(name: str) -> Schema:
    """The schema of a report, or of the manifest."""
    return Schema(name)


class Written(msgspec.Struct, frozen=True):
    """What stands in a file."""

    count: int
    first_sequence: int | None
    last_sequence: int | None
    sha256: str


def write(path: Path, of: Schema, rows: Iterable[Row]) -> Written:
    """Writes a report, reads it again and checks each row; the file is there as a whole or not at all."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8", newline="") as file:
            _WRITERS[path.suffix](file, of, rows)
        written = _checked(new, of, path.suffix)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return written


def read(path: Path, of: Schema, suffix: str | None = None) -> Iterator[dict[str, Any]]:
    """A report's rows with their types, one at a time."""
    with path.open(encoding="utf-8", newline="") as file:
        yield from _READERS[suffix or path.suffix](file, of)


def _checked(path: Path, of: Schema, suffix: str) -> Written:
    count, sequences = 0, list[int]()
    for count, row in enumerate(read(path, of, suffix), 1):
        of.check(row, f"row {count}")
        sequence = next(row[it] for it in SEQUENCES if it in row)
        sequences = [*sequences[:1], sequence]
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    first, last = (sequences[0], sequences[-1]) if sequences else (None, None)
    return Written(count, first, last, digest.hexdigest())


def _write_csv(file: TextIO, of: Schema, rows: Iterable[Row]) -> None:
    writer = csv.writer(file)  # RFC 4180: CRLF, quotes where they are needed
    writer.writerow(of.columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in of.columns])


def _cell(value: Any) -> Any:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def _read_csv(file: TextIO, of: Schema) -> Iterator[dict[str, Any]]:
    for cells in csv.DictReader(file, strict=True):
        yield of.typed(cells)


def _write_json(file: TextIO, of: Schema, rows: Iterable[Row]) -> None:
    """An array with one object a line, so that both a parser and a line tool can read it."""
    separator = "[\n"
    for row in rows:
        file.write(separator + json.dumps({name: row.get(name) for name in of.columns}, ensure_ascii=False))
        separator = ",\n"
    file.write("\n]\n" if separator == ",\n" else "[]\n")


def _read_json(file: TextIO, of: Schema) -> Iterator[dict[str, Any]]:
    del of
    for line in file:
        text = line.strip().rstrip(",")
        if text not in ("[", "]", "[]"):
            yield json.loads(text)


_WRITERS: Final[Mapping[str, Callable[[TextIO, Schema, Iterable[Row]], None]]] = {
    ".csv": _write_csv,
    ".json": _write_json,
}
_READERS: Final[Mapping[str, Callable[[TextIO, Schema], Iterator[dict[str, Any]]]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
}
