"""A worker that its group has let go, and one that comes back to it at another address."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from faust.types import TP

from agents.stage.app import StageApp
from agents.stage.death import Death
from agents.stage.errors import Fenced
from agents.stage.membership import leave
from connectors.views.cluster import KafkaCluster
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
        pytest.fail(f"the worker would die: {error!r}")


@pytest.fixture
def settings(broker: str, tmp_path: Path) -> Settings:
    """Heartbeats far between, and an engine's topics."""
    made = Settings.load(
        data_folder=tmp_path, kafka_bootstrap=broker, embedded_broker=False, session_timeout_ms=40_000
    )
    topics_admin.ensure(made)
    return made


@asynccontextmanager
async def running(stage: str, settings: Settings) -> AsyncIterator[StageApp]:
    """A stage in this process, with its partitions."""
    death = Alive(stage, settings.data_folder / "words")
    app = await asyncio.to_thread(make_app, stage, stage_config(settings, "a", "0"), settings, death)
    await app.maybe_start()
    try:
        assert await asyncio.to_thread(wait_until, lambda: app.missing() is None, TIMEOUT_S)
        yield app
    finally:
        await app.stop()


async def test_edge_that_left_its_group_is_fenced(settings: Settings) -> None:
    """A place is stored while intake is a member; afterwards the answer is Fenced, whose code means: start again."""
    async with running("intake", settings) as intake:
        await asyncio.to_thread(intake.commit_places, {PLACE: 1})
        assert await asyncio.to_thread(intake.committed, [PLACE]) == {PLACE: 1}
        member = intake.consumer._thread._ensure_consumer()._coordinator.member_id
        await leave({"bootstrap_servers": settings.kafka_bootstrap}, intake.conf.id, member)
        with pytest.raises(Fenced, match="no longer a member"):
            await asyncio.to_thread(intake.commit_places, {PLACE: 2})


async def test_peers_find_a_worker_that_comes_back_elsewhere(settings: Settings) -> None:
    """A static member that is back within its session on another port is known by that port, and not the first."""
    for port in (8_701, 8_702):
        moved = settings.model_copy(update={"views_port": port})
        async with running("settlement", moved):
            owner = await KafkaCluster(stage_config(moved, "b", "1")).owner("settlement", 0, fresh=True)
            assert owner is None, "another replica's group is another"
            owner = await KafkaCluster(stage_config(moved, "a", "1")).owner("settlement", 0, fresh=True)
            assert owner == f"http://127.0.0.1:{port}"
