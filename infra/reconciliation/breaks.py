"""Breaks: where two disagree, since when, and the trades behind it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from infra.auditor.log import Log, Place, side_by_side
from infra.reconciliation.holdings import NAMES, Holdings, Key, Values
from schemas import codec
from schemas import settlement_events as s
from schemas.risk_events import BreakClosed, BreakFound
from schemas.topics import RISK_EVENTS, SETTLEMENT_EVENTS

CAUSES_MAX: Final = 100  # the latest; the count tells the rest


class Cause(msgspec.Struct, frozen=True):
    """What moved a holding since both were last equal: a trade, or for cash whatever was posted."""

    kind: str  # TRADE, VARIATION, DEPOSIT, WITHDRAWAL, FEE, REBATE, RELEASE
    source_id: str
    at_ns: int


class Break(msgspec.Struct):
    """Both sides' values, None where there is no such holding; ``since_ns`` None: the log does not tell."""

    key: Key
    engine: Values | None
    other: Values | None
    since_ns: int | None = None
    causes: list[Cause] = []
    cause_count: int = 0

    def values(self) -> dict[str, dict[str, int] | None]:
        """The engine's and the other's, by name, in lots and minor units."""
        names = NAMES[self.key.is_cash]
        return {
            whose: None if it is None else dict(zip(names, it, strict=False))
            for whose, it in (("engine_values", self.engine), ("other_values", self.other))
        }


def compare(engine: Holdings, other: Holdings) -> dict[Key, Break]:
    """Every holding that one has and the other has not, or has other values of; as far as both say them."""
    found = {}
    for key in sorted(engine.keys() | other.keys()):
        ours, theirs = engine.get(key), other.get(key)
        width = min(len(it) for it in (ours, theirs) if it is not None)
        if _padded(ours, width) != _padded(theirs, width):
            found[key] = Break(key, ours, theirs)
    return found


def explain(log: Log, breaks: Mapping[Key, Break]) -> None:
    """Finds for each break the last moment at which the engine said what the other says, and what came after it.

    One pass over settlement's word. Where it never said so, all that the log has is behind the break, and since
    when is not known; unless the other has nothing: that was so until the first event.
    """
    spans = {
        (SETTLEMENT_EVENTS, it): log.bounds((SETTLEMENT_EVENTS, it))
        for it in range(log.topics().get(SETTLEMENT_EVENTS, 0))
    }
    is_whole = not any(begin for begin, _ in spans.values())
    trackers = {key: _Tracker(it, is_whole=is_whole) for key, it in breaks.items()}
    heard: dict[Place, int] = {}
    for place, record in side_by_side(log, spans) if breaks else ():
        said: Any = codec.decode(record.value or b"")
        if said.origin.sequence <= heard.get(place, -1):
            continue  # said again
        heard[place] = said.origin.sequence
        for item in said.items:
            for key, cause in _moves(item):
                if key in trackers:
                    trackers[key].cause(cause)
            state = _state(item)
            if state is not None and state[0] in trackers:
                trackers[state[0]].stands(state[1])


class _Tracker:
    """Follows one holding through the log."""

    def __init__(self, it: Break, *, is_whole: bool) -> None:
        self._break = it
        nothing = is_whole and not any(it.other or ())
        self._was_equal = nothing  # at some time so far

    def cause(self, it: Cause) -> None:
        known = self._break
        if self._was_equal and not known.cause_count:
            known.since_ns = it.at_ns
        known.cause_count += 1
        known.causes = [*known.causes[-CAUSES_MAX + 1 :], it]

    def stands(self, values: Values) -> None:
        known = self._break
        other = known.other or tuple(0 for _ in values)
        if values[: len(other)] == other:
            self._was_equal = True
            known.since_ns, known.causes, known.cause_count = None, [], 0


def _moves(item: Any) -> Iterator[tuple[Key, Cause]]:
    match item:
        case s.TradeConfirmed():
            cause = Cause("TRADE", str(item.trade_id), item.at_ns)
            yield Key(item.account, item.instrument, is_cash=False), cause
        case s.VariationSettled():
            cause = Cause("VARIATION", str(item.session_end_ns), item.at_ns)
            yield Key(item.account, item.instrument, is_cash=False), cause
        case s.Posting():
            for account in (item.debit_account, item.credit_account):
                yield Key(account, item.currency, is_cash=True), Cause(item.kind, item.source_id, item.at_ns)
        case s.CashReleased():
            cause = Cause("RELEASE", str(item.settlement_day), item.at_ns)
            yield Key(item.account, item.currency, is_cash=True), cause
        case _:
            pass  # what moves nothing


def _state(item: Any) -> tuple[Key, Values] | None:
    match item:
        case s.PositionChanged():
            values = item.quantity_lots, item.open_cost_minor, item.realised_profit_minor
            return Key(item.account, item.instrument, is_cash=False), values
        case s.BalanceChanged():
            return Key(item.account, item.currency, is_cash=True), (item.cash_minor, item.unsettled_minor)
        case _:
            return None


def _padded(values: Values | None, width: int) -> Values:
    return (0,) * width if values is None else values[:width]


def break_id(against: str, key: Key) -> str:
    """The same in every run."""
    return f"{against} {key}"


def open_breaks(log: Log, against: str) -> dict[str, BreakFound]:
    """The breaks that earlier runs against the same found, and none has closed."""
    spans = {
        (RISK_EVENTS, it): log.bounds((RISK_EVENTS, it)) for it in range(log.topics().get(RISK_EVENTS, 0))
    }
    found: dict[str, BreakFound] = {}
    for _, record in side_by_side(log, spans):
        for item in _items(record.value or b""):
            if isinstance(item, BreakFound) and item.against == against:
                found[item.break_id] = item
            elif isinstance(item, BreakClosed) and item.against == against:
                found.pop(item.break_id, None)
    return found


def _items(value: bytes) -> Iterable[Any]:
    envelope: Any = codec.decode(value)
    items: Iterable[Any] = envelope.items
    return items


def records_of(
    breaks: Mapping[Key, Break], known: Mapping[str, BreakFound], against: str, now_ns: int
) -> list[BreakFound | BreakClosed]:
    """What is to be said: every break that is there, as old as its first record, and those that are no more."""
    found = {break_id(against, key): it for key, it in breaks.items()}
    said: list[BreakFound | BreakClosed] = []
    for identity, it in found.items():
        before = known.get(identity)
        said.append(
            BreakFound(
                break_id=identity,
                against=against,
                account=it.key.account,
                instrument=None if it.key.is_cash else it.key.asset,
                currency=it.key.asset if it.key.is_cash else None,
                engine_quantity=None if it.engine is None else it.engine[0],
                other_quantity=None if it.other is None else it.other[0],
                since_ns=it.since_ns,
                first_seen_ns=now_ns if before is None else before.first_seen_ns,
                detail=_detail(it),
                at_ns=now_ns,
            )
        )
    for identity, gone in known.items():
        if identity not in found:
            said.append(
                BreakClosed(
                    break_id=identity,
                    against=against,
                    account=gone.account,
                    instrument=gone.instrument,
                    currency=gone.currency,
                    first_seen_ns=gone.first_seen_ns,
                    at_ns=now_ns,
                )
            )
    return said


def _detail(it: Break) -> str:
    content = {**it.values(), "since_ns": it.since_ns, "cause_count": it.cause_count, "causes": it.causes}
    return msgspec.json.encode(content, order="sorted").decode()
