"""Breaks: what differs, since when, the trades behind it, and how a run follows those of earlier ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from infra.auditor.log import AuditError
from infra.reconciliation.breaks import break_id, compare, explain, open_breaks, records_of
from infra.reconciliation.holdings import Holdings, Key, Values, engine_state, instruments, replayed
from schemas import codec
from schemas.envelopes import Reconciliations, RiskEvents
from schemas.risk_events import BreakClosed, BreakFound, MarginDeficit
from schemas.topics import ACCOUNT_EVENTS, RISK_EVENTS, SETTLEMENT_EVENTS
from tests.unit.infra.auditor.engine import COUNTS, ENV, MemoryLog
from tests.unit.infra.reports.town import Town

ALICE = Key("alice", "BTC", is_cash=False)
CASH = Key("alice", "USD", is_cash=True)
NOW = 1_000


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """An engine that has traded for days."""
    return Town(tmp_path_factory.mktemp("town"))


def held(town: Town) -> Holdings:
    """What its tables say."""
    return engine_state(town.log, ENV, COUNTS).holdings


@pytest.mark.parametrize(
    ("ours", "theirs", "differ"),
    [
        ((5, 10, 0), (5, 10, 0), False),
        ((5, 10, 0), (5, 11, 0), True),
        ((5, 10, 0), None, True),
        (None, (5, 10, 0), True),
        ((0, 0, 0), None, False),
        ((5, 10, 7), (5,), False),
        ((5, 10, 7), (6,), True),
        (None, (0,), False),
    ],
)
def test_what_is_a_break(ours: Values | None, theirs: Values | None, differ: bool) -> None:
    """Any value that both state and differ in; nothing at all is the same as no holding."""
    one, other = ({} if it is None else {ALICE: it} for it in (ours, theirs))
    assert bool(compare(one, other)) is differ


def test_the_engine_agrees_with_its_replay(town: Town) -> None:
    """A fold of the inbox by the stage's own rules holds what the committed tables hold."""
    state = engine_state(town.log, ENV, COUNTS)
    assert len(state.holdings) > 20
    assert compare(state.holdings, replayed(town.log, town.log, state.checkpoints, COUNTS)) == {}
    assert [it.symbol for it in instruments(town.log, ENV)] == ["BTC", "ACME", "GAS"]


def test_an_archive_that_is_behind_is_read_on_from_the_live_log(town: Town) -> None:
    """What the archive has not yet comes from Kafka; what is in neither is an error, and so is a lost start."""
    state, archive = engine_state(town.log, ENV, COUNTS), town.log.copy()
    for partition in range(COUNTS.accounts):
        archive.records[ACCOUNT_EVENTS, partition] = archive.records[ACCOUNT_EVENTS, partition][:50]
    assert compare(state.holdings, replayed(archive, town.log, state.checkpoints, COUNTS)) == {}
    live = town.log.copy()
    live.delete((ACCOUNT_EVENTS, 0), 60)
    with pytest.raises(AuditError, match="account-events 0 from 50 to 60 is nowhere any more"):
        replayed(archive, live, state.checkpoints, COUNTS)
    with pytest.raises(AuditError, match="without its start nothing can be replayed"):
        replayed(live, live, state.checkpoints, COUNTS)


def test_a_log_with_a_hole_cannot_be_replayed(town: Town) -> None:
    """The stage's own rules stop where a record is missing: the place is named, and nothing is compared."""
    state, log = engine_state(town.log, ENV, COUNTS), town.log.copy()
    del log.records[ACCOUNT_EVENTS, 0][20]
    with pytest.raises(AuditError, match=r"the replay of account-events 0 stops at 2\d: .* records are lost"):
        replayed(log, log, state.checkpoints, COUNTS)


def history(town: Town, key: Key) -> list[tuple[Values, int]]:
    """Every state of a position, with the time."""
    found: list[tuple[Values, int]] = []
    for place, records in town.log.records.items():
        for record in records if place[0] == SETTLEMENT_EVENTS else ():
            said: Any = codec.decode(record.value)
            for item in said.items:
                if type(item).__name__ == "PositionChanged" and (item.account, item.instrument) == key[:2]:
                    values = item.quantity_lots, item.open_cost_minor, item.realised_profit_minor
                    found.append((values, item.at_ns))
    return found


def busiest(town: Town) -> Key:
    """The position with the most movements."""
    keys = [it for it in held(town) if not it.is_cash and it.asset != "GAS"]
    return max(keys, key=lambda it: len(history(town, it)))


def test_a_break_begins_after_the_last_moment_at_which_both_agreed(town: Town) -> None:
    """Somebody who stayed behind by three trades is explained by just these three, and since the first of them."""
    key = busiest(town)
    states = history(town, key)
    stale = states[-4][0]
    assert stale not in [it for it, _ in states[-3:]]
    found = compare({key: states[-1][0]}, {key: stale})
    explain(town.log, found)
    (it,) = found.values()
    assert (it.cause_count, it.since_ns) == (3, states[-3][1])
    assert [(cause.kind, cause.at_ns) for cause in it.causes] == [
        ("TRADE", at_ns) for _, at_ns in states[-3:]
    ]


def test_what_was_never_so_has_no_since(town: Town) -> None:
    """A value that the engine never said: all movements are behind it, and since when is not known."""
    key = busiest(town)
    states = history(town, key)
    found = compare({key: states[-1][0]}, {key: (12_345, 0, 0)})
    explain(town.log, found)
    assert (found[key].cause_count, found[key].since_ns) == (len(states), None)


def test_what_the_other_never_had_differs_from_the_first_trade_on(town: Town) -> None:
    """Who has no such holding agreed until the first movement; not if the log's start is gone."""
    key = busiest(town)
    states = history(town, key)
    found = compare({key: states[-1][0]}, {})
    explain(town.log, found)
    assert (found[key].cause_count, found[key].since_ns) == (len(states), states[0][1])
    log = town.log.copy()
    for place in list(log.records):
        if place[0] == SETTLEMENT_EVENTS:
            log.delete(place, 1)
    later = compare({key: states[-1][0]}, {})
    explain(log, later)
    assert later[key].since_ns is None


def test_cash_is_explained_by_what_was_posted(town: Town) -> None:
    """A balance that somebody does not have is explained from its deposit on."""
    key = Key("alice", "USD", is_cash=True)
    found = compare({key: held(town)[key]}, {})
    explain(town.log, found)
    assert found[key].causes[0].kind == "DEPOSIT" or found[key].cause_count > len(found[key].causes)
    assert {it.kind for it in found[key].causes} <= {
        "TRADE",
        "FEE",
        "REBATE",
        "DEPOSIT",
        "WITHDRAWAL",
        "VARIATION",
        "RELEASE",
    }


def told(*runs: tuple[Holdings, int]) -> tuple[MemoryLog, list[list[BreakFound | BreakClosed]]]:
    """What runs against a custodian say, each knowing what those before it wrote."""
    log = MemoryLog({(RISK_EVENTS, it): [] for it in range(2)})
    deficit = MarginDeficit(account="a", currency="USD", equity_minor=0, required_minor=1, at_ns=1)
    append(log, codec.encode(RiskEvents(items=(deficit,))))
    said = []
    for theirs, now_ns in runs:
        breaks = compare({ALICE: (5, 0, 0), CASH: (7, 0)}, theirs)
        said.append(records_of(breaks, open_breaks(log, "custodian"), "custodian", now_ns))
        for it in said[-1]:
            append(log, codec.encode(Reconciliations(items=(it,))))
    return log, said


def append(log: MemoryLog, value: bytes) -> None:
    """Writes to `risk-events`."""
    from infra.auditor.log import LogRecord

    records = log.records[RISK_EVENTS, 0]
    records.append(LogRecord(len(records), len(records), None, value))


def test_a_break_is_as_old_as_its_first_record() -> None:
    """Found again it keeps its age; gone it is closed once; come back it is a new one."""
    wrong: Holdings = {ALICE: (6,), CASH: (7,)}
    right: Holdings = {ALICE: (5,), CASH: (7,)}
    _, (first, second, third, fourth, fifth) = told(
        (wrong, 10), (wrong, 20), (right, 30), (right, 40), (wrong, 50)
    )
    identity = break_id("custodian", ALICE)
    for run, at_ns, first_seen_ns in ((first, 10, 10), (second, 20, 10), (fifth, 50, 50)):
        (found,) = run
        assert isinstance(found, BreakFound)
        assert (found.break_id, found.at_ns, found.first_seen_ns) == (identity, at_ns, first_seen_ns)
        assert (found.engine_quantity, found.other_quantity, found.currency) == (5, 6, None)
    (closed,) = third
    assert isinstance(closed, BreakClosed)
    assert (closed.break_id, closed.first_seen_ns, closed.at_ns) == (identity, 10, 30)
    assert fourth == []


def test_breaks_against_others_are_others() -> None:
    """What a custodian's statement shows is neither found nor closed by a look at Postgres."""
    log, _ = told(({ALICE: (6,), CASH: (8,)}, 10))
    assert open_breaks(log, "custodian").keys() == {"custodian alice BTC", "custodian alice cash USD"}
    assert open_breaks(log, "postgres") == {}


def test_the_detail_tells_all() -> None:
    """The record's JSON has every value of both, for a person who reads it in a database."""
    _, ((found, *_),) = told(({ALICE: (6,), CASH: (7,)}, 10))
    assert isinstance(found, BreakFound)
    detail = json.loads(found.detail)
    assert detail["engine_values"] == {"quantity": 5, "open_cost": 0, "realised_profit": 0}
    assert detail["other_values"] == {"quantity": 6}


def test_an_engine_without_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    """Nothing to compare is an error that says so."""
    del tmp_path
    with pytest.raises(AuditError, match="settlement 0 has no checkpoint"):
        engine_state(MemoryLog({}), ENV, COUNTS)
