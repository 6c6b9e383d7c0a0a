"""Audit: seals the log. One worker seals every topic-partition; what it last sealed it reads from `seals` itself.

Outside the one-inbox rule, and off the hot path. A chain must never fork, whatever dies between any two lines:

1. The owner of `seals` (one partition, one group for all replicas) seals everything.
2. Before it reads where the chains end, it fences its predecessor out of `seals` and resolves what that left open:
   from then on nobody else can add a seal, however long he was asleep (``tables/checkpointed/changelog.py``).
3. It reads `seals` to its end: the last seal of each chain is all the state there is. Behind it, records are read anew.
4. Seals are committed in one transaction, in their order; memory is ahead of the log only while that lasts, and any
   doubt ends the process, its other thread first. Dead before the commit: the segment is read and sealed again. Dead
   after it: the seal is found by 3.
5. Fingerprints are said before, outside the transaction. Those of a seal that was never committed stay without one,
   and a reader knows them by the hash in the seal.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from faust.types import TP
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from agents.rules.audit import Chain, Sealed, Signer
from agents.stage import crash_points
from agents.stage.errors import CommitDoubtful, Fenced, StartRefused
from agents.stage.fetch import Batch
from agents.stage.outputs import Outputs
from schemas import codec
from schemas.audit import Seal
from schemas.topics import FINGERPRINTS, SEALS
from tables.checkpointed.ports import Bounds, Changelog, ChangelogDoubtful, ChangelogFenced
from tables.checkpointed.reader import LogReader
from tables.checkpointed.restored import NOWHERE, Offsets, broker_of, original_of
from tables.section import Change

log = logging.getLogger(__name__)

OWNERSHIP: Final = TP(SEALS, 0)
LOOK_INTERVAL_S: Final = 10.0  # how often quiet partitions and new topics are looked for
TIMEOUT_S: Final = 30.0
MS_PER_S: Final = 1000
Choice = Callable[[Mapping[str, int]], Iterable[tuple[str, int]]]
"""From the topics that there are, with their counts of partitions, those topic-partitions that are sealed."""
LEISURELY: Final = {  # nobody waits for a seal: few large fetches cost broker and worker least
    "fetch.min.bytes": 1_000_000,
    "fetch.wait.max.ms": 1_000,
    "queued.max.messages.kbytes": 32_768,
}


class Surroundings(Protocol):
    """What the sealer reads and writes: Kafka, or memory in the tests."""

    @property
    def journal(self) -> Changelog:
        """The topic of seals, with one owner at a time."""

    def places(self) -> Iterable[tuple[str, int]]:
        """Every topic-partition that is sealed, as of now."""

    def bounds(self, place: TP) -> Bounds:
        """What can be read of it: committed records only."""

    def has_record(self, place: TP, begin: int) -> bool:
        """Whether there is a committed record at this offset or behind it; a transaction's marker is none."""

    def say(self, fingerprints: Iterable[tuple[bytes, bytes]]) -> None:
        """Writes fingerprints, (key, value) each; returns when they are in the log."""


class Sealer:
    """Stands where a stage has its partitions: the app gives it ownership, and what is read."""

    def __init__(
        self,
        world: Surroundings,
        signer: Signer,
        on_death: Callable[[Exception], Any],
        archive: str | None = None,
    ) -> None:
        """Touches nothing yet. ``on_death`` ends the process; ``archive`` is the place that seals name."""
        self._world, self._signer, self._on_death, self._archive = world, signer, on_death, archive
        self._chains: dict[TP, Chain] = {}
        self._log_time_ms = 0
        self._sealing = threading.Lock()
        self._is_done = threading.Event()
        self._clerk = threading.Thread(target=self._keep, name="audit-quiet", daemon=True)
        self.assign: Callable[[Mapping[TP, int]], object] = lambda _: None

    def start(self) -> None:
        """Starts the thread that looks for quiet partitions and for new topics."""
        REGISTRY.register(_Ages(self))
        self._clerk.start()

    def take(self, places: Iterable[TP]) -> Mapping[TP, int]:
        """Fences, and reads where each chain ends; the offsets to go on from, of all that is sealed."""
        if OWNERSHIP not in places:
            return {}
        with self._sealing:
            with _doubts():
                self._world.journal.fence()
            last = last_seals(self._world.journal)
            places_now = [TP(*place) for place in self._world.places()]
            self._chains = {place: self._chain(place, last.get(place)) for place in places_now}
            return self._positions()

    def release(self) -> None:
        """Forgets all: what is not sealed yet is read anew by the next owner."""
        with self._sealing:
            self._chains = {}

    def fold(self, batch: Batch) -> None:
        """Takes records in, and commits the seals that they complete."""
        with self._sealing:
            chain = self._chains.get(TP(batch.topic, batch.partition))
            if chain is None:
                return
            self._log_time_ms = max(self._log_time_ms, batch.records[-1].timestamp_ms)
            self._commit(list(chain.take(batch.records)))

    def close_quiet(self) -> None:
        """Seals what stands at the end of partitions whose minute is over by the time of the whole log."""
        with self._sealing:
            quiet = [it for it in self._chains.items() if it[1].is_quiet(self._log_time_ms)]
            # One that is still being read is not quiet: its end is further on.
            done = [chain for place, chain in quiet if not self._world.has_record(place, chain.next_offset)]
            self._commit([chain.close() for chain in done])

    def find_new(self) -> None:
        """Begins to seal topics that were made since: a registry's journal, a client's own."""
        with self._sealing:
            if not self._chains:
                return
            new = [TP(*place) for place in self._world.places() if place not in self._chains]
            if new:
                last = last_seals(self._world.journal)
                self._chains |= {place: self._chain(place, last.get(place)) for place in new}
                self.assign(self._positions())

    def close(self) -> None:
        """Ends. An open segment stays open: it is closed by the log, never by a stop."""
        self._is_done.set()
        if self._clerk.is_alive():
            self._clerk.join()
        self.release()

    @property
    def next_offsets(self) -> dict[TP, int]:
        """The offset to be sealed next, of each partition."""
        with self._sealing:
            return self._positions()

    def chains(self) -> dict[TP, Chain]:
        """All chains, to look at."""
        with self._sealing:
            return dict(self._chains)

    def _positions(self) -> dict[TP, int]:
        return {place: chain.next_offset for place, chain in self._chains.items()}

    def _chain(self, place: TP, last: Seal | None) -> Chain:
        start, end = self._world.bounds(place)
        if last is not None and last.last_offset >= end:
            raise StartRefused(
                f"{place.topic} ends at {end}, and was sealed to {last.last_offset}: it is not the log that was"
                " sealed. `trading audit verify` tells more; put the log back as it was",
                partition=place.partition,
                offset=last.last_offset,
            )
        if last is not None and start > last.last_offset + 1:
            log.warning(
                "%s %d from %d to %d was deleted before it was sealed: the chain goes on behind it, and"
                " `trading audit verify` will always say so",
                *(*place, last.last_offset + 1, start - 1),
            )
        return Chain(place.topic, place.partition, start, last, self._signer, self._archive)

    def _commit(self, sealed: list[Sealed]) -> None:
        if not sealed:
            return
        try:
            self._write(sealed)
        except BaseException:  # another thread must not go on behind a seal that may not be there
            self._chains = {}
            raise

    def _write(self, sealed: list[Sealed]) -> None:
        crash_points.reach(crash_points.BEFORE_FINGERPRINTS)
        self._world.say((_key(it.seal), codec.encode(it.fingerprints)) for it in sealed)
        crash_points.reach(crash_points.BEFORE_SEALS)
        entries: list[Change] = [(_key(it.seal), codec.encode(it.seal)) for it in sealed]
        with _doubts():
            self._world.journal.commit(entries)
        crash_points.reach(crash_points.AFTER_SEALS)

    def _keep(self) -> None:
        try:
            while not self._is_done.wait(LOOK_INTERVAL_S):
                self._look()
        except Exception as error:  # noqa: BLE001 - whatever it is, sealing starts anew from the last seals
            self._on_death(error)

    def _look(self) -> None:
        try:
            self.close_quiet()
            self.find_new()
        except (
            KafkaException,
            TimeoutError,
        ) as error:  # nothing was changed yet, and the broker may come back
            log.warning(
                "the broker does not answer, and is asked again in %.0f s: %s", LOOK_INTERVAL_S, error
            )


@contextmanager
def _doubts() -> Iterator[None]:
    """What the journal raises, as the stage errors that end a worker."""
    try:
        yield
    except ChangelogFenced as error:
        raise Fenced(str(error)) from error
    except ChangelogDoubtful as error:
        raise CommitDoubtful(str(error)) from error


def last_seals(journal: Changelog) -> dict[TP, Seal]:
    """The last seal of each chain; only those are decoded."""
    values = {it.key: it.value for it in journal.read(journal.bounds().start)}
    seals = (codec.decode(value) for value in values.values() if value is not None)
    return {TP(it.topic, it.partition): it for it in seals if isinstance(it, Seal)}


def _key(seal: Seal) -> bytes:
    return f"{seal.topic}/{seal.partition}".encode()


class KafkaSurroundings:
    """The log on Kafka."""

    def __init__(
        self,
        journal: Changelog,
        outputs: Outputs,
        reader: LogReader,
        admin: AdminClient,
        choose: Choice,
        offsets: Mapping[tuple[str, int], Offsets] = NOWHERE,
    ) -> None:
        """``journal`` is that of `seals`; ``choose`` says what is sealed of the topics that there are.

        Restored records are sealed where they first stood, which ``offsets`` tells: their seals go on being true.
        """
        self.journal, self._outputs, self._reader = journal, outputs, reader
        self._admin, self._choose, self._offsets = admin, choose, offsets

    def places(self) -> Iterable[tuple[str, int]]:
        """Asks the broker; KafkaException where it does not answer."""
        topics = self._admin.list_topics(timeout=TIMEOUT_S).topics
        return self._choose({name: len(topic.partitions) for name, topic in topics.items()})

    def bounds(self, place: TP) -> Bounds:
        """What can be read of a place."""
        start, end = self._reader.bounds(*place)
        return Bounds(*(original_of(self._offsets, place, it) for it in (start, end)))

    def has_record(self, place: TP, begin: int) -> bool:
        """Reads no further than to the first."""
        offset = broker_of(self._offsets, place, begin)
        return next(self._reader.read(place.topic, place.partition, offset), None) is not None

    def say(self, fingerprints: Iterable[tuple[bytes, bytes]]) -> None:
        """Waits for the broker's word."""
        for key, value in fingerprints:
            self._outputs.produce(FINGERPRINTS, 0, value, key)
        self._outputs.wait(self._outputs.mark())


class _Ages(Collector):
    """What Prometheus is told of the chains when it asks."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    def collect(self) -> Iterator[Metric]:
        """The last seal's log time and number, and how long the oldest unsealed record has waited."""
        labels = ["topic", "partition"]
        sealed = GaugeMetricFamily(
            "trading_seal_age_seconds", "Since the log time of the last seal", labels=labels
        )
        waiting = GaugeMetricFamily(
            "trading_unsealed_seconds", "Since the first record that no seal covers; 0: none", labels=labels
        )
        numbers = GaugeMetricFamily("trading_seals", "Seals of the chain so far", labels=labels)
        now_ms = time.time() * MS_PER_S
        for place, chain in sorted(self._sealer.chains().items()):
            at = [place.topic, str(place.partition)]
            since_ms = chain.unsealed_since_ms
            waiting.add_metric(at, 0.0 if since_ms is None else max(0.0, now_ms - since_ms) / MS_PER_S)
            numbers.add_metric(at, 0 if chain.last is None else chain.last.number + 1)
            if chain.last is not None:
                age_ms = now_ms - chain.last.last_timestamp_ms
                sealed.add_metric(at, max(0.0, age_ms) / MS_PER_S)
        yield from (sealed, waiting, numbers)
