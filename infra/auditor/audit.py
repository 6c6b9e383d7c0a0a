"""The audit: one pass over all topics side by side, then the tables at the cut, then the folds."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from infra.auditor.agreement import Agreement, Levels
from infra.auditor.commands import Commands
from infra.auditor.cut import Cut
from infra.auditor.ledger import Ledger
from infra.auditor.log import AuditError, Log, LogRecord, Place, side_by_side
from infra.auditor.orders import Orders, Trades
from infra.auditor.origins import NOTHING, Lane, Origins
from infra.auditor.report import Report, found_by
from infra.auditor.snapshot import Snapshot
from schemas import codec, envelopes, events
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    AUDIT,
    BOOK_COMMANDS,
    CONTROL,
    CONTROL_EVENTS,
    DEAD_LETTERS,
    FINGERPRINTS,
    MARKET_DATA,
    ORDERS,
    SEALS,
    SETTLEMENT_EVENTS,
    SKIPS,
    TRADES,
)

Progress = Callable[[int], object]
Skipped = frozenset[tuple[str, int, int, int | None]]
"""Stage, partition, offset and index (None: the whole record) of what an operator made a no-op."""

NOT_OF_STAGES: Final = frozenset({ORDERS, DEAD_LETTERS, SKIPS, AUDIT, SEALS, FINGERPRINTS})
NS_PER_MS: Final = 10**6
_PARTIAL: Final = "money is not checked: retention has deleted the log's start"


def skipped(log: Log) -> Skipped:
    """Everything that `trading skip` ever wrote; AuditError where somebody else wrote there."""
    place = SKIPS, 0
    found = (_skip(record) for record in log.read(place, log.bounds(place)))
    return frozenset((it.stage, it.partition, it.offset, it.index) for it in found)


def _skip(record: LogRecord) -> envelopes.SkippedRecord:
    try:
        found: Any = codec.decode(record.value or b"")
    except codec.DecodeError as error:
        found = error
    if isinstance(found, envelopes.SkippedRecord):
        return found
    what = found if isinstance(found, codec.DecodeError) else f"it is a {type(found).__name__}"
    raise AuditError(
        f"{SKIPS} 0 at {record.offset} is no skip ({what}), and with it there no stage starts: find out who wrote it"
        " (only `trading skip` may), and delete the topic's records up to it"
    )


def origins_of(log: Log, cut: Cut, report: Report) -> dict[Any, Lane]:
    """Check 1 alone, with the lanes that ``refold`` compares with."""
    origins = Origins(report, expected=cut.last_said())
    for place, record in side_by_side(log, spans_of(cut)):
        origin = getattr(codec.decode(record.value), "origin", None)
        if origin is not None and record.value is not None:
            origins.take(place, record.offset, origin, record.value)
    origins.finish()
    return origins.lanes


def spans_of(cut: Cut) -> dict[Place, tuple[int, int]]:
    """What is read of each place: the topics that stages write or read."""
    return {place: span for place, span in cut.spans.items() if place[0] not in NOT_OF_STAGES}


class Audit:
    """Reads the log once; ``lanes`` then serve the folds."""

    def __init__(self, log: Log, cut: Cut, report: Report, start: Snapshot | None = None) -> None:
        """``start``: where an earlier audit ended; else the log is read from its start, or what is left of it."""
        self._log, self._cut, self._report = log, cut, report
        self._skipped = skipped(log)
        self._spans = spans_of(cut) if start is None else start.spans(spans_of(cut))
        cut_off = {place: begin for place, (begin, _) in self._spans.items() if begin and start is None}
        self.is_partial = bool(cut_off)
        self._said = cut.last_said()
        self._decoded = report.tally("records can be decoded")
        self._origins = Origins(
            report,
            before={} if start is None else start.said(),
            expected=self._said,
            cut_off=frozenset(cut_off),
        )
        self._commands = Commands(report, is_partial=self.is_partial or start is not None)
        older = {place[1]: begin for place, begin in cut_off.items() if place[0] == ACCOUNT_COMMANDS}
        self.orders = Orders(report, older_than=older)
        self._trades = Trades(report, is_partial=self.is_partial)
        self.ledger = Ledger(report)
        self._levels = Levels()
        if start is not None:
            start.restore(self.orders, self._trades, self.ledger, self._levels)
        self.agreement = Agreement(report, self.orders, self._levels, self.ledger, is_partial=self.is_partial)
        # Where the next audit goes on: behind the cut there is only what the clock causes.
        self.resume = {place: end for place, (_, end) in self._spans.items()}
        self._handlers: Mapping[str, Callable[[int, int, tuple[Any, ...], bool], None]] = {
            CONTROL: self._on_control,
            ACCOUNT_COMMANDS: self._on_account_commands,
            BOOK_COMMANDS: self._on_book_commands,
            ACCOUNT_EVENTS: self._on_account_events,
            CONTROL_EVENTS: self._on_control_events,
            TRADES: self._on_trades,
            MARKET_DATA: self._on_market_data,
            SETTLEMENT_EVENTS: self._on_settlement_events,
        }

    @property
    def lanes(self) -> dict[Any, Lane]:
        """What each origin said to each place."""
        return self._origins.lanes

    @property
    def total(self) -> int:
        """How many offsets there are to read."""
        return sum(end - begin for begin, end in self._spans.values())

    def read(self, progress: Progress = lambda _: None) -> None:
        """Reads all topics, and looks at the tables."""
        for place, record in side_by_side(self._log, self._spans, progress):
            self._take(place, record.offset, record.value or b"")
        self._origins.finish()
        self._commands.finish()
        self._trades.finish(self._horizon_ns())
        if self.is_partial:
            self._report.tally(_PARTIAL).note = "give a snapshot (--from), or keep the topics for longer"
        else:
            self.ledger.finish()
            self.ledger.sessions.finish(sum(topic == ACCOUNT_EVENTS for topic, _ in self._spans))
        self.agreement.check(self._log, self._cut)

    def _horizon_ns(self) -> int:
        """What is younger has all of its parts in the log: the latest first record of a place that was cut."""
        horizon_ms = 0
        for place, span in self._spans.items() if self.is_partial else ():
            first = next(self._log.read(place, span), None)
            horizon_ms = max(horizon_ms, first.timestamp_ms if first and span[0] else 0)
        return horizon_ms * NS_PER_MS

    def _take(self, place: Place, offset: int, value: bytes) -> None:
        self._decoded.count += 1
        try:
            envelope: Any = codec.decode(value)
            origin, items = envelope.origin, envelope.items
        except (codec.DecodeError, AttributeError) as error:
            self._decoded.breach(f"{place[0]} {place[1]} at {offset}: {error}")
            return
        topic, partition = place
        if origin is not None:
            if not self._origins.take(place, offset, origin, value):
                return
            if origin.sequence > self._said.get((*place, origin.stage, origin.partition), NOTHING)[0]:
                self.resume[place] = min(self.resume[place], offset)
                return  # behind the cut: a tick's
        handler = self._handlers.get(topic)
        if handler is not None:
            with found_by(self._decoded, f"{topic} {partition} at {offset}"):
                handler(partition, offset, items, origin is None)

    def _is_skipped(self, stage: str, partition: int, offset: int, index: int) -> bool:
        skips = self._skipped
        return bool(skips) and (
            (stage, partition, offset, None) in skips or (stage, partition, offset, index) in skips
        )

    def _on_control(self, partition: int, offset: int, items: tuple[Any, ...], _is_edge: bool) -> None:
        for index, item in enumerate(items):
            if not self._is_skipped("control", partition, offset, index):
                self._commands.on_control_command(item)

    def _on_account_commands(
        self, partition: int, offset: int, items: tuple[Any, ...], is_edge: bool
    ) -> None:
        for index, item in enumerate(items):
            if self._is_skipped("risk", partition, offset, index):
                self._commands.excuse(item)
            elif is_edge:
                self._commands.on_account_command(partition, offset, index, item)

    def _on_book_commands(self, partition: int, offset: int, items: tuple[Any, ...], _is_edge: bool) -> None:
        if self._skipped:
            for index, item in enumerate(items):
                if self._is_skipped("matching", partition, offset, index):
                    self._commands.excuse(item)

    def _on_account_events(self, partition: int, offset: int, items: tuple[Any, ...], is_edge: bool) -> None:
        if is_edge:
            return  # intake's refusals: their commands never came in
        for index, item in enumerate(items):
            self._commands.on_account_event(item)
            self.orders.on_account_event(item)
            kind = type(item)
            if kind is events.OrderFilled:
                self._trades.on_fill(item)
            elif kind is events.SessionEnded and not self.is_partial:
                self.ledger.sessions.on_told(item)
            if self.is_partial or self._is_skipped("settlement", partition, offset, index):
                continue
            if kind is events.OrderFilled:
                self.ledger.on_fill(partition, item)
            elif kind is events.SessionEnded:
                self.ledger.sessions.on_end(partition, item)
            elif kind is events.CashDeposited or kind is events.CashWithdrawn:
                self.ledger.on_cash(item)

    def _on_control_events(
        self, _partition: int, _offset: int, items: tuple[Any, ...], _is_edge: bool
    ) -> None:
        for item in items:
            self._commands.on_control_event(item)

    def _on_trades(self, partition: int, _offset: int, items: tuple[Any, ...], _is_edge: bool) -> None:
        for item in items:
            self._trades.on_trade(partition, item)

    def _on_market_data(self, _partition: int, _offset: int, items: tuple[Any, ...], _is_edge: bool) -> None:
        for item in items:
            if type(item) is events.LevelChanged:
                self._levels.on_level(item)

    def _on_settlement_events(
        self, partition: int, _offset: int, items: tuple[Any, ...], _is_edge: bool
    ) -> None:
        if not self.is_partial:
            self.ledger.on_settled(partition, items)


def skips_by_stage(log: Log) -> Mapping[tuple[str, int], frozenset[tuple[int, int | None]]]:
    """The skips by stage and partition, as a fold wants them."""
    found: dict[tuple[str, int], set[tuple[int, int | None]]] = {}
    for stage, partition, offset, index in skipped(log):
        found.setdefault((stage, partition), set()).add((offset, index))
    return {place: frozenset(values) for place, values in found.items()}
