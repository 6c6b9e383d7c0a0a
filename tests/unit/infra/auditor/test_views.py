"""The live views are compared with the log."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agents.stage.fold import Fold, Stage
from connectors.views.server import Views, serving
from connectors.views.worker import Hosted
from infra.auditor.audit import Audit
from infra.auditor.cut import find_cut
from infra.auditor.money import Held
from infra.auditor.report import Report
from infra.auditor.views import check_views
from tests.unit.connectors.views.town import Map
from tests.unit.infra.auditor.engine import COUNTS, ENV, STAGES, Engine, open_market, trade_at_random


class Still:
    """One stage's folds, looked at as ``Partitions`` lets one look."""

    def __init__(self, stage: Stage, folds: dict[int, Fold]) -> None:
        self.stage, self.owned = stage, folds

    def look(self, partition: int, at: Callable[[Fold], Any]) -> Any:
        """What ``at`` makes of a partition's state."""
        return at(self.owned[partition])


@pytest.fixture(scope="module")
def engine() -> Engine:
    """An engine after a random market."""
    engine = Engine()
    open_market(engine)
    trade_at_random(engine, 1, 300)
    engine.checkpoint()
    return engine


async def looked_at(engine: Engine, spoil: Callable[[Audit], object] = lambda _: None) -> Report:
    """The report of the views, compared with what ``spoil`` makes of the audit."""
    audit, report = Audit(engine.log, find_cut(engine.log, ENV, COUNTS, 0), Report()), Report()
    audit.read()
    spoil(audit)
    stills = [
        Still(
            stage, {partition: fold for (name, partition), fold in engine.folds.items() if name == stage.name}
        )
        for stage in STAGES
    ]
    hosted: Any = [Hosted(still.stage.name, lambda: None, still) for still in stills]  # type: ignore[arg-type]
    async with serving(Views(hosted, COUNTS, Map(), "secret"), "127.0.0.1", 0) as url:
        reference = audit.agreement.reference
        await asyncio.to_thread(check_views, url, "secret", reference, audit.ledger, audit.orders, report)
    return report


async def test_sound_views_pass(engine: Engine) -> None:
    """Views of the state that the log gives agree with it, and every account and book was asked for."""
    report = await looked_at(engine)
    assert [tally.examples for tally in report] == [[], []]
    assert all(tally.count for tally in report)


def other_cash(audit: Audit) -> None:
    """Alice has one cent more by the log."""
    book = next(book for book in audit.ledger.books.values() if ("alice", "USD") in book.cash)
    book.cash["alice", "USD"] += 1


def other_position(audit: Audit) -> None:
    """Somebody holds another quantity by the log."""
    book = next(book for book in audit.ledger.books.values() if book.positions)
    key, held = next(iter(book.positions.items()))
    book.positions[key] = Held(held.quantity_lots + 1, *held[1:])


def other_order(audit: Audit) -> None:
    """An order is open for one lot more by the log."""
    next(iter(audit.orders.open.values())).leaves += 1


def other_level(audit: Audit) -> None:
    """A level is gone by the log."""
    audit.agreement.reference.levels.popitem()


@pytest.mark.parametrize("spoil", [other_cash, other_position, other_order, other_level])
async def test_view_that_differs_is_found(engine: Engine, spoil: Callable[[Audit], object]) -> None:
    """A view that differs from the log in one number is found."""
    assert (await looked_at(engine, spoil)).breaches == 1


async def test_views_that_do_not_answer_are_a_breach(engine: Engine) -> None:
    """Where nobody answers, nothing was compared: that is a breach too."""
    audit, report = Audit(engine.log, find_cut(engine.log, ENV, COUNTS, 0), Report()), Report()
    audit.read()
    reference = audit.agreement.reference
    await asyncio.to_thread(
        check_views, "http://127.0.0.1:9", None, reference, audit.ledger, audit.orders, report
    )
    assert report.breaches
