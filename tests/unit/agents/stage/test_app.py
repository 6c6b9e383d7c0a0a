"""A stage's Faust app, not started: what its death is."""

from pathlib import Path
from typing import NoReturn

import pytest

from agents.stage.app import StageApp
from agents.stage.config import StageConfig
from agents.stage.death import Death
from schemas.topics import PartitionCounts


class Ended(Exception):
    """The process would have ended."""


class Ends(Death):
    """Ends the test in the process's place."""

    def die(self, error: BaseException) -> NoReturn:
        """See Death."""
        raise Ended from error


@pytest.mark.parametrize("service", ["app", "consumer", "tables"])
async def test_whatever_crashes_ends_the_process(tmp_path: Path, service: str) -> None:
    """A crash of the app or of any of Faust's services under it ends the worker: none goes on without one."""
    config = StageConfig(
        env="test",
        kafka={"bootstrap.servers": "127.0.0.1:9"},
        counts=PartitionCounts(1, 1),
        data_folder=tmp_path,
    )
    app = StageApp("control", config, Ends("control", tmp_path / "words"))
    crashing = app if service == "app" else getattr(app, service)
    with pytest.raises(Ended):
        await crashing.crash(RuntimeError("broken"))
