"""What is in force is read from control's changelog, of the replica that is furthest, once it has taken in all."""

from collections.abc import Iterator, Mapping

import pytest

from infra.auditor.log import LogRecord, Place, Span
from infra.commands.cash import amount_minor
from infra.commands.in_force import in_force, latest_tables, units_in
from infra.errors import OperatorError
from schemas.reference import Account, Instrument
from tables.control import AccountRow, ControlTables, EngineRow, InstrumentRow
from tables.meta import META_KEY, Meta, encode_meta

X = Instrument(
    symbol="X",
    kind="SPOT",
    currency="USD",
    currency_exponent=2,
    tick_size_e9=10_000_000,
    lot_size_e9=1_000_000_000,
    multiplier=1,
    minor_per_tick_lot=1,
    maximum_quantity_lots=1000,
    maximum_notional_minor=10**9,
)


class Shelf:
    """A log in memory: the records of each place, from offset 0."""

    def __init__(self, places: dict[Place, list[tuple[bytes, bytes | None]]]) -> None:
        self._places = places

    def topics(self) -> Mapping[str, int]:
        """One partition each."""
        return {topic: 1 for topic, _ in self._places}

    def bounds(self, place: Place) -> Span:
        """From 0 to the end."""
        return 0, len(self._places[place])

    def read(self, place: Place, span: Span) -> Iterator[LogRecord]:
        """The records of a span."""
        for offset in range(*span):
            yield LogRecord(offset, 0, *self._places[place][offset])


def state(next_offset: int, *accounts: str) -> list[tuple[bytes, bytes | None]]:
    """A changelog of control that knows X and these accounts, with META last."""
    tables = ControlTables()
    tables.instruments["X"] = InstrumentRow(X)
    tables.engine["engine"] = EngineRow()
    for name in accounts:
        tables.accounts[name] = AccountRow(Account(account=name))
    return [*tables.entries(), (META_KEY, encode_meta(Meta(next_offset=next_offset)))]


def shelf(**replicas: list[tuple[bytes, bytes | None]]) -> Shelf:
    """Three commands in control's inbox, and the changelogs of its replicas."""
    changelogs = {(f"local-control-{name}-changelog", 0): records for name, records in replicas.items()}
    return Shelf({("control", 0): [(b"", b"")] * 3, **changelogs})


def test_the_replica_that_is_furthest_counts() -> None:
    """Of two replicas the one that has read all of control's inbox is taken, and its units are the engine's."""
    tables = in_force(shelf(a=state(2, "old"), b=state(3, "old", "new")), "local")
    assert set(tables.accounts) == {"old", "new"}
    assert units_in(tables).of("X")[0].parse("1.25") == 125


def test_what_was_asked_before_must_be_in() -> None:
    """A checkpoint that does not cover what control was asked before is not trusted, and the wait ends with a line."""
    log = shelf(a=state(2, "old"))
    with pytest.raises(OperatorError, match="control has not taken in what it was asked within 0 s"):
        in_force(log, "local", timeout_s=0.01)
    assert set(latest_tables(log, "local").accounts) == {"old"}


def test_engine_that_never_ran_has_nothing_in_force() -> None:
    """Without a changelog there is nothing; whoever needs what is in force is told to look at the workers."""
    assert not latest_tables(shelf(), "local").instruments
    with pytest.raises(OperatorError, match="trading status"):
        in_force(shelf(), "local", timeout_s=0.01)


def test_amounts_are_exact() -> None:
    """An amount is read in the currency's minor units, which an instrument defines; anything else is refused."""
    tables = latest_tables(shelf(a=state(3)), "local")
    assert amount_minor(tables, "USD", "1000.5") == 100_050
    for currency, amount, words in (
        ("EUR", "1", "no instrument is in 'EUR'"),
        ("USD", "0.001", "not a multiple of the minor unit 0.01"),
        ("USD", "0", "is not from 0.01 to"),
        ("USD", "1e30", "is not from 0.01 to"),
        ("USD", "much", "not a decimal number"),
    ):
        with pytest.raises(OperatorError, match=words):
            amount_minor(tables, currency, amount)
