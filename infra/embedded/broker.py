"""A one-node Kafka (KRaft) under one folder, on loopback: the default that needs nothing installed.

It survives the death of any process, not the loss of power: production points the same settings at a cluster.
"""

import os
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import partial
from logging import NullHandler, getLogger
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from infra.embedded.jars import Jar, cache_folder, fetch, locked
from infra.embedded.java import java
from infra.errors import OperatorError
from infra.logs import BYTES_MAX, BoundedLog
from infra.processes import LOOPBACK, FolderLock, PortError, free_ports, is_free, start, stop, wait_until
from schemas.maximums import RECORD_BYTES

PORT_WAIT_S = 3  # a broker whose owner was just killed needs a moment to be gone
DISK_BYTES_MIN = 256 * 1024 * 1024  # less than this at start will be full before anything useful was done
FULL_DISK = "No space left on device"
_log = getLogger("librdkafka")
_log.addHandler(NullHandler())
_log.propagate = False


class BrokerError(OperatorError):
    """The embedded broker cannot run; the message says why and what to do."""


class EmbeddedBroker:
    """One broker and its folder: `start`, `stop` and `kill` as often as wanted, the state stays.

    `port` and `controller_port` are on loopback; 0 takes a free one, kept for the life of this object.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        controller_port: int = 0,
        heap_mb: int = 512,
        java_home: Path | None = None,
        log_bytes_max: int = BYTES_MAX,
    ) -> None:
        self.folder = folder.absolute()
        free = free_ports(2)
        self.port, self.controller_port = port or free[0], controller_port or free[1]
        self.log = BoundedLog(self.folder / "broker.log", log_bytes_max)
        self._heap_mb = heap_mb
        self._java_home = java_home
        self._lock = FolderLock(self.folder)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """The address for clients, `127.0.0.1:PORT`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The process of the running broker."""
        assert self._process is not None
        return self._process.pid

    def start(self, timeout_s: float = 60, on_jar: Callable[[int, int], object] = lambda *_: None) -> None:
        """Fetch what is missing, start, and return when clients are served; `on_jar` gets (done, all).

        Raises:
            BrokerError, PortError, FolderInUseError, JarError, JavaError: it cannot run.

        """
        self._lock.acquire()
        try:
            self._check_machine()
            program, class_path = java(self._java_home), _class_path(on_jar)
            self._prepare(program, class_path)
            command = [*self._java(program), "kafka.Kafka", str(self._properties)]
            self._process = start(command, self.log.path, {"CLASSPATH": class_path}, self.folder)
            self._wait_until_ready(timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_s: float = 30) -> None:
        """End the broker by SIGTERM, by SIGKILL if it does not go, and free the folder."""
        if self._process is not None:
            stop(self._process, timeout_s)
        self._lock.release()

    def kill(self) -> None:
        """End the broker as a crash would (SIGKILL), and free the folder."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._lock.release()

    def exit_code(self) -> int | None:
        """Give the code of a broker that has ended, None of one that runs."""
        return None if self._process is None else self._process.poll()

    def why_dead(self) -> str:
        """Say what the log of a broker that has ended makes of it."""
        lines = self.log.path.read_text(errors="replace").splitlines() if self.log.path.exists() else []
        if any(FULL_DISK in line for line in lines[-500:]):
            return f"the disk of {self.folder} is full: free some space, then start again"
        errors = [line for line in lines[-500:] if "ERROR" in line or "Exception" in line or "Error:" in line]
        return f"see {self.log.path}; it says: {(errors or lines or ['nothing'])[-1].strip()}"

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    def _check_machine(self) -> None:
        for port in (self.port, self.controller_port):
            if not wait_until(partial(is_free, port), PORT_WAIT_S):
                raise PortError(
                    f"port {port} of {LOOPBACK} is in use: stop what listens there,"
                    " or set TRADING_KAFKA_BOOTSTRAP and TRADING_BROKER_CONTROLLER_PORT to other ports"
                )
        if (free := shutil.disk_usage(self.folder).free) < DISK_BYTES_MIN:
            raise BrokerError(
                f"the disk of {self.folder} is full: {free >> 20} MB free, {DISK_BYTES_MIN >> 20} MB needed"
            )

    def _prepare(self, program: Path, class_path: str) -> None:
        """Write the configuration, and format the folder the first time, as Kafka's own tool does it."""
        self._properties.write_text(_properties(self.folder, self.port, self.controller_port))
        if (self.folder / "kafka" / "meta.properties").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster}",  # one in 64 begins with a dash
            "--config",
            str(self._properties),
        ]
        with self.log.path.open("ab") as log:
            done = subprocess.run(
                [*self._java(program), *tool],
                stdout=log,
                stderr=log,
                env={**os.environ, "CLASSPATH": class_path},
                check=False,
            )
        if done.returncode:
            raise BrokerError(f"the broker's folder could not be formatted: {self.why_dead()}")

    def _java(self, program: Path) -> list[str]:
        return [
            str(program),
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",  # the smallest and, on two cores, the quickest for a heap of this size
            "--enable-native-access=ALL-UNNAMED",  # lz4 and zstd; else Java 24 and newer warn
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
        ]

    def _wait_until_ready(self, timeout_s: float) -> None:
        quiet = {"log_level": 0, "reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 50}
        admin = AdminClient({"bootstrap.servers": self.bootstrap, **quiet}, logger=_log)

        def ready_or_dead() -> bool:
            try:
                return self.exit_code() is not None or bool(admin.list_topics(timeout=0.5).brokers)
            except KafkaException:
                return False  # refused, or not yet the leader of its own metadata

        if not wait_until(ready_or_dead, timeout_s):
            raise BrokerError(f"the broker was not ready after {timeout_s:.0f} s: {self.why_dead()}")
        if self.exit_code() is not None:
            raise BrokerError(f"the broker stopped while it started: {self.why_dead()}")


def _class_path(on_jar: Callable[[int, int], object]) -> str:
    jars: tuple[Jar, ...] = locked("kafka")
    there = iter(range(1, len(jars) + 1))
    paths = fetch(jars, cache_folder(), lambda: on_jar(next(there), len(jars)))
    return ":".join(str(path) for path in paths)


def _properties(folder: Path, port: int, controller_port: int) -> str:
    """Give Kafka's server.properties; what is not Kafka's default has its reason beside it."""
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{LOOPBACK}:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}
advertised.listeners=PLAINTEXT://{LOOPBACK}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={folder / "kafka"}
# A mistyped topic is an error; `trading topics create` makes those that exist.
auto.create.topics.enable=false
message.max.bytes={RECORD_BYTES}
replica.fetch.max.bytes={RECORD_BYTES}
# There is one node to copy to.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# 50 by default, each with its files: a start opens them all.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# A group starts at once, and a worker may be found dead within a second (in tests) instead of six.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# After kill -9 the old registration must lapse before the same node may come back: 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# 128 MiB by default, a quarter of the heap.
log.cleaner.dedupe.buffer.size={16 * 1024 * 1024}
"""
