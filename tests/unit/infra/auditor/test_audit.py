"""The audit passes what an engine really said, and finds each single thing that is spoiled in it."""

from collections.abc import Callable

import msgspec
import pytest

from infra.auditor.audit import Audit, origins_of, skips_by_stage
from infra.auditor.cut import find_cut
from infra.auditor.log import AuditError, LogRecord
from infra.auditor.refold import refold_all
from infra.auditor.report import Report
from infra.auditor.snapshot import Snapshot
from schemas import codec, commands
from schemas import events as e
from schemas import settlement_events as s
from schemas.control_events import CommandApplied
from schemas.envelopes import SkippedRecord
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    CONTROL_EVENTS,
    MARKET_DATA,
    SETTLEMENT_EVENTS,
    SKIPS,
    TRADES,
)
from tables.matching import MatchingTables
from tables.risk import RiskTables
from tables.settlement import SettlementTables
from tests.unit.infra.auditor.engine import COUNTS, ENV, Engine, MemoryLog, open_market, trade_at_random
from tests.unit.infra.auditor.forgery import change, change_row, double, flip, forge, lose, touch

STEPS = 600


def audited(log: MemoryLog, start: Snapshot | None = None) -> Report:
    """A whole audit."""
    report, cut = Report(), find_cut(log, ENV, COUNTS, 0)
    audit = Audit(log, cut, report, start)
    audit.read()
    entries = {} if start is None else start.entries()
    refold_all(log, cut, COUNTS, audit.lanes, report, skips=skips_by_stage(log), start=entries)
    return report


def broken(report: Report) -> dict[str, list[str]]:
    """The checks that found something, with their examples."""
    return {tally.name: tally.examples for tally in report if tally.breaches}


def traded(seed: int, steps: int = STEPS) -> Engine:
    """An engine after a random market, at a checkpoint, with records that were said twice."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, seed, steps)
    for place in ((ACCOUNT_EVENTS, 0), (TRADES, 0), (SETTLEMENT_EVENTS, 1)):
        engine.repeat(place, 2)
        engine.repeat(place, 5)
    engine.pump()
    engine.checkpoint()
    return engine


@pytest.fixture(scope="module")
def sound() -> MemoryLog:
    """The log of an engine on which nothing is wrong."""
    return traded(1).log


@pytest.mark.parametrize("seed", range(2, 6))
def test_sound_log_passes(seed: int) -> None:
    """What an engine said passes every check, and every check has looked at something."""
    report = audited(traded(seed).log)
    assert broken(report) == {}
    assert [tally.name for tally in report if not tally.count] == []


def plus_one(number: int) -> int:
    """One more."""
    return number + 1


def swap(log: MemoryLog) -> None:
    """Two neighbours of the tape change places."""
    first, second = log.records[TRADES, 0][3:5]
    log.records[TRADES, 0][3:5] = [
        second._replace(offset=first.offset),
        first._replace(offset=second.offset),
    ]


def say_again_otherwise(log: MemoryLog) -> None:
    """A repeat says something else, on a chain of its own."""
    place = TRADES, 0
    record = log.records[place][4]
    log.records[place].append(
        record._replace(offset=len(log.records[place]), value=flip(record.value or b""))
    )


def break_trade(log: MemoryLog) -> None:
    """A trade and its fills agree on a price that is beyond the maker's limit."""
    for topic, kind, field in (
        (TRADES, e.Trade, "price_ticks"),
        (ACCOUNT_EVENTS, e.OrderFilled, "last_price_ticks"),
    ):
        forge(log, topic, change(kind, **{field: lambda price: price + 50}))
        forge(log, topic, change(kind, **{field: lambda price: price - 100}))


def touch_last_level(log: MemoryLog) -> None:
    """The last change of a level that is still there says one lot more."""
    items = [
        it
        for record in log.records[MARKET_DATA, 0]
        for it in getattr(codec.decode(record.value), "items", ())
    ]
    latest = {(it.instrument, it.side, it.price_ticks): it for it in items if type(it) is e.LevelChanged}
    last = next(it for it in latest.values() if it.order_count)
    forge(
        log,
        MARKET_DATA,
        lambda it: (msgspec.structs.replace(it, quantity_lots=it.quantity_lots + 1),) if it == last else None,
    )


def cheapen_future(log: MemoryLog) -> None:
    """A fill of the future is told at another price than it was settled at."""
    cheaper = change(e.OrderFilled, last_price_ticks=lambda price: price - 1)
    forge(log, ACCOUNT_EVENTS, lambda it: cheaper(it) if getattr(it, "instrument", "") == "GAS" else None)


SPOILED: dict[str, tuple[Callable[[MemoryLog], object], str]] = {
    "a byte is changed": (lambda log: touch(log, (TRADES, 0), 5, flip), "contiguous"),
    "a record is lost": (lambda log: log.records[TRADES, 0].pop(5), "contiguous"),
    "two records are swapped": (swap, "contiguous"),
    "a repeat has other bytes": (say_again_otherwise, "repeats are the same"),
    "the end is lost": (lambda log: log.records[MARKET_DATA, 0].pop(), "checkpoints say was said"),
    "a record is garbage": (lambda log: touch(log, (TRADES, 0), 5, lambda _: b"garbage"), "can be decoded"),
    "an acceptance is lost": (lambda log: forge(log, ACCOUNT_EVENTS, lose(e.OrderAccepted)), "every command"),
    "a deposit is answered twice": (
        lambda log: forge(log, ACCOUNT_EVENTS, double(e.CashDeposited)),
        "every command has",
    ),
    "an order is accepted otherwise": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.OrderAccepted, quantity_lots=plus_one)),
        "every command",
    ),
    "an order has another id": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.OrderAccepted, order_id=plus_one)),
        "every command",
    ),
    "a command is lost": (lambda log: forge(log, ACCOUNT_COMMANDS, lose(commands.Deposit)), "every command"),
    "an operator is not answered": (
        lambda log: forge(log, CONTROL_EVENTS, lose(CommandApplied)),
        "every control command",
    ),
    "an order is filled twice": (
        lambda log: forge(log, ACCOUNT_EVENTS, double(e.OrderFilled)),
        "every event of an order",
    ),
    "a cancel is lost": (
        lambda log: forge(log, ACCOUNT_EVENTS, lose(e.OrderCancelled)),
        "open orders of the log",
    ),
    "a cancel takes too little": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.OrderCancelled, cum_quantity_lots=plus_one)),
        "every event of an order",
    ),
    "a fill is too large": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.OrderFilled, last_quantity_lots=lambda _: 10**6)),
        "ordered = filled",
    ),
    "a fill is beyond the limit": (break_trade, "no fill is worse"),
    "a fill has another price": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.OrderFilled, last_price_ticks=plus_one)),
        "every trade has one fill",
    ),
    "a fill is lost": (
        lambda log: forge(log, ACCOUNT_EVENTS, lose(e.OrderFilled)),
        "every trade has one fill",
    ),
    "a trade is lost": (lambda log: forge(log, TRADES, lose(e.Trade)), "trade numbers"),
    "a trade has another quantity": (
        lambda log: forge(log, TRADES, change(e.Trade, quantity_lots=plus_one)),
        "every trade has one fill",
    ),
    "a posting is lost": (
        lambda log: forge(log, SETTLEMENT_EVENTS, lose(s.Posting)),
        "postings are numbered",
    ),
    "a posting is doubled": (
        lambda log: forge(log, SETTLEMENT_EVENTS, double(s.Posting)),
        "postings are numbered",
    ),
    "a deposit is posted with one more": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.Posting, amount_minor=plus_one)),
        "cash of all accounts",
    ),
    "a deposit is let through with one more": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.CashDeposited, amount_minor=plus_one)),
        "every deposit",
    ),
    "a balance is off by one": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.BalanceChanged, cash_minor=plus_one)),
        "balances are what",
    ),
    "a balance is not said": (
        lambda log: forge(log, SETTLEMENT_EVENTS, lose(s.BalanceChanged)),
        "balances are what",
    ),
    "an open cost is off by one": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.PositionChanged, open_cost_minor=plus_one)),
        "positions are what",
    ),
    "a fee is off by one": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.TradeConfirmed, fee_minor=plus_one)),
        "every fill is settled",
    ),
    "an obligation is off by one": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.ObligationCreated, settlement_day=plus_one)),
        "every fill is settled",
    ),
    "a fill is never settled": (
        lambda log: forge(log, SETTLEMENT_EVENTS, lose(s.TradeConfirmed)),
        "positions sum to zero",
    ),
    "a variation is off by one": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.VariationSettled, amount_minor=plus_one)),
        "positions are what",
    ),
    "a variation is never posted": (
        lambda log: forge(log, SETTLEMENT_EVENTS, lose(s.VariationSettled)),
        "postings are numbered",
    ),
    "a variation is of another session": (
        lambda log: forge(log, SETTLEMENT_EVENTS, change(s.VariationSettled, session_end_ns=plus_one)),
        "variations are of sessions",
    ),
    "a session ends at two marks": (
        lambda log: forge(log, ACCOUNT_EVENTS, change(e.SessionEnded, mark_price_ticks=plus_one)),
        "a session's end is told",
    ),
    "a partition misses a session's end": (
        lambda log: forge(log, ACCOUNT_EVENTS, lose(e.SessionEnded)),
        "a session's end is told",
    ),
    "a future costs another price": (cheapen_future, "futures cost what"),
    "a receipt is released short": (
        lambda log: forge(
            log, SETTLEMENT_EVENTS, change(s.CashReleased, amount_minor=lambda amount: amount - 1)
        ),
        "receipts are released",
    ),
    "a level is off by one": (
        touch_last_level,
        "levels of market data",
    ),
    "matching keeps another quantity": (
        lambda log: change_row(
            log,
            "test-matching-a-changelog",
            MatchingTables(),
            "orders",
            lambda row: msgspec.structs.replace(row, leaves_quantity_lots=row.leaves_quantity_lots + 1),
        ),
        "are matching's",
    ),
    "risk keeps another name": (
        lambda log: change_row(
            log,
            "test-risk-a-changelog",
            RiskTables(),
            "orders",
            lambda row: msgspec.structs.replace(row, client_order_id="other"),
        ),
        "are risk's",
    ),
    "risk holds too little": (
        lambda log: change_row(
            log,
            "test-risk-a-changelog",
            RiskTables(),
            "orders",
            lambda row: msgspec.structs.replace(row, hold_price_ticks=row.hold_price_ticks - 1),
        ),
        "holds are what",
    ),
    "risk has other cash": (
        lambda log: change_row(
            log,
            "test-risk-a-changelog",
            RiskTables(),
            "cash",
            lambda row: msgspec.structs.replace(row, cash_minor=row.cash_minor + 1),
        ),
        "are risk's",
    ),
    "settlement keeps other cash": (
        lambda log: change_row(
            log,
            "test-settlement-a-changelog",
            SettlementTables(),
            "balances",
            lambda row: msgspec.structs.replace(row, cash_minor=row.cash_minor + 1),
        ),
        "are settlement's",
    ),
    "a table is not what a fold makes": (
        lambda log: change_row(
            log,
            "test-risk-a-changelog",
            RiskTables(),
            "marks",
            plus_one,
        ),
        "risk: tables equal",
    ),
    "a stage said what a fold does not": (
        lambda log: forge(log, MARKET_DATA, change(e.LevelChanged, order_count=plus_one)),
        "matching: what was said",
    ),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_spoiled_log_is_found(sound: MemoryLog, spoiled: str) -> None:
    """One thing that is wrong in an otherwise sound log breaks the check that is there for it."""
    spoil, check = SPOILED[spoiled]
    log = sound.copy()
    spoil(log)
    found = broken(audited(log))
    assert [name for name in found if check in name], found


def test_what_is_under_way_is_named() -> None:
    """An engine that has a command to do is not quiet; one that has ticks to do is."""
    engine = traded(7, 300)
    engine.tick()
    find_cut(engine.log, ENV, COUNTS, 0)
    engine.pump()
    find_cut(engine.log, ENV, COUNTS, 0)
    engine.account(commands.CancelOrder(account="bob", client_order_id="x", original_client_order_id="y"))
    with pytest.raises(AuditError, match=r"risk \d has read to \d+ of \d+, and \d+ is no tick"):
        find_cut(engine.log, ENV, COUNTS, 0)


def test_garbage_that_no_stage_has_passed_is_named() -> None:
    """A record that its stage cannot have read ends the wait for quiet with its place, and with what steps over it."""
    engine = traded(7, 300)
    offset = len(engine.log.records[ACCOUNT_COMMANDS, 1])
    engine.append((ACCOUNT_COMMANDS, 1), b"garbage")
    named = rf"account-commands 1 at {offset} cannot be decoded .* `trading skip risk 1 {offset}`"
    with pytest.raises(AuditError, match=named):
        find_cut(engine.log, ENV, COUNTS, 0)


def test_what_ticks_do_behind_the_cut_is_left_out() -> None:
    """Ticks that some stages have done and checkpointed, and others not, break nothing."""
    engine = traded(8, 300)
    for _ in range(3):
        engine.now_ns += 10**9
        engine.tick()
        engine.pump()
        assert broken(audited(engine.log)) == {}
    engine.checkpoint()
    assert broken(audited(engine.log)) == {}


def test_a_session_end_half_worked_off_is_no_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that still wait for their variation at the cut count as if they had it, from a snapshot too."""
    for module in ("agents.rules.settlement.journal", "agents.rules.risk.desk"):
        monkeypatch.setattr(f"{module}.SETTLEMENTS_PER_RECORD", 1)
    engine = traded(11)
    engine.now_ns += NANOSECONDS_PER_DAY
    engine.control(commands.SetMark(command_id="m", instrument="GAS", price_ticks=104, at_ns=engine.now_ns))
    engine.tick()
    engine.pump()
    engine.checkpoint()
    waiting = {
        stage
        for (stage, _), fold in engine.folds.items()
        if isinstance(fold.tables, RiskTables | SettlementTables) and fold.tables.variations
    }
    assert waiting == {"risk", "settlement"}
    cut = find_cut(engine.log, ENV, COUNTS, 0)
    audit = Audit(engine.log, cut, Report())
    audit.read()
    snapshot = Snapshot.take(engine.log, cut, audit.resume)
    assert broken(audited(engine.log)) == {}
    trade_at_random(engine, 12, 100, "again")
    engine.checkpoint()
    assert broken(audited(engine.log)) == {}
    assert broken(audited(engine.log, snapshot)) == {}


def test_snapshot_goes_on() -> None:
    """An audit from a snapshot passes a sound log though its start is deleted, and finds what is wrong behind it."""
    engine = traded(9)
    cut = find_cut(engine.log, ENV, COUNTS, 0)
    audit = Audit(engine.log, cut, Report())
    audit.read()
    taken = Snapshot.take(engine.log, cut, audit.resume)
    snapshot = msgspec.msgpack.decode(msgspec.msgpack.encode(taken), type=Snapshot)
    trade_at_random(engine, 10, 300, "again")
    engine.checkpoint()
    begins = {(topic, partition): begin for topic, partition, begin in snapshot.begins}
    for place, begin in begins.items():
        engine.log.delete(place, begin)
    report = audited(engine.log, snapshot)
    assert broken(report) == {}
    assert next(tally for tally in report if "positions are what" in tally.name).count
    touch(engine.log, (TRADES, 0), -1, flip)
    assert "records of an origin are contiguous, on one chain" in broken(audited(engine.log, snapshot))


def test_snapshot_of_another_engine_is_refused(sound: MemoryLog) -> None:
    """A snapshot that lies behind the log's end is refused."""
    cut = find_cut(sound, ENV, COUNTS, 0)
    snapshot = Snapshot([(TRADES, 0, 10**9)], [])
    with pytest.raises(AuditError, match="trades 0"):
        Audit(sound, cut, Report(), snapshot)


def test_log_without_its_start_is_checked_as_far_as_it_goes(sound: MemoryLog) -> None:
    """Where retention has deleted the start, what is left is checked, and the report says what is not."""
    log = sound.copy()
    for place in ((ACCOUNT_COMMANDS, 0), (ACCOUNT_EVENTS, 0), (TRADES, 0), (TRADES, 1)):
        log.delete(place, len(log.records[place]) // 2)
    report = audited(log)
    assert broken(report) == {}
    assert [tally.name for tally in report if tally.note] == [
        "money is not checked: retention has deleted the log's start",
        "risk: tables equal a fold of the inbox, byte for byte",
        "risk: what was said equals a fold of the inbox, repeats dropped",
        "settlement: tables equal a fold of the inbox, byte for byte",
        "settlement: what was said equals a fold of the inbox, repeats dropped",
    ]
    touch(log, (TRADES, 0), 5, flip)
    assert "records of an origin are contiguous, on one chain" in broken(audited(log))


def test_what_was_said_last_may_lie_before_the_start(sound: MemoryLog) -> None:
    """Where a start is gone, and all of an origin with it, no checkpoint tells that a record is lost."""
    log, place = sound.copy(), (CONTROL_EVENTS, 0)
    last = len(log.records[place])
    log.delete(place, last - 1)
    log.records[place].clear()
    assert "what checkpoints say was said is in the topics" not in broken(audited(log))
    log = sound.copy()
    log.records[place].pop()
    assert "what checkpoints say was said is in the topics" in broken(audited(log))


def test_skipped_command_needs_no_outcome() -> None:
    """What an operator made a no-op has no outcome, and no effect in a fold."""
    engine = Engine()
    open_market(engine)
    deposit = commands.Deposit(account="alice", command_id="skipped", currency="USD", amount_minor=5)
    engine.account(deposit)
    partition = next(
        p for (t, p), r in engine.log.records.items() if t == ACCOUNT_COMMANDS and _ends_with(r, deposit)
    )
    offset = len(engine.log.records[ACCOUNT_COMMANDS, partition]) - 1
    skip = SkippedRecord(
        stage="risk", partition=partition, offset=offset, index=0, operator="o", note="", at_ns=0
    )
    engine.append((SKIPS, 0), codec.encode(skip), b"key")
    engine.folds["risk", partition].skips = frozenset({(offset, 0)})
    engine.pump()
    engine.checkpoint()
    assert broken(audited(engine.log)) == {}


@pytest.mark.parametrize(
    "value", [b"garbage", None, codec.encode(commands.MassCancel(command_id="m", account="alice"))]
)
def test_what_is_no_skip_is_refused_by_name(sound: MemoryLog, value: bytes | None) -> None:
    """A stranger's record among the skips ends the audit in one line, which names it."""
    log = sound.copy()
    log.records[SKIPS, 0] = [LogRecord(7, 0, b"key", value)]
    with pytest.raises(AuditError, match="skips 0 at 7 is no skip"):
        audited(log)


def test_a_strangers_commands_leave_no_trace() -> None:
    """A stranger's commands under ids of others are answered; the ids' owner has his own outcomes all the same."""
    engine = Engine()
    open_market(engine)
    cancel = commands.CancelOrder(account="alice", client_order_id="1", original_client_order_id="0")
    order = commands.PlaceOrder(
        account="alice",
        client_order_id="1",
        instrument="BTC",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=1,
        price_ticks=100,
        at_ns=engine.now_ns,
    )
    strange = msgspec.structs.replace(order, client="acme", quantity_lots=2)
    for command in (msgspec.structs.replace(cancel, client="acme"), strange, order, strange):
        engine.account(command)
    engine.pump()
    engine.checkpoint()
    assert broken(audited(engine.log)) == {}
    forge(engine.log, ACCOUNT_EVENTS, change(e.OrderAccepted, quantity_lots=lambda lots: lots + 2))
    assert "every command has one outcome" in broken(audited(engine.log))


def _ends_with(records: list[LogRecord], command: commands.Deposit) -> bool:
    return bool(records) and command in getattr(codec.decode(records[-1].value), "items", ())


def test_lanes_alone_serve_a_fold(sound: MemoryLog) -> None:
    """The chaos tests may fold with nothing but the lanes of the topics."""
    report, cut = Report(), find_cut(sound, ENV, COUNTS, 0)
    lanes = origins_of(sound, cut, report)
    refold_all(sound, cut, COUNTS, lanes, report)
    assert broken(report) == {}
    assert sum(lane.repeats for lane in lanes.values()) == 6
