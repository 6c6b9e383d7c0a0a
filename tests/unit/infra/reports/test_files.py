"""A report's file: what is written is read again, and checked against the report's schema."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from infra.reports.files import SchemaError, read, schema, write
from infra.reports.run import REPORTS
from infra.reports.trades import trades
from tests.unit.infra.reports.list_rows import ListRows, built
from tests.unit.infra.reports.test_money import MARKET

FORMATS = (".csv", ".json")
formats = pytest.mark.parametrize("suffix", FORMATS)


def rows() -> list[dict[str, Any]]:
    """Two trades, one of an account that CSV has to quote."""
    found, _ = built(trades, ListRows(*MARKET))
    found[0]["buy_account"] = 'a "quoted", name'
    return found


@formats
def test_what_is_written_can_be_read(tmp_path: Path, suffix: str) -> None:
    """Rows come back with their types, under the schema's columns; count, sequences and hash are the file's."""
    path = tmp_path / f"trades{suffix}"
    written = write(path, schema("trades"), rows())
    assert list(read(path, schema("trades"))) == rows()
    assert (written.count, written.first_sequence, written.last_sequence) == (2, 1, 2)
    assert [it.name for it in tmp_path.iterdir()] == [path.name]


@formats
def test_an_empty_day_is_a_report(tmp_path: Path, suffix: str) -> None:
    """No row is a file without rows."""
    path = tmp_path / f"trades{suffix}"
    written = write(path, schema("trades"), [])
    assert (written.count, written.first_sequence) == (0, None)
    assert list(read(path, schema("trades"))) == []


def test_csv_is_rfc_4180(tmp_path: Path) -> None:
    """Lines end with CRLF, the header names the columns, quotes are doubled."""
    path = tmp_path / "trades.csv"
    write(path, schema("trades"), rows())
    text = path.read_bytes().decode()
    assert text.count("\r\n") == text.count("\n") == 3
    assert text.split("\r\n")[0].split(",") == list(schema("trades").columns)
    assert '"a ""quoted"", name"' in text
    assert next(iter(csv.DictReader(text.splitlines())))["buy_account"] == 'a "quoted", name'


def test_json_is_json(tmp_path: Path) -> None:
    """Any parser reads it."""
    path = tmp_path / "trades.json"
    write(path, schema("trades"), rows())
    assert json.loads(path.read_text()) == rows()


@formats
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("price", "1.10", "row 2 is not as trades.schema.json has it: price: '1.10' does not match"),
        ("price", "1,1", "price"),
        ("time", "2026-11-25T10:00:00Z", "time"),
        ("aggressor_side", "BUYS", "aggressor_side"),
        ("buy_account", None, "buy_account: None is not of type 'string'"),
        ("sequence", "two", "sequence"),
    ],
)
def test_a_wrong_field_fails(tmp_path: Path, suffix: str, field: str, value: Any, said: str) -> None:
    """A value that the schema does not have is named, and no file is left."""
    wrong = rows()
    wrong[1][field] = value
    with pytest.raises(SchemaError, match="row 2") as refused:
        write(tmp_path / f"trades{suffix}", schema("trades"), wrong)
    assert said in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_field_that_nobody_knows_cannot_be_invented(tmp_path: Path) -> None:
    """What the schema names as missing is null or nothing: an LEI out of thin air fails."""
    row = dict.fromkeys(schema("orders").columns)
    row["Identification of the entity which submitted the order"] = "529900T8BM49AURSDO55"
    with pytest.raises(SchemaError, match="Identification of the entity"):
        write(tmp_path / "orders.json", schema("orders"), [row])


def test_a_column_too_many_fails() -> None:
    """A file to which a column was added, or from which one was taken, is none of ours."""
    row = rows()[0]
    with pytest.raises(SchemaError, match="Additional properties"):
        schema("trades").check({**row, "lei": "x"}, "row 1")
    del row["price"]
    with pytest.raises(SchemaError, match="'price' is a required property"):
        schema("trades").check(row, "row 1")


@pytest.mark.parametrize("name", [*REPORTS, "manifest"])
def test_each_schema_is_a_schema(name: str) -> None:
    """It is valid itself, closed, and says what each column is."""
    document = schema(name).document
    Draft202012Validator.check_schema(document)
    assert document["additionalProperties"] is False
    assert document["required"] == list(document["properties"])
    if name != "manifest":
        assert all(it["description"] for it in document["properties"].values())


def test_a_manifest_does_not_call_itself_complete_with_reasons() -> None:
    """`complete` is true exactly where no reason is named."""
    manifest = {
        "report": "trades",
        "version": 1,
        "source_in_law": "",
        "day": "2026-11-25",
        "epoch": 1,
        "source": "kafka",
        "file": "trades-2026-11-25.csv",
        "format": "csv",
        "count": 0,
        "first_sequence": None,
        "last_sequence": None,
        "sha256": "0" * 64,
        "complete": True,
        "reasons": [],
        "missing": [],
        "not_applicable": [],
        "partly_missing": [],
    }
    schema("manifest").check(manifest, "manifest")
    for wrong in ({"reasons": ["a gap"]}, {"complete": False}):
        with pytest.raises(SchemaError, match="reasons"):
            schema("manifest").check({**manifest, **wrong}, "manifest")
