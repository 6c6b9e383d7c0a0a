"""`trading worker STAGE...`: any subset of the stages in one process."""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import click

from agents.stage.app import StageApp
from agents.stage.config import StageConfig
from agents.stage.death import Death
from agents.stage.errors import StageError
from agents.stage.fold import Stage
from agents.stage.partitions import Partitions
from infra.workers import Worker
from infra.settings import Settings
from schemas.topics import ORDERS, PartitionCounts

STAGES: Final = ("control", "intake", "risk", "matching", "settlement")
SWITCH_INTERVAL_S: Final = 0.0005  # the fold's thread waits at most this long for another to yield
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@click.command()
@click.argument("stages", nargs=-1, required=True, type=click.Choice(STAGES))
@click.option("--replica", default="a", show_default=True, help="Which hot replica of the stages this is.")
@click.option(
    "--worker", "number", default="0", show_default=True, help="Tells workers of one replica apart."
)
@click.option("--driver", type=click.Choice(["thread", "agent"]), default="thread", show_default=True)
def worker(*, stages: tuple[str, ...], replica: str, number: str, driver: str) -> None:
    """Run stages in this process until SIGTERM.

    It ends by itself, with last words and a code of 70 or more, where going on is not safe.

    \b
    Example:
      trading worker risk settlement --replica b
    """  # noqa: D301
    settings = Settings.load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    config = stage_config(settings, replica, number, driver)
    words = Worker(stages, replica, number).last_words(settings.data_folder.absolute())
    words.unlink(missing_ok=True)
    run = partial(_run, stages, config, settings, partial(Death, last_words=words))
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(run())
    else:
        uvloop.run(run())


def stage_config(settings: Settings, replica: str, number: str, driver: Any = "thread") -> StageConfig:
    """A stage's part of the settings."""
    return StageConfig(
        env=settings.env,
        kafka=settings.kafka(),
        counts=PartitionCounts(settings.account_partitions, settings.book_partitions),
        data_folder=settings.data_folder.absolute(),
        replica=replica,
        worker=number,
        driver=driver,
        replication_factor=settings.replication_factor,
        session_timeout_s=settings.session_timeout_ms / 1000,
        tick_interval_ms=settings.tick_interval_ms,
        checkpoint_interval_s=settings.checkpoint_interval_ms / 1000,
        checkpoint_dirty_keys=settings.checkpoint_dirty_keys,
        linger_ms=settings.linger_ms,
        views_url=f"http://{settings.views_host}:{settings.views_port}",
    )


async def _run(
    stages: tuple[str, ...], config: StageConfig, settings: Settings, death: Callable[[str], Death]
) -> None:
    is_done = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, is_done.set)
    apps = []
    for name in stages:
        try:
            apps.append(await asyncio.to_thread(make_app, name, config, death(name)))
        except StageError as error:
            death(name).die(error)
    for app in apps:
        await app.maybe_start()
    gc.collect()
    gc.freeze()  # what lives from here to the end need not be walked again
    await is_done.wait()
    for app in apps:
        await app.stop()


def make_app(name: str, config: StageConfig, death: Death) -> StageApp:
    """The app of a stage; StartRefused where the cluster does not fit the settings."""
    if name == "intake":
        return _intake(config, death)
    stage = stage_named(name)
    app = StageApp(name, stage.inbox, config, death)
    from agents.stage.kafka_world import KafkaWorld

    world = KafkaWorld(stage, config)
    world.prepare()
    partitions = Partitions(stage, config, world, death.die)
    app.own(partitions)
    if name == "control":
        from agents.control import clock

        clock(app, partitions, world.outputs)
    return app


def stage_named(name: str) -> Stage:
    """A stage's definition; only its own modules are imported."""
    from importlib import import_module

    stage: Stage = getattr(import_module(f"agents.{name}"), f"{name.upper()}_STAGE")
    return stage


def _intake(config: StageConfig, death: Death) -> StageApp:
    from agents.intake import Intake
    from agents.stage.edge import Edge
    from agents.stage.kafka_world import check_topics

    check_topics(dict(config.kafka), config)
    app = StageApp("intake", ORDERS, config, death)
    decide = Intake(ORDERS, config.counts.accounts).decide
    app.own(Edge(config, decide, app.committed, app.commit_places, death.die))
    return app
