"""How far behind the archive is, and what is held and released for that."""

from typing import Final

import msgspec

from infra.archive.progress import Behind, behind
from infra.archive.retention import FOREVER, retentions, to_hold, to_release
from infra.auditor.log import Place
from infra.settings import Settings
from infra.sinks.connectors import CONTROL_TOPIC
from schemas.topics import AUDIT, BALANCES, ORDERS, TRADES, orders_of

A: Final[Place] = (ORDERS, 0)
NOW_MS: Final = 100_000
DAY_S: Final = 86_400


def one(begin: int, end: int, archived: int | None, written_ms: int | None) -> Behind:
    """What is said of a place whose first record that is not archived was written then."""
    known = {} if archived is None else {A: archived}
    written = {} if written_ms is None else {A: written_ms}
    return behind({A: (begin, end)}, known, written, NOW_MS)[0]


def late(topic: str, seconds: float) -> Behind:
    """A place that is so far behind."""
    return Behind(topic=topic, partition=0, archived=0, end=9, behind=9, behind_s=seconds, lost=0)


def test_what_is_behind_is_what_kafka_has_and_the_archive_has_not() -> None:
    """Counted from what is archived, or from the log's start where that is later; its age is the first one's."""
    assert msgspec.structs.astuple(one(0, 10, 4, 40_000)) == (ORDERS, 0, 4, 10, 6, 60.0, 0)
    assert msgspec.structs.astuple(one(3, 10, None, 90_000)) == (ORDERS, 0, None, 10, 7, 10.0, 0)


def test_a_gap_at_the_end_is_not_behind() -> None:
    """Where no record is left but offsets are (a transaction's marker), nothing is behind."""
    assert (one(0, 10, 9, None).behind, one(0, 10, 9, None).behind_s) == (0, 0.0)


def test_what_expired_before_it_was_archived_is_lost() -> None:
    """The log starts behind what is archived; a topic that was never archived has lost nothing to the archive."""
    assert one(7, 10, 4, 90_000).lost == 3
    assert one(7, 10, None, 90_000).lost == 0


def test_a_clock_that_runs_ahead_makes_no_age() -> None:
    """A record of the future is of age zero."""
    assert one(0, 1, 0, NOW_MS + 5).behind_s == 0.0


def test_only_what_would_expire_is_held() -> None:
    """Topics that are kept for good, or only compacted, need no hold; clients' topics and the control topic do."""
    found = retentions(Settings.load(clients=("acme",)))
    assert {ORDERS, TRADES, orders_of("acme").name, CONTROL_TOPIC.name} <= found.keys()
    assert found.keys().isdisjoint({AUDIT, BALANCES})
    assert FOREVER not in found.values()


def test_a_late_topic_is_held_alone() -> None:
    """Held is what is too far behind, with the control topic; all where the archive has stopped; nothing else."""
    topics = {ORDERS, TRADES, CONTROL_TOPIC.name}
    found = [late(ORDERS, DAY_S + 1), late(TRADES, DAY_S - 1), late(AUDIT, DAY_S + 1)]
    assert to_hold(found, topics, DAY_S, has_stopped=False) == {ORDERS, CONTROL_TOPIC.name}
    assert to_hold(found[1:], topics, DAY_S, has_stopped=False) == set()
    assert to_hold([], topics, DAY_S, has_stopped=True) == topics


def test_a_topic_is_released_when_it_has_caught_up() -> None:
    """Between the two bounds what is held stays held; the control topic goes when no topic is late any more."""
    held = {ORDERS, TRADES, CONTROL_TOPIC.name}
    found = [late(ORDERS, 601), late(TRADES, 599)]
    assert to_release(found, held, 600) == {TRADES}
    assert to_release([late(ORDERS, 0), late(TRADES, 0)], held, 600) == held
    assert to_release(found[1:], {CONTROL_TOPIC.name}, 600) == {CONTROL_TOPIC.name}
