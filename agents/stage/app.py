"""A Faust app for one stage: its agent, its tables, its group; and the thread that drives the agent.

What Faust does here: the life of the worker, membership and assignment, the agent, timers, the
command line. What was replaced: fetching a record at a time, tables that log a value at a time, recovery.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import faust
from aiokafka import TopicPartition
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from faust.types import TP

from agents.stage.config import StageConfig
from agents.stage.consumer import BatchTransport
from agents.stage.death import Death
from agents.stage.errors import Fenced
from agents.stage.fetch import Batch, FetchThread
from agents.stage.membership import former_self, leave
from schemas.topics import INBOXES
from tables.checkpointed.faust_table import CheckpointedTable, CheckpointedTables
from tables.checkpointed.restored import broker_of, original_of

log = logging.getLogger(__name__)


class Owner(Protocol):
    """Who folds what is read: ``Partitions`` of a stage, or the ``Edge``."""

    def start(self) -> None:
        """Starts its threads."""

    def take(self, places: Iterable[TP]) -> Mapping[TP, int]:
        """Recovers partitions; the offsets to go on from."""

    def release(self) -> None:
        """Gives all partitions back."""

    def fold(self, batch: Batch) -> None:
        """Applies a batch."""

    def close(self) -> None:
        """Ends, with a last checkpoint."""


class StageApp(faust.App):
    """One agent, of one inbox; of several topics for the edge. ``own`` comes before its start."""

    def __init__(self, name: str, config: StageConfig, death: Death) -> None:
        """``name`` is the stage's; the group is ENV-STAGE-REPLICA."""
        self.config, self.stage, self.death = config, name, death
        self.owner: Owner | None = None
        self._fetcher_thread: FetchThread | None = None
        self._taking: asyncio.Future[Mapping[TP, int]] | None = None
        folder = config.data_folder / "faust"
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            config.app_id(name),
            broker=broker_urls(config.kafka),
            broker_credentials=credentials(config.kafka),
            store="memory://",
            datadir=str(folder / config.app_id(name)),
            processing_guarantee="at_least_once",
            Table=CheckpointedTable,
            TableManager=CheckpointedTables,
            topic_disable_leader=True,
            topic_allow_declare=False,
            stream_wait_empty=False,
            table_standby_replicas=0,
            broker_commit_interval=3600.0,  # our own checkpoints stand in for Faust's commits
            broker_client_id=f"{config.app_id(name)}@{config.views_url}",  # where others find this worker's views
            broker_session_timeout=config.session_timeout_s,
            broker_heartbeat_interval=config.session_timeout_s / 4,
            consumer_group_instance_id=f"{config.app_id(name)}-{config.worker}",
            consumer_auto_offset_reset="none",
            web_enabled=False,
            autodiscover=False,
        )
        self.inboxes = config.inboxes(name)
        self.inbox = self.topic(
            *self.inboxes, key_type=bytes, value_type=bytes, value_serializer="raw", acks=False
        )
        self.on_partitions_assigned.connect(self._on_assigned)
        self.on_partitions_revoked.connect(self._on_revoked)

    def own(self, owner: Owner) -> Any:
        """Declares the agent that lets ``owner`` fold what is read, and returns it."""
        self.owner = owner

        @self.agent(self.inbox, name=self.stage)
        async def fold(batches: Any) -> None:
            """What was fetched of a partition is applied and answered at once; a checkpoint follows."""
            async for batch in batches:
                owner.fold(batch)

        if self.config.driver == "thread":
            kafka = {"client.id": f"{self.conf.id}-{self.config.worker}", **self.config.kafka}
            pace_s = 0.0 if self.stage in INBOXES else self.config.edge_pace_s
            self._fetcher_thread = FetchThread(
                kafka, self.stage, fold.fun, self.death.die, pace_s, self.config.offsets
            )
        else:
            fold.on_error = self._on_agent_error
        return fold

    def fetch(self, positions: Mapping[TP, int]) -> None:
        """From now on fetches exactly this; for an owner that finds more to read while it is at work."""
        assert self._fetcher_thread is not None, "Faust fetches what the group assigns, and nothing else"
        self._fetcher_thread.assign(positions)

    def missing(self) -> str | None:
        """What this worker still waits for; None once all that it was assigned is recovered."""
        if self._taking is None:
            return "the group has assigned no partitions yet"
        return None if self._taking.done() else "its partitions are being recovered"

    async def taken(self) -> Mapping[TP, int]:
        """Where each partition that is assigned goes on, once all of them are recovered."""
        return {} if self._taking is None else await self._taking

    def committed(self, places: Iterable[TP]) -> Mapping[TP, int]:
        """Where the group says that each partition goes on, its start where it never said; waits, off the loop."""
        asked = asyncio.run_coroutine_threadsafe(self._committed(places), self.loop)
        offsets = self.config.offsets
        return {tp: original_of(offsets, tp, it) for tp, it in asked.result().items()}

    def commit_places(self, positions: Mapping[TP, int]) -> None:
        """Stores places in the group; waits, off the loop. Fenced if this worker is no longer a member."""
        offsets = self.config.offsets
        places = {tp: broker_of(offsets, tp, it) for tp, it in positions.items()}
        future = asyncio.run_coroutine_threadsafe(self.consumer._commit(places), self.loop)  # noqa: SLF001
        if not future.result():
            raise Fenced("the group did not take the offsets: this worker is no longer a member")

    async def _committed(self, places: Iterable[TP]) -> Mapping[TP, int]:
        group = self.consumer._thread  # noqa: SLF001 - Faust has no call for it
        ask = group._ensure_consumer().committed  # noqa: SLF001
        return {tp: await group.call_thread(ask, TopicPartition(*tp)) or 0 for tp in places}

    async def on_start(self) -> None:
        """Leaves the group where this worker was known at another address, before it joins."""
        known = self.conf.id, self.conf.consumer_group_instance_id, self.conf.broker_client_id
        former = await asyncio.to_thread(former_self, self.config.kafka, *known)
        if former is not None:
            log.info("%s has moved to %s: it joins its group anew", self.conf.id, self.config.views_url)
            auth = credentials_to_aiokafka_auth(self.conf.broker_credentials)
            servers = str(self.config.kafka["bootstrap.servers"])
            await leave({"bootstrap_servers": servers, **auth}, self.conf.id, former)
        await super().on_start()

    async def on_started(self) -> None:
        """Starts the threads once Faust is up."""
        assert self.owner is not None, "own() comes first"
        self.owner.start()
        if self._fetcher_thread is not None:
            self._fetcher_thread.start()
        await super().on_started()

    def _crash(self, reason: BaseException) -> None:
        """Whichever of Faust's services crashes comes here; it would stop in good order, and checkpoint.

        In doubt that must not be, nor may the worker stay up without that service.
        """
        self.death.die(reason)

    async def on_stop(self) -> None:
        """Finishes the batch, checkpoints, leaves the group."""
        if self._fetcher_thread is not None:
            await asyncio.to_thread(self._fetcher_thread.stop)
        if self.owner is not None:
            await asyncio.to_thread(self.owner.close)
        await super().on_stop()

    def _new_transport(self) -> BatchTransport:
        return BatchTransport(self.conf.broker, self)

    async def _on_assigned(self, _app: Any, assigned: set[TP], **_: Any) -> None:
        """Recovery goes on after this returns: the group's heartbeats start only then."""
        places = {tp for tp in assigned if tp.topic in self.inboxes}
        if self._fetcher_thread is not None:
            await self.consumer.pause_fetching(assigned)
        self._taking = asyncio.ensure_future(self._take(places))

    async def _take(self, places: set[TP]) -> Mapping[TP, int]:
        assert self.owner is not None
        try:
            positions = await asyncio.to_thread(self.owner.take, places)
            for table in self.tables.values() if positions else ():  # none where it was abandoned
                await table.call_recover_callbacks()
        except Exception as error:  # a partition that cannot be recovered ends the worker
            self.death.die(error)
            raise
        if self._fetcher_thread is not None and self._taking is asyncio.current_task():
            self._fetcher_thread.assign(positions)
        return positions

    async def _on_revoked(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        """Faust revokes all at each rebalance; whoever gets a partition next starts from our checkpoint."""
        del revoked
        assert self.owner is not None
        self._taking = None
        if self._fetcher_thread is not None:
            self._fetcher_thread.assign({})
        try:
            await asyncio.to_thread(self.owner.release)
        except Exception as error:  # noqa: BLE001 - a checkpoint that failed ends the worker
            self.death.die(error)

    async def _on_agent_error(self, _agent: Any, error: BaseException) -> None:
        """Faust would ack the event and go on."""
        self.death.die(error)


def broker_urls(kafka: Mapping[str, Any]) -> list[str]:
    """The bootstrap servers of librdkafka as Faust's URLs."""
    return [f"kafka://{address}" for address in str(kafka["bootstrap.servers"]).split(",")]


def credentials(kafka: Mapping[str, Any]) -> Any:
    """The security settings of librdkafka as Faust's; None for a plain connection."""
    protocol = str(kafka.get("security.protocol", "PLAINTEXT"))
    context = _ssl_context(kafka) if protocol.endswith("SSL") else None
    if protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka["sasl.username"],
            password=kafka["sasl.password"],
            mechanism=kafka["sasl.mechanism"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context=context)


def _ssl_context(kafka: Mapping[str, Any]) -> Any:
    import ssl

    context = ssl.create_default_context(cafile=kafka.get("ssl.ca.location"))
    if certificate := kafka.get("ssl.certificate.location"):
        context.load_cert_chain(certificate, kafka.get("ssl.key.location"))
    return context
