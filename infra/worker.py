"""`trading worker STAGE...`: any subset of the stages in one process."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Final

import click
import msgspec
from confluent_kafka.admin import AdminClient

from agents.audit import LEISURELY, KafkaSurroundings, Sealer
from agents.control import clock
from agents.intake import Intake
from agents.order_states import order_states_stage
from agents.projection import PROJECTION, Projection
from agents.stage.app import StageApp
from agents.stage.config import StageConfig
from agents.stage.death import Death
from agents.stage.edge import Edge, Gate
from agents.stage.errors import StageError, StartRefused
from agents.stage.fold import Stage
from agents.stage.kafka_world import TIMEOUT_S, KafkaWorld, check_topics
from agents.stage.outputs import Outputs
from agents.stage.partitions import Partitions
from connectors.views.cluster import KafkaCluster
from connectors.views.server import Views, serving
from connectors.views.worker import Hosted
from infra.processes import free_ports
from infra.sealing import keys
from infra.settings import Settings
from infra.topics_admin import sealed
from infra.workers import FIRST_REPLICA, Worker
from schemas.topics import FLAT_TOPICS, ORDER_STATES, SEALS, TOPICS, PartitionCounts, orders_of
from tables.checkpointed.changelog import KafkaChangelog
from tables.checkpointed.reader import LogReader
from tables.checkpointed.restored import HalfRestored, read_restoration
from tables.declared import declare

STAGES: Final = ("control", "intake", "risk", "matching", "settlement", "audit")
PROJECTIONS: Final = (PROJECTION, ORDER_STATES)  # for databases: nothing in the engine waits for them
EDGES: Final = ("intake", PROJECTION)
ARCHIVE: Final = "archive"  # no stage: it looks after the archive (infra/archive/worker.py)
# By how much (nice): nobody waits for settlement as for the answer to an order, for rows and seals least of all.
GIVES_WAY: Final = {"settlement": 5, PROJECTION: 10, ORDER_STATES: 10, "audit": 10, ARCHIVE: 10}
SWITCH_INTERVAL_S: Final = 0.0005  # the fold's thread waits at most this long for another to yield
YOUNG_INTERVAL_S: Final = 5.0
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@click.command()
@click.argument("stages", nargs=-1, required=True, type=click.Choice((*STAGES, *PROJECTIONS, ARCHIVE)))
@click.option("--replica", default="a", show_default=True, help="Which hot replica of the stages this is.")
@click.option(
    "--worker", "number", default="0", show_default=True, help="Tells workers of one replica apart."
)
def worker(*, stages: tuple[str, ...], replica: str, number: str) -> None:
    """Run stages in this process until SIGTERM; or `archive`, which looks after the archive, alone.

    It ends by itself, with last words and a code of 70 or more, where going on is not safe.

    \b
    Example:
      trading worker risk settlement --replica b
    """  # noqa: D301
    settings = _with_a_port(Settings.load())
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    os.nice(min(GIVES_WAY.get(it, 0) for it in stages))
    config = stage_config(settings, replica, number)
    if ARCHIVE in stages:
        if len(stages) > 1:
            raise click.UsageError(f"{ARCHIVE} is no stage: give it a process of its own")
        asyncio.run(_run_archive(config, settings))
        return
    words = Worker(stages, replica, number).last_words(settings.data_folder.absolute())
    words.unlink(missing_ok=True)
    run = partial(_run, stages, config, settings, partial(Death, last_words=words))
    try:
        import uvloop
    except ModuleNotFoundError:
        asyncio.run(run())
    else:
        uvloop.run(run())


def _with_a_port(settings: Settings) -> Settings:
    """A free port for the views where any will do: others must be told one before the server has it."""
    return settings if settings.views_port else settings.model_copy(update={"views_port": free_ports(1)[0]})


def stage_config(settings: Settings, replica: str, number: str) -> StageConfig:
    """A stage's part of the settings."""
    return StageConfig(
        env=settings.env,
        kafka=settings.kafka(),
        counts=PartitionCounts(settings.account_partitions, settings.book_partitions),
        data_folder=settings.data_folder.absolute(),
        replica=replica,
        worker=number,
        driver=settings.stage_driver,
        replication_factor=settings.replication_factor,
        session_timeout_s=settings.session_timeout_ms / 1000,
        tick_interval_ms=settings.tick_interval_ms,
        checkpoint_interval_s=settings.checkpoint_interval_ms / 1000,
        checkpoint_dirty_keys=settings.checkpoint_dirty_keys,
        store_interval_s=settings.store_interval_ms / 1000,
        linger_ms=settings.linger_ms,
        edge_pace_s=settings.edge_pace_ms / 1000,
        clients=settings.clients,
        epoch=settings.epoch,
        views_url=f"http://{settings.views_advertised_host or settings.views_host}:{settings.views_port}",
    )


def where_restored(config: StageConfig) -> StageConfig:
    """With what the cluster was restored from, if it was; StartRefused after a restore that did not end."""
    kafka = dict(config.kafka)
    try:
        restoration = read_restoration(
            kafka, lambda: AdminClient(kafka).list_topics(timeout=TIMEOUT_S).topics
        )
    except HalfRestored as error:
        raise StartRefused(str(error)) from error
    return msgspec.structs.replace(config, restoration=restoration)


async def _run_archive(config: StageConfig, settings: Settings) -> None:
    """Run the chores of the archive; what they import would burden the other workers."""
    from infra.archive.worker import run

    await run(settings, KafkaCluster(config), _stopped())


def _stopped() -> asyncio.Event:
    """What is set when the process is asked to end."""
    is_done = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, is_done.set)
    return is_done


async def _run(
    stages: tuple[str, ...], config: StageConfig, settings: Settings, death: Callable[[str], Death]
) -> None:
    is_done = _stopped()
    apps = {}
    for name in stages:
        try:
            config = await asyncio.to_thread(where_restored, config)
            apps[name] = await asyncio.to_thread(make_app, name, config, settings, death(name))
        except StageError as error:
            death(name).die(error)
    watching = _watch_sinks(settings) if settings.sinks and PROJECTION in stages else None
    async with serving(_views(apps, config, settings), settings.views_host, settings.views_port):
        await asyncio.gather(*(app.maybe_start() for app in apps.values()))
        await _collect_young_until(is_done)
        await asyncio.gather(*(app.stop() for app in apps.values()))
    if watching:
        watching.cancel()


def _watch_sinks(settings: Settings) -> asyncio.Task[None]:
    """Begin to ask after the sinks' servers; what it imports would burden the other workers."""
    from infra.sinks.watch import watch

    return asyncio.create_task(watch(settings))


async def _collect_young_until(is_done: asyncio.Event) -> None:
    """Frees young cycles now and then: a full collection would walk all rows, and hold the fold up meanwhile."""
    gc.collect()
    gc.freeze()
    gc.disable()
    while not is_done.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(is_done.wait(), YOUNG_INTERVAL_S)
        gc.collect(1)


def _views(apps: Mapping[str, StageApp], config: StageConfig, settings: Settings) -> Views:
    hosted = [
        Hosted(
            name,
            app.missing,
            app.owner if isinstance(app.owner, Partitions) else None,
            app.owner if isinstance(app.owner, Edge) else None,
            app.tables,
            app.owner if isinstance(app.owner, Sealer) else None,
        )
        for name, app in apps.items()
    ]
    token = settings.views_token
    return Views(hosted, config.counts, KafkaCluster(config), token.get_secret_value() if token else None)


def make_app(name: str, config: StageConfig, settings: Settings, death: Death) -> StageApp:
    """The app of a stage; StartRefused where the cluster does not fit the settings."""
    if name in EDGES:
        return _edge(name, config, death)
    if name == "audit":
        return _audit(config, settings, death)
    stage = order_states_stage(config.epoch) if name == ORDER_STATES else stage_named(name)
    if stage.is_flat:
        check_topics(dict(config.kafka), config, FLAT_TOPICS)
    world = KafkaWorld(stage, config)
    world.prepare()
    app = StageApp(name, config, death)
    partitions = Partitions(stage, config, world, death.die)
    declare(app, stage.tables(), partitions, config.changelog(name))
    app.own(partitions)
    if name == "control":
        clock(app, partitions, world.outputs)
    return app


def stage_named(name: str) -> Stage:
    """A stage's definition; only its own modules are imported."""
    stage: Stage = getattr(import_module(f"agents.{name}"), f"{name.upper()}_STAGE")
    return stage


def _edge(name: str, config: StageConfig, death: Death) -> StageApp:
    kafka = dict(config.kafka)
    check_topics(kafka, config, (*TOPICS, *map(orders_of, config.clients)))
    if name == PROJECTION:
        check_topics(kafka, config, FLAT_TOPICS)
    app = StageApp(name, config, death)
    gate: Gate = Projection(config.epoch) if name == PROJECTION else Intake(config.counts.accounts)
    app.own(Edge(name, config, gate, app.committed, app.commit_places, death.die))
    return app


def _audit(config: StageConfig, settings: Settings, death: Death) -> StageApp:
    """One group for all replicas: whoever owns `seals` seals everything, the others stand by."""
    try:
        signer = keys.private(settings)
    except keys.KeyFault as fault:
        raise StartRefused(str(fault)) from fault
    kafka = dict(config.kafka)
    check_topics(kafka, config, (*TOPICS, *map(orders_of, config.clients)))
    world = KafkaSurroundings(
        KafkaChangelog(kafka, LogReader(kafka), SEALS, 0),
        Outputs(kafka),
        LogReader(kafka),
        AdminClient(kafka),
        partial(sealed, settings),
        config.offsets,
    )
    sealer = Sealer(world, signer, death.die, settings.archive_metadata)
    ours = msgspec.structs.replace(
        config,
        kafka=kafka | LEISURELY,
        replica=FIRST_REPLICA,
        worker=f"{config.replica}{config.worker}",  # each is a member of that one group
        driver="thread",
        edge_pace_s=0.0,  # its fetches are large already: a pause for each 500 records would bound it
    )
    app = StageApp("audit", ours, death)
    app.own(sealer)
    sealer.assign = app.fetch
    return app
