"""Orders in a file, NDJSON or CSV, as commands in their instruments' ticks and lots.

Fields are those of `trading simulate`. Form is intake's to judge; here a line must only be readable and countable.
"""

import csv
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from connectors import json_commands as lines
from connectors.json_commands import AnyLine, LineError, Refused
from connectors.views.reference import Reference, UnitsUnknownError
from infra.errors import OperatorError
from schemas.commands import CancelOrder, ClientCommand, MassCancel, PlaceOrder, ReplaceOrder

_COLUMNS: Final = frozenset({"command"}).union(
    *(
        kind.__struct_fields__
        for kind in (
            lines.PlaceOrderLine,
            lines.CancelOrderLine,
            lines.ReplaceOrderLine,
            lines.MassCancelLine,
        )
    )
)
_MARK: Final = "\ufeff"  # what spreadsheets put in front of UTF-8

Numbered = tuple[int, ClientCommand | LineError]
"""A line's number, from 1, and its command, or why it has none."""


def read_ndjson(source: Iterable[bytes], units: Reference) -> Iterator[Numbered]:
    """Read one JSON object a line; empty lines are left out."""
    for number, raw in enumerate(source, 1):
        if not raw.isspace():
            yield number, _command(lambda raw=raw: lines.decode(raw), units, number)


def read_csv(source: Iterable[bytes], units: Reference) -> Iterator[Numbered]:
    """Read one command a row: the first row names the fields, an empty cell leaves its field out.

    Without a column `command` every row is a PlaceOrder. What is not UTF-8 becomes a sign that no identifier and no
    number may have.

    Raises:
        OperatorError: the first row names a field that there is not, or the file is no CSV.

    """
    rows = csv.DictReader(raw.decode(errors="replace").removeprefix(_MARK) for raw in source)
    try:
        if unknown := sorted(set(rows.fieldnames or ()) - _COLUMNS):
            raise OperatorError(f"column {unknown[0]!r} is unknown: there is {', '.join(sorted(_COLUMNS))}")
        for row in rows:
            yield rows.line_num, _command(lambda row=row: _line(row), units, rows.line_num)
    except csv.Error as error:
        raise OperatorError(f"line {rows.line_num + 1} is no CSV: {error}") from error


def _line(row: dict[Any, Any]) -> AnyLine:
    if None in row:
        raise LineError(f"{len(row[None])} cells more than the first row has")
    cells = {name: text for name, text in row.items() if text}
    try:
        line: AnyLine = msgspec.convert({"command": "PlaceOrder", **cells}, AnyLine, strict=False)
    except msgspec.ValidationError as error:
        raise LineError(str(error)) from None
    return line


def _command(read: Any, units: Reference, number: int) -> ClientCommand | LineError:
    try:
        line = read()
        _check(line)
        command = lines.command_of(line, units, number, 0)
    except LineError as error:
        return error
    except Refused as refused:
        return LineError(str(refused), refused.refusal[0])
    except UnitsUnknownError as unknown:
        return LineError(f"instrument {unknown.args[0]!r} is not defined", "unknown_instrument")
    assert isinstance(command, PlaceOrder | CancelOrder | ReplaceOrder | MassCancel), "_check let it pass"
    return command


def _check(line: AnyLine) -> None:
    """What `trading simulate` may guess and a live engine may not."""
    match line:
        case lines.MassCancelLine():
            if line.account is None:
                raise LineError("a MassCancel names its account; an operator's is `trading mass-cancel`")
            if line.command_id is None:
                raise LineError("a MassCancel needs its command_id")
        case lines.ReplaceOrderLine():
            if line.instrument is None:
                raise LineError(
                    "a ReplaceOrder names its instrument here: it counts in the instrument's units"
                )
        case lines.PlaceOrderLine() | lines.CancelOrderLine():
            pass
        case _:
            name = type(line).__name__.removesuffix("Line")
            raise LineError(f"{name} is an operator's: see `trading --help`", "unknown_type")
