"""All of the engine on one machine: broker, topics, workers, sinks; what `trading up` and the demo run."""

import time
from collections.abc import Callable
from typing import Final, Self

from infra import topics_admin
from infra.embedded.broker import EmbeddedBroker
from infra.embedded.jars import OnProgress, cache_folder, fetch, locked, to_download
from infra.errors import OperatorError
from infra.processes import LOOPBACK, POLL_S, FolderLock, PortError, free_ports, is_free, wait_until
from infra.sealing import keys
from infra.settings import PORT_MAX, Settings
from infra.sinks.servers import SinkServers, needed_jars
from infra.supervisor import Program, State, Supervisor, answers
from infra.workers import Worker

Report = Callable[[str], object]
# What the sinks read is made by stages of its own, for which nothing in the engine waits.
SINK_WORKER: Final = "projection+order-states"
ARCHIVE_WORKER: Final = "archive"


class EngineError(OperatorError):
    """The engine did not come up."""


class Engine:
    """A broker (if the settings ask for one), the topics, the workers under a supervisor, and the sinks' servers.

    `start`, then `step` often, then `stop`; or `with Engine(settings) as engine`. All from one thread.
    `report` gets a line for each phase and for each death.
    """

    def __init__(self, settings: Settings, report: Report = lambda _: None) -> None:
        self._report = report
        folder = settings.data_folder.absolute()
        self.broker = embedded_broker(settings) if settings.embedded_broker else None
        bootstrap = self.broker.bootstrap if self.broker else settings.kafka_bootstrap
        settings = settings.model_copy(update={"data_folder": folder, "kafka_bootstrap": bootstrap})
        self.sinks = SinkServers(settings, report) if settings.sinks else None
        self._has_sinks = False  # whether their servers were started
        self.settings = self.sinks.settings if self.sinks else settings
        self._lock = FolderLock(folder)
        of_sinks = (SINK_WORKER,) if settings.sinks else ()
        of_archive = (ARCHIVE_WORKER,) if settings.is_archived else ()
        workers = [Worker.parse(text) for text in (*settings.workers, *of_sinks, *of_archive)]
        ports = _view_ports(settings.views_port, len(workers))
        self._view_ports = dict(zip((worker.name for worker in workers), ports, strict=True))
        self.supervisor = Supervisor(
            [self._program(worker) for worker in workers],
            folder / "logs",
            deaths_at_one_offset=settings.deaths_at_one_offset,
            backoff_s=settings.restart_backoff_ms / 1000,
            log_bytes_max=settings.log_mb << 20,
            report=report,
        )

    @property
    def views(self) -> dict[str, str]:
        """The address of each worker's views, by the worker's name."""
        host = _reachable(self.settings.views_host)
        return {name: f"http://{host}:{port}" for name, port in self._view_ports.items()}

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self, on_jar: OnProgress = lambda *_: None, *, with_sinks: bool = True) -> None:
        """Start all, and return when every worker is ready: the sinks become so while the engine already trades.

        ``with_sinks=False`` leaves their servers for `start_sinks`; what they are to store waits for them in Kafka.

        Raises:
            OperatorError: it did not come up; what was started has been stopped.

        """
        self._lock.acquire()
        try:
            self._check_view_ports()
            self._fetch(on_jar)
            if self.broker:
                self._report("starting the broker")
                self.broker.start(self.settings.start_timeout_s)
            self._report("making the topics")
            topics_admin.ensure(self.settings)
            topics_admin.refuse_to_archive_a_restored_engine(self.settings)
            if with_sinks:
                self.start_sinks()
            self._ensure_key()
            self._report("starting the workers")
            self.supervisor.start()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def start_sinks(self) -> None:
        """Start the sinks' servers, if the settings want any; `step` makes them ready.

        Raises:
            OperatorError: one of them cannot run here.

        """
        if self.sinks:
            self._report("starting the sinks' servers")
            self.sinks.start()
            self._has_sinks = True

    def step(self) -> None:
        """Look at every process once; a dead broker is started again on its folder, as a dead worker is.

        Raises:
            OperatorError: the broker cannot be started again.

        """
        if self.broker:
            self._keep_broker(self.broker)
        self.supervisor.step()
        if self.sinks and self._has_sinks:
            self.sinks.step()

    def run(self) -> None:
        """Step until something raises: Ctrl-C, or a broker that cannot be started again."""
        while True:
            self.step()
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Stop the workers, the sinks' servers, then the broker."""
        self.supervisor.stop(self.settings.stop_timeout_s)
        if self.sinks:
            self.sinks.stop()
        if self.broker:
            self.broker.stop(self.settings.stop_timeout_s)
        self._lock.release()

    def _fetch(self, on_jar: OnProgress) -> None:
        """Fetch the jars of all servers, and say first what a download will bring."""
        jars = (
            *(locked("kafka") if self.broker else ()),
            *(needed_jars(self.settings) if self.sinks else ()),
        )
        jars = tuple(dict.fromkeys(jars))
        cache = cache_folder()
        if said := to_download(jars, cache):
            self._report(f"downloading, once, into {cache}: {said}")
        fetch(jars, cache, on_jar)

    def _ensure_key(self) -> None:
        if any("audit" in Worker.parse(text).stages for text in self.settings.workers):
            made = keys.ensure(self.settings)
            if made is not None:
                self._report(
                    f"made the key that seals the log: {made.key_id} ({keys.key_file(self.settings)})"
                )

    def _wait_until_ready(self) -> None:
        def ready_or_down() -> bool:
            self.step()
            states = set(self.supervisor.states().values())
            return states == {State.READY} or State.DOWN in states

        in_time = wait_until(ready_or_down, self.settings.start_timeout_s)
        if not self.supervisor.all_ready():
            late = [name for name, state in self.supervisor.states().items() if state is not State.READY]
            why = "stay down" if in_time else f"are not ready after {self.settings.start_timeout_s} s"
            raise EngineError(f"{', '.join(late)} {why}: see {self.settings.data_folder / 'logs'}")

    def _keep_broker(self, broker: EmbeddedBroker) -> None:
        broker.log.trim()
        if broker.exit_code() is not None:
            self._report(f"the broker died: {broker.why_dead()}; it starts again")
            broker.stop()
            broker.start(self.settings.start_timeout_s)

    def _check_view_ports(self) -> None:
        for port in self._view_ports.values():
            if not is_free(port):
                raise PortError(
                    f"port {port} is in use: stop what listens there, or set TRADING_VIEWS_PORT to another"
                )

    def _program(self, worker: Worker) -> Program:
        settings = self.settings.model_copy(update={"views_port": self._view_ports[worker.name]})
        return Program(
            worker.name,
            worker.command(),
            settings.environment(),
            answers(f"{self.views[worker.name]}/health/ready"),
            worker.last_words(settings.data_folder),
        )


def embedded_broker(settings: Settings) -> EmbeddedBroker:
    """The broker that the settings describe, not started yet.

    Raises:
        EngineError: they name a cluster.

    """
    host = settings.kafka_bootstrap.rpartition(":")[0]
    if host not in {LOOPBACK, "localhost"}:
        raise EngineError(
            f"TRADING_KAFKA_BOOTSTRAP={settings.kafka_bootstrap} is not this machine: set"
            " TRADING_EMBEDDED_BROKER=false to use that cluster"
        )
    return EmbeddedBroker(
        settings.data_folder / "broker",
        settings.broker_port,
        settings.broker_controller_port,
        settings.broker_heap_mb,
        settings.java_home,
        settings.log_mb << 20,
    )


def _view_ports(first: int, count: int) -> tuple[int, ...]:
    if first + count - 1 > PORT_MAX:
        raise PortError(
            f"TRADING_VIEWS_PORT={first} leaves no ports for {count} workers: set it to {PORT_MAX - count + 1} at most"
        )
    return tuple(range(first, first + count)) if first else free_ports(count)


def _reachable(host: str) -> str:
    """An address under which we reach what binds to `host`: loopback, if that means every address."""
    return LOOPBACK if host in {"0.0.0.0", "::", "localhost"} else host  # noqa: S104  (compared, not bound to)
