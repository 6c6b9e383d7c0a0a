"""Rows out of lists, and hand-made events for them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

import msgspec

from infra.reports.day import Day
from infra.reports.definitions import Definitions
from infra.reports.notes import Notes
from schemas.flat import FlatOrderEvent, FlatReference
from schemas.record import Record
from schemas.reference import Account, Instrument
from schemas.sinks import BY_RECORD

R = TypeVar("R", bound=Record)

DAY: Final = Day.parse("2026-11-25")
SECOND: Final = 10**9
ACME: Final = Instrument(
    symbol="ACME",
    kind="EQUITY",
    currency="USD",
    currency_exponent=2,
    tick_size_e9=10_000_000,
    lot_size_e9=500_000_000,
    multiplier=2,
    minor_per_tick_lot=1,
    maximum_quantity_lots=10**6,
    maximum_notional_minor=10**12,
    settlement_days=2,
    session_end_minute_utc=17 * 60,
)


class ListRows:
    """`Rows` of what a test lists, by their tables' keys."""

    def __init__(self, *records: Record, since_ns: int = 0, marks: Mapping[str, int] | None = None) -> None:
        self.since_ns = since_ns
        self._records = [*definitions(), *records]  # of a state the last stands
        self._marks = marks or {}

    def happened(
        self, record: type[R], begin_ns: int, end_ns: int, events: tuple[str, ...] = ()
    ) -> Iterator[R]:
        """Rows of a span."""
        for row in self._of(record):
            it: Any = row
            if begin_ns <= it.at_ns < end_ns and (not events or it.event in events):
                yield row

    def orders_before(self, day: Day) -> Iterator[FlatOrderEvent]:
        """Earlier rows."""
        return self.happened(FlatOrderEvent, 0, day.begin_ns)

    def latest(self, record: type[R]) -> Iterator[R]:
        """States."""
        return iter(self._of(record))

    def marks(self, end_ns: int) -> Mapping[str, int]:
        """What the test says."""
        del end_ns
        return self._marks

    def _of(self, record: type[R]) -> list[R]:
        found = [it for it in self._records if isinstance(it, record)]
        return sorted(found, key=lambda it: [getattr(it, name) for name in BY_RECORD[record].key])


def definitions() -> list[FlatReference]:
    """ACME, alice who stops her own trades, and bob who does not."""
    bob = Account(account="bob", self_trade_prevention="NONE")
    return [
        defined("INSTRUMENT", "ACME", ACME),
        defined("ACCOUNT", "alice", Account(account="alice")),
        defined("ACCOUNT", "bob", bob),
    ]


def defined(kind: str, name: str, definition: Record, at_ns: int = 1) -> FlatReference:
    """A row of reference data."""
    return FlatReference(
        epoch=1,
        kind=kind,
        name=name,
        version=1,
        definition=msgspec.json.encode(definition).decode(),
        currency=None,
        currency_exponent=None,
        tick_size_e9=None,
        lot_size_e9=None,
        minor_per_tick_lot=None,
        at_ns=at_ns,
    )


def built(build: Any, rows: ListRows, day: Day = DAY) -> tuple[list[dict[str, Any]], Notes]:
    """What a builder gives, with its notes."""
    notes = Notes()
    return list(build(rows, day, Definitions(rows, notes), notes)), notes


class Story:
    """The events of order 9, a second after each other from ten o'clock on; ``tell`` is one of them."""

    def __init__(self, day: Day = DAY, **asked: Any) -> None:
        self.rows: list[FlatOrderEvent] = []
        self._at_ns = day.begin_ns + 36_000 * SECOND + 123_456_789
        self._terms: dict[str, Any] = {
            "side": "BUY",
            "order_type": "LIMIT",
            "time_in_force": "GTC",
            "quantity_lots": 10,
            "price_ticks": 105,
            "post_only": False,
        } | asked
        self.tell("PlaceOrder", origin="edge/account-commands", **self._terms)

    def accept(self) -> "Story":
        """It is accepted."""
        names = ("side", "order_type", "time_in_force", "quantity_lots", "price_ticks", "stop_price_ticks")
        terms: dict[str, Any] = {name: self._terms.get(name) for name in names}
        return self.tell("OrderAccepted", **terms)

    def fill(self, lots: int, leaves: int, liquidity: str = "MAKER") -> "Story":
        """It trades at 104."""
        return self.tell(
            "OrderFilled",
            trade_id=3,
            last_price_ticks=104,
            last_quantity_lots=lots,
            leaves_quantity_lots=leaves,
            liquidity=liquidity,
        )

    def tell(self, event: str, origin: str = "matching-0/account-events", **fields: Any) -> "Story":
        """Any event."""
        self._at_ns += SECOND
        row = {
            "epoch": 1,
            "origin": origin,
            "partition": 0,
            "sequence": len(self.rows),
            "item": 0,
            "account": "alice",
            "client_order_id": "mine",
            "instrument": "ACME",
            "order_id": 9,
        }
        self.rows.append(FlatOrderEvent(**{**row, "event": event, "at_ns": self._at_ns, **fields}))
        return self
