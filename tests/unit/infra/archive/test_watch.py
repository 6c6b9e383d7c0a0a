"""What the worker `archive` says of what it sees."""

import pytest

from infra.archive import watch
from infra.archive.progress import Behind
from infra.archive.watch import Watch
from infra.settings import Settings


def seen(lost: int) -> Behind:
    """A partition whose archive is up to date, but for what was lost."""
    return Behind(topic="orders", partition=0, archived=9, end=9, behind=0, behind_s=0.0, lost=lost)


def test_a_hole_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the connector has gone on behind it the offsets tell no more of it; the alarm and the metric do."""
    looks = iter([seen(3), seen(0), seen(0)])
    monkeypatch.setattr(watch, "look", lambda _: ([next(looks)], ""))
    monkeypatch.setattr(watch, "_keep", lambda *_, **__: set())
    watched = Watch()
    assert "3 records expired in Kafka before they were archived" in (watched(Settings()) or "")
    assert [watched(Settings()), watched(Settings())] == [None, None]
    assert watch.LOST.labels("orders", "0")._value.get() == 3


def test_any_fault_counts_as_having_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody knows how far the archive is, nothing may expire: also for a fault that nobody thought of."""

    def broken(_: Settings) -> list[Behind]:
        raise ValueError("a control record that no decoder reads")

    monkeypatch.setattr(watch, "progress", broken)
    monkeypatch.setattr(watch, "_why_stopped", lambda _: "")
    found, why = watch.look(Settings())
    assert not found
    assert "a control record that no decoder reads" in why
