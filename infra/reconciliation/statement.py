"""A statement from outside, as CSV: what a custodian, a clearer or a bank says that accounts hold.

    account,instrument,currency,quantity,amount
    alice,BTC-USD,,0.5,
    alice,,USD,,100000.00

A line has an instrument and a quantity (short is below zero), or a currency and an amount, as decimals; columns may
stand in any order, those that it does not need may be left out. The statement speaks for the accounts that it
names: of positions if it has any line with an instrument, of cash if any with a currency.
"""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from connectors.decimals import Grid
from infra.errors import OperatorError
from infra.reconciliation.holdings import Holdings, Key
from schemas.maximums import INT64_MAX
from schemas.reference import Instrument

COLUMNS: Final = ("account", "instrument", "currency", "quantity", "amount")
NAMED_MAX: Final = 20


class StatementError(OperatorError):
    """A statement that cannot be read: each bad line with its number and what is wrong with it."""


class Units:
    """Of what steps quantities and amounts must be."""

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._lots: dict[str, Grid] = {}
        self._money: dict[str, Grid] = {}
        for it in instruments:
            self._lots[it.symbol] = Grid(it.lot_size_e9, f"lot size of {it.symbol}")
            self._money[it.currency] = Grid(1, f"minor unit of {it.currency}", it.currency_exponent)

    def parse(self, key: Key, text: str) -> int:
        """Lots or minor units; ValueError says what is wrong."""
        steps = self._grid(key).parse(text.strip())
        if abs(steps) > INT64_MAX:
            raise ValueError(f"{text} is more than the engine counts to")
        return steps

    def text(self, key: Key, steps: int | None) -> str:
        """The decimal; of what nobody defines the steps."""
        if steps is None:
            return "nothing"
        grids = self._money if key.is_cash else self._lots
        return grids[key.asset].format(steps) if key.asset in grids else str(steps)

    def _grid(self, key: Key) -> Grid:
        grid = (self._money if key.is_cash else self._lots).get(key.asset)
        if grid is None:
            raise ValueError(f"{'currency' if key.is_cash else 'instrument'} {key.asset} is not defined")
        return grid


def read_statement(path: Path, units: Units) -> Holdings:
    """What the file says; StatementError names every line that cannot be used, and nothing is taken then."""
    found: Holdings = {}
    faults: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            _check_header(path, reader.fieldnames or ())
            for cells in reader:
                try:
                    _take(found, *_line(cells, units))
                except ValueError as error:
                    faults.append(f"line {reader.line_num}: {error}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StatementError(f"{path} cannot be read: {error}") from error
    if faults:
        more = [f"and {len(faults) - NAMED_MAX} more"] if len(faults) > NAMED_MAX else []
        raise StatementError("\n".join([f"{path} is no statement:", *faults[:NAMED_MAX], *more]))
    return found


def covered(statement: Holdings, engine: Holdings) -> Holdings:
    """What of the engine's holdings the statement speaks for."""
    accounts = {key.account for key in statement}
    kinds = {key.is_cash for key in statement}
    return {key: it for key, it in engine.items() if key.account in accounts and key.is_cash in kinds}


def _check_header(path: Path, names: Iterable[str]) -> None:
    names = [name.strip() for name in names]
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown or "account" not in names:
        what = f"unknown: {', '.join(unknown)}" if unknown else "account is missing"
        raise StatementError(f"{path}, line 1: the columns are {', '.join(COLUMNS)}; {what}")


def _take(found: Holdings, key: Key, steps: int) -> None:
    if key in found:
        raise ValueError(f"{key} is there twice")
    found[key] = (steps,)


def _line(cells: Mapping[str | None, str | list[str] | None], units: Units) -> tuple[Key, int]:
    if None in cells or None in cells.values():
        raise ValueError("it has not as many cells as the header")
    values = {str(name).strip(): str(cell).strip() for name, cell in cells.items()}
    account, instrument, currency, quantity, amount = (values.get(it, "") for it in COLUMNS)
    if not account:
        raise ValueError("no account")
    if bool(instrument) == bool(currency):
        raise ValueError("name an instrument with its quantity, or a currency with its amount")
    if bool(quantity) != bool(instrument) or bool(amount) != bool(currency):
        raise ValueError("an instrument has a quantity, a currency an amount, and neither the other's")
    key = Key(account, currency or instrument, is_cash=bool(currency))
    return key, units.parse(key, amount or quantity)
