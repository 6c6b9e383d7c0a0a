"""A snapshot: the committed tables at a cut that an audit has passed, from which a later audit goes on.

So the log before it may be deleted by retention, and a long log need not be read again.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import msgspec

from infra.auditor.agreement import Entries, Levels, entries_of, loaded
from infra.auditor.cut import Cut, LaneKey, StagePlace
from infra.auditor.ledger import Ledger
from infra.auditor.log import AuditError, Log, Place, Span
from infra.auditor.money import Held
from infra.auditor.orders import Order, Orders, Trades
from schemas.topics import CHANNELS, INBOXES
from tables.matching import MatchingTables
from tables.meta import META_KEY, Meta, decode_meta
from tables.settlement import LEDGER, SettlementTables


class Snapshot(msgspec.Struct, frozen=True):
    """``begins`` is where each topic's partition is read on, ``tables`` are the changelogs' entries."""

    begins: list[tuple[str, int, int]]
    tables: list[tuple[str, int, list[tuple[bytes, bytes]]]]

    @classmethod
    def take(cls, log: Log, cut: Cut, resume: Mapping[Place, int]) -> Self:
        """The snapshot of an audit's cut; ``resume`` is the audit's."""
        begins, tables = dict(resume), list[tuple[str, int, list[tuple[bytes, bytes]]]]()
        for (stage, partition), checkpoint in cut.checkpoints.items():
            inbox = INBOXES[stage], partition
            begins[inbox] = min(begins[inbox], checkpoint.meta.next_offset)
            tables.append((stage, partition, list(entries_of(log, checkpoint, partition).items())))
        return cls([(*place, begin) for place, begin in begins.items()], tables)

    @classmethod
    def load(cls, path: Path) -> Self:
        """A snapshot from its file; AuditError if it is none."""
        try:
            return msgspec.msgpack.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.DecodeError) as error:
            raise AuditError(f"{path} is no snapshot of `trading check --save`: {error}") from error

    def save(self, path: Path) -> None:
        """Writes the file."""
        path.write_bytes(msgspec.msgpack.encode(self))

    def spans(self, whole: Mapping[Place, Span]) -> dict[Place, Span]:
        """What is left to read; AuditError if the log begins behind the snapshot, or ends before it."""
        begins = {(topic, partition): begin for topic, partition, begin in self.begins}
        for place, (start, end) in whole.items():
            if not start <= begins.get(place, 0) <= end:
                raise AuditError(
                    f"the snapshot goes on at {begins.get(place, 0)} of {place[0]} {place[1]}, which holds {start}"
                    f" to {end}: it is too old, or of another engine"
                )
        return {place: (begins.get(place, 0), end) for place, (_, end) in whole.items()}

    def entries(self) -> dict[StagePlace, Entries]:
        """The tables by stage and partition, for a fold to go on from."""
        return {(stage, partition): dict(rows) for stage, partition, rows in self.tables}

    def said(self) -> dict[LaneKey, tuple[int, int]]:
        """The (sequence, chain) of what each stage had said last to each place."""
        return {
            (topic, said.partition, stage, partition): (said.sequence, said.chain)
            for (stage, partition), entries in self.entries().items()
            for said in _meta(entries).said
            for topic in CHANNELS[said.channel].topics
        }

    def restore(self, orders: Orders, trades: Trades, ledger: Ledger, levels: Levels) -> None:
        """Puts an audit where it would be had it read the log up to here."""
        for (stage, partition), entries in self.entries().items():
            if stage == "matching":
                _restore_books(loaded(MatchingTables(), entries), partition, orders, trades, levels)
            elif stage == "settlement":
                _restore_money(loaded(SettlementTables(), entries), partition, ledger)


def _meta(entries: Entries) -> Meta:
    return decode_meta(entries[META_KEY]) if META_KEY in entries else Meta()


def _restore_books(
    tables: MatchingTables, partition: int, orders: Orders, trades: Trades, levels: Levels
) -> None:
    trades.next_numbers[partition] = max((row.trades_made for row in tables.books.values()), default=0)
    for order_id, row in tables.orders.items():
        orders.open[order_id] = Order(row, row.cum_quantity_lots, row.leaves_quantity_lots, waits=row.waiting)
        levels.add(row)


def _restore_money(tables: SettlementTables, partition: int, ledger: Ledger) -> None:
    book = ledger.book(partition)
    for key, row in tables.balances.items():
        book.cash[key], book.unsettled[key], book.versions[key] = (
            row.cash_minor,
            row.unsettled_minor,
            row.version,
        )
        if key[0] == f"cash:{partition}":  # the world outside: minus what came in
            ledger.net_cash[key[1]] = ledger.net_cash.get(key[1], 0) - row.cash_minor
    for key, held in tables.positions.items():
        book.positions[key] = Held(
            held.quantity_lots, held.open_cost_minor, held.realised_profit_minor, held.version
        )
        ledger.kinds[key[1]], ledger.currencies[key[1]] = held.kind, held.currency
    ledger.sessions.restore(partition, tables)
    book.releases = dict(tables.releases)
    book.next_posting = tables.ledger[LEDGER].next_posting if LEDGER in tables.ledger else 0
