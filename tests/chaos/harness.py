"""A whole engine of real processes for chaos tests: its flow, what is done to it, and its audit."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, Self

import msgspec
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from infra.auditor.cut import find_cut, last_checkpoint
from infra.auditor.log import AuditError, KafkaLog, LogRecord
from infra.auditor.report import Report
from infra.auditor.run import run
from infra.bench.flow import accounts, commands, deposits, instruments
from infra.desk import Desk
from infra.engine import Engine
from infra.processes import wait_until
from infra.settings import Settings
from infra.supervisor import State
from infra.workers import Worker
from schemas import codec
from schemas.commands import DefineAccount, DefineInstrument
from schemas.partitioner import partition_of
from schemas.topics import BY_NAME, INBOXES, ORDERS, SETTLEMENT_EVENTS, PartitionCounts

STAGES: Final = ("control", "intake", "risk", "matching", "settlement")
PATIENCE_S: Final = 150.0  # the longest wait for anything: only a defect, or a starved machine, needs it
RATE: Final = 150.0  # commands a second
REPEATS: Final = "repeats are the same bytes as what they repeat"
LOOK_S: Final = 0.3  # at whether all is quiet, before the supervisor must be served again
NAP_S: Final = 0.002


class Flow:
    """Orders and cancels into ``orders`` at a steady rate, from a thread, until it is stopped."""

    def __init__(self, settings: Settings, seed: int, prefix: str) -> None:
        self._settings, self._seed, self._prefix = settings, seed, prefix
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the broker has all that was sent."""
        self._is_done.set()
        self._thread.join()

    def _run(self) -> None:
        producer = Producer({**self._settings.kafka(), "linger.ms": 1, "message.timeout.ms": 0})
        started = time.monotonic()
        for number, command in enumerate(commands(self._seed, prefix=self._prefix)):
            while not self._is_done.wait(NAP_S) and time.monotonic() < started + number / RATE:
                producer.poll(0)
            if self._is_done.is_set():
                break
            partition = partition_of(command.account, self._settings.account_partitions)
            producer.produce(ORDERS, codec.encode(command), None, partition)
        producer.flush(PATIENCE_S)


class Chaos:
    """An engine under a seed: ``with Chaos(folder, seed) as chaos``. All from one thread."""

    def __init__(self, folder: Path, seed: int, workers: tuple[str, ...] = STAGES, **settings: Any) -> None:
        self.chance = Random(seed)
        self.lines: list[str] = []
        self.engine = Engine(
            Settings.load(
                **{
                    "data_folder": folder,
                    "kafka_bootstrap": "127.0.0.1:0",
                    "broker_controller_port": 0,
                    "views_port": 0,
                    "workers": workers,
                    "account_partitions": 2,
                    "book_partitions": 2,
                    "checkpoint_interval_ms": 100,
                    "store_interval_ms": 300,
                    "restart_backoff_ms": 50,
                    "tick_interval_ms": 250,
                    **settings,
                }
            ),
            self.lines.append,
        )
        self.settings = self.engine.settings
        self.counts = PartitionCounts(self.settings.account_partitions, self.settings.book_partitions)
        self._snapshot = folder / "snapshot"
        self._flows = 0
        self._log: KafkaLog | None = None

    def __enter__(self) -> Self:
        """Starts all, with reference data and cash."""
        self.engine.start()
        with self.desk() as desk:
            desk.control(
                [DefineInstrument(command_id=f"i-{it.symbol}", instrument=it) for it in instruments()]
            )
            desk.control([DefineAccount(command_id=f"a-{it.account}", account=it) for it in accounts()])
            desk.cash(deposits())
        return self

    def __exit__(self, *_: object) -> None:
        self.forget_log()
        self.engine.stop()

    def desk(self) -> Desk:
        """The operator's line to the engine."""
        return Desk(self.settings.kafka(), self.counts, PATIENCE_S)

    @contextmanager
    def load(self) -> Iterator[None]:
        """Orders flow inside, and at its end all of them have been sent."""
        self._flows += 1
        flow = Flow(self.settings, self.chance.randrange(2**32), f"f{self._flows}-")
        try:
            yield
        finally:
            flow.stop()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Keeps the supervisor going until a condition holds."""

        def holds() -> bool:
            self.engine.step()
            try:
                return condition()
            except (KafkaException, AuditError):
                return False  # not quiet, or the broker has just been killed

        if not wait_until(holds, PATIENCE_S):
            raise AssertionError(f"{what}: not within {PATIENCE_S:.0f} s. {self.story()}")

    def story(self) -> str:
        """What the supervisor has seen."""
        states = {name: state.value for name, state in self.engine.supervisor.states().items()}
        return f"{states}\n" + "\n".join(self.lines[-20:])

    def until_ready(self, *names: str) -> None:
        """Waits for workers, all unless named."""
        wanted = names or tuple(self.settings.workers)
        self.until(lambda: all(self.state(it) is State.READY for it in wanted), f"{wanted} ready")

    def until_running(self, name: str) -> None:
        """Waits until a worker has a process again."""
        self.until(lambda: self.engine.supervisor.pid(name) is not None, f"{name} runs")

    def until_down(self, name: str) -> None:
        """Waits until the supervisor leaves a worker down."""
        self.until(lambda: self.state(name) is State.DOWN, f"{name} down")

    def until_said(self, count: int = 50, topic: str = SETTLEMENT_EVENTS) -> None:
        """Waits until a topic has grown by so many records; settlement speaks only of what went all the way."""
        ends: list[int] = []

        def has_grown() -> bool:
            ends.append(self.end_of(topic))
            return ends[-1] >= ends[0] + count

        self.until(has_grown, f"{topic} grows by {count}")

    def until_told(self, text: str, since: int = 0, count: int = 1) -> None:
        """Waits until the supervisor has reported so many lines with this text, from the line ``since``."""
        self.until(lambda: sum(text in it for it in self.lines[since:]) >= count, f"{count} times {text!r}")

    def until_quiet(self) -> None:
        """Waits until all workers run, and nothing is under way but ticks."""
        running = [it for it in self.settings.workers if self.state(it) is not State.STOPPED]

        def is_quiet() -> bool:
            if any(self.state(it) is not State.READY for it in running):
                return False
            find_cut(self.log, self.settings.env, self.counts, LOOK_S)
            return True

        self.until(is_quiet, "quiet")

    def audit(self) -> Report:
        """`trading check` since the last one that passed; every record equals an offline fold of its inbox."""
        self.until_quiet()
        report = self.check()
        assert not report.breaches, "\n".join([*report.lines(), self.story()])
        assert sum(it.count for it in report if "what was said equals a fold" in it.name), "nothing was said"
        return report

    def check(self) -> Report:
        """`trading check` as it is."""
        return run(
            self.settings,
            timeout_s=PATIENCE_S,
            start=self._snapshot if self._snapshot.exists() else None,
            save=self._snapshot,
        )

    @property
    def log(self) -> KafkaLog:
        """All topics, to be read."""
        self._log = self._log or KafkaLog(self.settings.kafka())
        return self._log

    def forget_log(self) -> None:
        """Reads by a new client from now on: one that knew a topic does not find its successor of that name."""
        if self._log is not None:
            self._log.close()
        self._log = None

    def records(self, topic: str, partition: int = 0) -> list[LogRecord]:
        """Everything that a partition holds."""
        place = topic, partition
        return list(self.log.read(place, self.log.bounds(place)))

    def committed(self, stage: str, partition: int, replica: str = "a") -> tuple[int, dict[bytes, bytes]]:
        """The offset of the last checkpoint, and the changelog's keys."""
        changelog = self.changelog(stage, replica)
        checkpoint = last_checkpoint(self.log, changelog, partition)
        entries: dict[bytes, bytes] = {}
        for record in self.records(changelog, partition):
            if record.key is not None and record.value is not None:
                entries[record.key] = record.value
            elif record.key is not None:
                entries.pop(record.key, None)
        return (checkpoint.meta.next_offset if checkpoint else 0), entries

    def changelog(self, stage: str, replica: str = "a") -> str:
        """The changelog topic of a replica."""
        return f"{self.settings.env}-{stage}-{replica}-changelog"

    def state_folder(self, stage: str, replica: str = "a", number: str = "0") -> Path:
        """Where a worker keeps a stage's local stores, one folder for each partition."""
        return self.settings.data_folder / "state" / f"{self.settings.env}-{stage}-{replica}-{number}"

    def partitions(self, stage: str) -> range:
        """The partitions of a stage's inbox."""
        return range(self.counts.of(BY_NAME[INBOXES[stage]]))

    def end_of(self, topic: str) -> int:
        """The sum of the ends of a topic's partitions."""
        return sum(self.log.bounds((topic, it))[1] for it in range(self.counts.of(BY_NAME[topic])))

    def produce(self, topic: str, value: bytes | None, partition: int = 0) -> int:
        """Writes one record, acknowledged, and gives its offset."""
        done: list[Any] = []
        producer = Producer({**self.settings.kafka(), "message.max.bytes": 2**24})
        producer.produce(
            topic, value, None, partition, on_delivery=lambda error, it: done.append(error or it.offset())
        )
        assert producer.flush(60) == 0
        assert isinstance(done[0], int), done
        return done[0]

    def delete_topic(self, topic: str) -> None:
        """Returns when it is gone."""
        self.forget_log()
        admin = AdminClient(self.settings.kafka())
        admin.delete_topics([topic])[topic].result()
        self.until(lambda: topic not in admin.list_topics(timeout=60).topics, f"{topic} deleted")

    def state(self, name: str) -> State:
        """Where a worker is in its life."""
        return self.engine.supervisor.states()[name]

    def pid(self, name: str) -> int:
        """The process of a worker that runs."""
        pid = self.engine.supervisor.pid(name)
        assert pid is not None, self.story()
        return pid

    def kill(self, name: str) -> None:
        """Ends a worker as a crash would (SIGKILL); it starts again."""
        self.engine.supervisor.kill(name)
        self.until(
            lambda: self.engine.supervisor.pid(name) is None or self.state(name) is State.STARTING,
            f"{name} dead",
        )

    def kill_broker(self) -> None:
        """Ends the broker as a crash would; it starts again at once."""
        assert self.engine.broker is not None
        self.engine.broker.kill()
        self.engine.step()

    def freeze(self, name: str) -> int:
        """Stops a worker in its tracks; give the process to ``thaw``."""
        pid = self.pid(name)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def thaw(self, pid: int) -> None:
        """Lets a frozen process go on."""
        os.kill(pid, signal.SIGCONT)

    def stop(self, name: str, timeout_s: float = 30) -> None:
        """Ends a worker in good order (by SIGKILL where the time is 0) and keeps it down."""
        child = self.engine.supervisor._children[name]
        if timeout_s:
            child.stop(timeout_s)
        else:
            child.kill()
            child.stop(30)
        child.state = State.STOPPED

    def start(self, name: str) -> None:
        """Starts a worker that is down."""
        self.engine.supervisor._children[name].start()

    @contextmanager
    def program(
        self, name: str, *, env: Mapping[str, str] | None = None, command: tuple[str, ...] | None = None
    ) -> Iterator[None]:
        """Inside, each new life of a worker has this environment on top of its own, or another command."""
        child = self.engine.supervisor._children[name]
        usual = child._program
        child._program = usual._replace(env={**usual.env, **(env or {})}, command=command or usual.command)
        try:
            yield
        finally:
            child._program = usual

    def log_of(self, name: str) -> str:
        """All that a worker has logged."""
        return (self.settings.data_folder / "logs" / f"{name}.log").read_text(errors="replace")


def worker_command(text: str, module: str = "infra.cli") -> tuple[str, ...]:
    """A worker's command line, run by another module."""
    command = Worker.parse(text).command()
    return tuple(module if word == "infra.cli" else word for word in command)


def count_of(report: Report, name: str) -> int:
    """How much one check of an audit has looked at."""
    return next(tally.count for tally in report if tally.name == name)


def stamped(command: Any) -> Any:
    """A command with the time of an edge."""
    return msgspec.structs.replace(command, at_ns=time.time_ns())
