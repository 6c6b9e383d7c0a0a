"""Statements: what a file may say, and what is said of a bad line."""

from pathlib import Path

import pytest

from infra.reconciliation.holdings import Key
from infra.reconciliation.statement import StatementError, Units, covered, read_statement
from tests.unit.infra.reports.list_rows import ACME

UNITS = Units([ACME])
ACME_OF_ALICE = Key("alice", "ACME", is_cash=False)
CASH_OF_ALICE = Key("alice", "USD", is_cash=True)


def statement(folder: Path, text: str) -> Path:
    """A file."""
    path = folder / "statement.csv"
    path.write_bytes(text.encode())
    return path


def test_a_statement_in_decimals(tmp_path: Path) -> None:
    """Quantities are lots, amounts minor units; short is below zero; a byte order mark and CRLF do no harm."""
    text = (
        "\ufeffaccount,instrument,currency,quantity,amount\r\n"
        "alice,ACME,,-1.5,\r\n"
        "alice,,USD,,100000.01\r\n"
        "bob,ACME,,0,\r\n"
    )
    assert read_statement(statement(tmp_path, text), UNITS) == {
        ACME_OF_ALICE: (-3,),
        CASH_OF_ALICE: (10_000_001,),
        Key("bob", "ACME", is_cash=False): (0,),
    }


def test_columns_stand_in_any_order(tmp_path: Path) -> None:
    """What a statement does not need it may leave out."""
    text = "amount,currency,account\n1.5,USD,alice\n"
    assert read_statement(statement(tmp_path, text), UNITS) == {CASH_OF_ALICE: (150,)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",ACME,,1,", "no account"),
        ("alice,,,1,", "name an instrument with its quantity, or a currency with its amount"),
        ("alice,ACME,USD,1,1", "name an instrument with its quantity, or a currency with its amount"),
        ("alice,ACME,,,1", "an instrument has a quantity, a currency an amount"),
        ("alice,,USD,1,1", "an instrument has a quantity, a currency an amount"),
        ("alice,ACME,,1.3,", "1.3 is not a multiple of the lot size of ACME 0.5"),
        ("alice,,USD,,0.001", "0.001 is not a multiple of the minor unit of USD 0.01"),
        ("alice,ACME,,one,", "'one' is not a decimal number"),
        ("alice,XYZ,,1,", "instrument XYZ is not defined"),
        ("alice,,EUR,,1", "currency EUR is not defined"),
        ("alice,ACME,,1", "it has not as many cells as the header"),
        ("alice,ACME,,1,,9", "it has not as many cells as the header"),
        ("alice,ACME,,99999999999999999999,", "is more than the engine counts to"),
    ],
)
def test_a_bad_line_has_its_number_and_its_reason(tmp_path: Path, line: str, said: str) -> None:
    """The file is refused as a whole, with each line that is wrong."""
    text = f"account,instrument,currency,quantity,amount\nbob,ACME,,1,\n{line}\nbob,ACME,,1,\n"
    with pytest.raises(StatementError) as refused:
        read_statement(statement(tmp_path, text), UNITS)
    _, first, second = str(refused.value).split("\n")
    assert first.startswith("line 3: ")
    assert said in first
    assert second == "line 4: bob ACME is there twice"


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("instrument,quantity", "account is missing"),
        ("account,isin", "unknown: isin"),
        ("", "account is missing"),
    ],
)
def test_a_bad_header(tmp_path: Path, header: str, said: str) -> None:
    """Other columns than the documented ones are refused by name."""
    with pytest.raises(StatementError, match=said):
        read_statement(statement(tmp_path, f"{header}\n"), UNITS)


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    """The first twenty are named."""
    text = "account,currency,amount\n" + "alice,USD,x\n" * 25
    with pytest.raises(StatementError) as refused:
        read_statement(statement(tmp_path, text), UNITS)
    lines = str(refused.value).split("\n")
    assert (len(lines), lines[-1]) == (22, "and 5 more")


def test_a_file_that_is_none(tmp_path: Path) -> None:
    """What cannot be read is said in one line."""
    (tmp_path / "statement.csv").write_bytes(b"account\n\xff\xfe\n")
    with pytest.raises(StatementError, match="cannot be read"):
        read_statement(tmp_path / "statement.csv", UNITS)


def test_a_statement_speaks_for_its_own_accounts() -> None:
    """Of other accounts, and of cash where it has none, it says nothing: that is no break."""
    engine = {
        ACME_OF_ALICE: (1, 1, 0),
        CASH_OF_ALICE: (5, 0),
        Key("alice", "OTHER", is_cash=False): (2, 2, 0),
        Key("bob", "ACME", is_cash=False): (3, 3, 0),
    }
    found = covered({ACME_OF_ALICE: (1,)}, engine)
    assert found.keys() == {ACME_OF_ALICE, Key("alice", "OTHER", is_cash=False)}
