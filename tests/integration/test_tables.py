"""A stage's Faust tables on a real broker: the app runs here, in the test's own loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from confluent_kafka import Producer
from faust.types import TP
from msgspec.structs import replace

from agents.stage.app import StageApp
from agents.stage.death import Death
from infra.embedded.broker import EmbeddedBroker
from infra.settings import Settings
from infra.topics_admin import ensure
from infra.worker import make_app, stage_config
from schemas import codec
from schemas.commands import DefineInstrument
from schemas.envelopes import ControlCommands
from schemas.topics import CONTROL
from tests.simulation.flow import instrument

TIMEOUT_S = 30


class Failure(Death):
    """A stage in doubt fails the test, and not the test's process."""

    def die(self, error: BaseException) -> NoReturn:
        """Raises, where the process would end."""
        raise AssertionError("the stage would have ended its process") from error


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """A broker of its own with the engine's topics."""
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    settings = Settings.load(
        kafka_bootstrap=broker.bootstrap, data_folder=tmp_path / "engine", checkpoint_interval_ms=50
    )
    ensure(settings)
    yield settings
    broker.stop()


@asynccontextmanager
async def control(settings: Settings, driver: str) -> AsyncIterator[tuple[StageApp, list[int]]]:
    """Control's app, recovered; and how many instruments its table had whenever ``on_recover`` was called."""
    config = stage_config(settings.model_copy(update={"stage_driver": driver}), "a", "0")
    config = replace(config, kafka={**config.kafka, "log_level": 0})  # the broker ends before its clients
    app = await asyncio.to_thread(
        make_app, "control", config, settings, Failure("control", settings.data_folder / "words")
    )
    instruments, recovered = app.tables["instruments"], []

    @instruments.on_recover
    async def count() -> None:
        recovered.append(len(instruments))

    await app.start()
    try:
        await until(lambda: app.missing() is None)
        yield app, recovered
    finally:
        await app.stop()


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, while the app's loop goes on."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def until_there(table: Any, key: str) -> None:
    """Wait for a row."""
    await until(lambda: key in table)


def define(settings: Settings, symbol: str) -> None:
    """A command to control."""
    command = DefineInstrument(command_id=symbol, instrument=instrument(symbol), at_ns=time.time_ns())
    producer = Producer(settings.kafka())
    producer.produce(CONTROL, codec.encode(ControlCommands(items=(command,))), partition=0)
    assert producer.flush(TIMEOUT_S) == 0


async def test_rows_are_there_while_the_stage_runs_and_when_it_is_back(settings: Settings) -> None:
    """What a record did is in ``app.tables`` at once, whoever drives the agent, and there again after a restart.

    Faust had no part in that: it was assigned the inbox alone, and has recovered nothing.
    """
    symbols: list[str] = []
    for driver in ("thread", "agent", "thread"):
        async with control(settings, driver) as (app, recovered):
            assert recovered == [len(symbols)]
            symbols.append(f"S{len(symbols)}")
            define(settings, symbols[-1])
            instruments = app.tables["instruments"]
            await until_there(instruments, symbols[-1])
            assert list(instruments) == symbols
            for symbol in symbols:
                assert instruments[symbol].instrument == instrument(symbol)
            with pytest.raises(KeyError):
                instruments["never defined"]
            assert app.consumer.assignment() == {TP(CONTROL, 0)}
            faust = app.tables.recovery
            assert faust.active_tps == faust.standby_tps == set()
