"""The servers of the sinks on one machine, and what is done once each is ready: schemas, connectors."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from connectors.sql.migrate import maintain, migrate
from infra.database import with_database
from infra.embedded.connect import PLUGINS, EmbeddedConnect
from infra.embedded.jars import Jar, locked
from infra.embedded.postgres import EmbeddedPostgres
from infra.embedded.registry import EmbeddedRegistry
from infra.errors import OperatorError
from infra.processes import free_ports
from infra.settings import Settings
from infra.sinks import connectors, registry
from infra.sinks.addresses import check_ports, connector_environment, port_of, postgres, with_ports
from infra.sinks.connect import Connect
from infra.sinks.locate import is_in_start, reason
from infra.sinks.probes import PROBE
from infra.supervisor import Program, State, Supervisor

REGISTRY: Final = "registry"
POSTGRES: Final = "postgres"
CONNECT: Final = "connect"
RETRY_S: Final = 5.0
LOOK_EVERY_S: Final = 5.0
SAME_FAILURE_S: Final = 600.0
GIVES_WAY: Final = 10  # nice, as the worker of the projection is: nobody waits for a row as for an answer
MAINTAIN_EVERY_S: Final = 6 * 3600.0  # partitions are made for the days to come


class _Work(NamedTuple):
    """Something to be done when some servers are ready; it gives a line for the operator, or None."""

    needs: frozenset[str]
    do: Callable[[], str | None]


class SinkServers:
    """The registry, Postgres and Connect, those of them that the settings want embedded.

    `start`, then `step` often, then `stop`, all from one thread, with Kafka up. None of it keeps an engine from
    trading: what fails is reported, and tried again. `report` gets a line for what becomes ready, dies or is done;
    `settings` are those given, with the free ports that were taken.
    """

    def __init__(self, settings: Settings, report: Callable[[str], object]) -> None:
        self.settings = with_ports(settings)
        self._report = report
        self._supervisor = Supervisor([], settings.data_folder)
        self._ready: set[str] = set()
        self._began_s = self._due_s = 0.0
        self._maintain_s = float("inf")
        self._work: list[_Work] = []
        self._hands = ThreadPoolExecutor(1, "sinks")  # questions over HTTP, while `step` never waits
        self._busy: tuple[_Work, Future[str | None]] | None = None
        self._alarms: frozenset[str] = frozenset()
        self._restarts: dict[
            tuple[str, str], float
        ] = {}  # connector and reason: until when it is not tried again

    @property
    def addresses(self) -> dict[str, str]:
        """Where each server is, and the archive, without secrets."""
        place = postgres(self.settings)
        archive = {"archive": self.settings.archive_root} if self.settings.is_archived else {}
        return {
            "schema registry": self.settings.registry_url,
            "Connect": self.settings.connect_url,
            "Postgres": f"postgresql://{place.username}@{place.hostname}:{place.port}{place.path}",
            **archive,
        }

    @property
    def all_done(self) -> bool:
        """Whether every server is ready and every connector has been applied."""
        return not self._work and self._supervisor.all_ready()

    def start(self) -> None:
        """Start the servers; what they need on disk is made, and fetched, first.

        Raises:
            OperatorError: one of them cannot run here.

        """
        check_ports(self.settings)
        self._supervisor = Supervisor(
            [_giving_way(program) for program in _programs(self.settings)],
            self.settings.data_folder / "logs",
            backoff_s=self.settings.restart_backoff_ms / 1000,
            log_bytes_max=self.settings.log_mb << 20,
            report=self._report,
        )
        self._work = [
            _Work(frozenset({REGISTRY}), self._register),
            _Work(frozenset({POSTGRES}), self._migrate),
            _Work(frozenset({REGISTRY, POSTGRES, CONNECT}), self._apply),
        ]
        self._began_s = time.monotonic()
        self._supervisor.start()

    def step(self) -> None:
        """Look at every server once, and begin what is due."""
        self._supervisor.step()
        self._announce()
        if time.monotonic() >= self._maintain_s:
            self._maintain_s = time.monotonic() + MAINTAIN_EVERY_S
            self._work.append(_Work(frozenset({POSTGRES}), self._maintain))
        if self._busy is None and time.monotonic() >= self._due_s:
            self._begin()
        elif self._busy and self._busy[1].done():
            self._end(*self._busy)

    def stop(self) -> None:
        """Stop the servers."""
        self._hands.shutdown(wait=False, cancel_futures=True)
        self._supervisor.stop(self.settings.stop_timeout_s)

    def states(self) -> dict[str, State]:
        """The state of each embedded server, by name."""
        return self._supervisor.states()

    def pid(self, name: str) -> int | None:
        """Its process; None while it has none."""
        return self._supervisor.pid(name)

    def kill(self, name: str) -> None:
        """End a server as a crash would (SIGKILL); `step` starts it again."""
        self._supervisor.kill(name)

    def _announce(self) -> None:
        """Say who has become ready; a server that came back may have let tasks fail meanwhile."""
        states = self._supervisor.states()
        for name in sorted(name for name, state in states.items() if state is State.READY):
            if name in self._ready:
                continue
            self._ready.add(name)
            self._report(f"{name} is ready after {time.monotonic() - self._began_s:.0f} s")
            if not self._work:
                self._work = [_Work(frozenset(states), self._restart)]
        for name in self._ready - {name for name, state in states.items() if state is State.READY}:
            self._ready.remove(name)
            self._began_s = time.monotonic()

    def _begin(self) -> None:
        """Begin the next work if its servers are ready; where there is none, look at the connectors."""
        states = self._supervisor.states()
        work = self._work[0] if self._work else _Work(frozenset(), self._look)
        if all(states.get(name, State.READY) is State.READY for name in work.needs):
            self._busy = work, self._hands.submit(work.do)

    def _end(self, work: _Work, done: "Future[str | None]") -> None:
        self._busy, self._due_s = None, time.monotonic() + (0 if work in self._work else LOOK_EVERY_S)
        try:
            line = done.result()
        except registry.RegistryConflictError as error:
            self._report(f"the sinks stay off: {error}")
            self._due_s = float("inf")
        except OperatorError as error:
            self._report(f"{error}; tried again every {RETRY_S:.0f} s")
            self._due_s = time.monotonic() + RETRY_S
        else:
            self._work = [it for it in self._work if it is not work]
            if line:
                self._report(line)

    def _register(self) -> str:
        done = registry.register(self.settings)
        return f"the schema registry holds {done.all} schemas, {done.new} of them new"

    def _migrate(self) -> str:
        writers = (self.settings.sink_postgres_user,)
        applied = with_database(self.settings, lambda connection: migrate(connection, writers=writers))
        self._maintain_s = time.monotonic() + MAINTAIN_EVERY_S
        return f"Postgres has the engine's tables, {len(applied)} migrations were applied"

    def _maintain(self) -> None:
        with_database(self.settings, maintain)

    def _apply(self) -> str:
        if line := connectors.prepare(self.settings):
            self._report(line)
        with Connect(self.settings.connect_url) as connect:
            done = connectors.apply(connect, connectors.wanted(self.settings))
        archive = f" and into {self.settings.archive_root}" if self.settings.is_archived else ""
        return f"{len(done)} connectors carry the engine's topics into Postgres{archive}"

    def _restart(self) -> str | None:
        """Start again what failed while a server was gone."""
        with Connect(self.settings.connect_url) as connect:
            failed = sorted(name for name, state in connect.states().items() if state.failure)
            for name in failed:
                connect.restart(name)
        self._alarms, self._restarts = frozenset(), {}
        return f"started again what had failed meanwhile: {', '.join(failed)}" if failed else None

    def _look(self) -> str | None:
        """Start again what failed for no record's sake, or for the first time; what fails again is an alarm, said once.

        A database that was away makes a task fail, and fail again as it starts, until it is back.
        """
        try:
            with Connect(self.settings.connect_url, LOOK_EVERY_S) as connect:
                states = connect.states()
                failures = {
                    name: state.failure
                    for name, state in states.items()
                    if state.failure and not name.startswith(PROBE)
                }
                alarms = {name: why for name, why in failures.items() if not self._mended(connect, name, why)}
        except OperatorError:
            return None  # that it is gone is the supervisor's to say
        lines = [
            f"connector {name} has stopped ({reason(alarms[name])}): see `trading sinks status`"
            for name in sorted(alarms.keys() - self._alarms)
        ]
        self._alarms = frozenset(alarms)
        return "\n".join(lines)

    def _mended(self, connect: Connect, name: str, failure: str) -> bool:
        """Start a failed connector again, unless that did not help the last time."""
        now_s, key = time.monotonic(), (name, reason(failure))
        if not is_in_start(failure):
            if now_s < self._restarts.get(key, 0.0):
                return False
            self._restarts[key] = now_s + SAME_FAILURE_S
        connect.restart(name)
        return True


def needed_jars(settings: Settings) -> tuple[Jar, ...]:
    """What the embedded ones of the servers run on, Kafka's own jars among them."""
    registry_jars = ("registry",) if settings.embedded_registry else ()
    connect_jars = ("kafka", *PLUGINS) if settings.embedded_connect else ()
    return locked(*registry_jars, *connect_jars)


def _giving_way(program: Program) -> Program:
    """The same with less right to the cores than whoever trades."""
    return program._replace(command=("nice", "-n", str(GIVES_WAY), *program.command))


def _programs(settings: Settings) -> Iterator[Program]:
    folder = settings.data_folder
    if settings.embedded_postgres:
        port = port_of(settings.postgres_url.get_secret_value())
        roles = (settings.sink_postgres_user,)
        yield EmbeddedPostgres(folder / POSTGRES, port, settings.postgres_run_as, roles).program()
    if settings.embedded_registry:
        (management_port,) = free_ports(1)
        port = port_of(settings.registry_url)
        yield EmbeddedRegistry(settings.kafka_bootstrap, port, management_port, settings.java_home).program()
    if settings.embedded_connect:
        yield EmbeddedConnect(
            folder / CONNECT,
            settings.kafka_bootstrap,
            port_of(settings.connect_url),
            f"{settings.env}-connect",
            connector_environment(settings),
            heap_mb=settings.connect_heap_mb,
            replication=settings.replication_factor,
            java_home=settings.java_home,
        ).program()
