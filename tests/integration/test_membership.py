"""A worker that its group has let go: what it asks for then tells the supervisor to start it again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
from aiokafka.protocol.group import LeaveGroupRequest
from faust.types import TP

from agents.stage.app import StageApp
from agents.stage.death import Death
from agents.stage.errors import Fenced
from infra import topics_admin
from infra.processes import wait_until
from infra.settings import Settings
from infra.worker import make_app, stage_config
from schemas.topics import ORDERS

TIMEOUT_S = 30
PLACE = TP(ORDERS, 0)


class Alive(Death):
    """Fails the test where a worker would end."""

    def die(self, error: BaseException) -> NoReturn:
        """Says why."""
        pytest.fail(f"intake would die: {error!r}")


@pytest.fixture
async def intake(broker: str, tmp_path: Path) -> AsyncIterator[StageApp]:
    """Intake in this process, with its partitions; its heartbeats are far between."""
    settings = Settings.load(
        data_folder=tmp_path, kafka_bootstrap=broker, embedded_broker=False, session_timeout_ms=40_000
    )
    topics_admin.ensure(settings)
    config = stage_config(settings, "a", "0")
    app = await asyncio.to_thread(make_app, "intake", config, Alive("intake", tmp_path / "words"))
    await app.maybe_start()
    assert await asyncio.to_thread(wait_until, lambda: app.missing() is None, TIMEOUT_S)
    yield app
    await app.stop()


async def test_edge_that_left_its_group_is_fenced(intake: StageApp) -> None:
    """A place is stored while intake is a member; afterwards the answer is Fenced, whose code means: start again."""
    await asyncio.to_thread(intake.commit_places, {PLACE: 1})
    assert await asyncio.to_thread(intake.committed, [PLACE]) == {PLACE: 1}
    await leave(intake)
    with pytest.raises(Fenced, match="no longer a member"):
        await asyncio.to_thread(intake.commit_places, {PLACE: 2})


async def leave(app: StageApp) -> None:
    """Takes a worker out of its group, as the broker does with one that was silent for too long."""
    thread = app.consumer._thread
    coordinator = thread._ensure_consumer()._coordinator
    request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
    await thread.call_thread(coordinator._send_req, request)
