"""Connect's REST API, as far as an operator needs it (KIP-199, KIP-875, KIP-980)."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import httpx2

from infra.auditor.log import Place
from infra.errors import OperatorError
from infra.processes import wait_until

TIMEOUT_S: Final = 30
_BUSY_WAIT_S: Final = 0.25  # while the workers divide the work anew, they answer 409

Config = Mapping[str, str]
Places = dict[Place, int]
"""The offset of the record that a connector reads next, of each partition."""


class ConnectError(OperatorError):
    """Connect does not answer, or refuses."""


class Life(Enum):
    """What a connector or a task does."""

    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    STOPPED = "STOPPED"
    FAILED = "FAILED"
    UNASSIGNED = "UNASSIGNED"
    RESTARTING = "RESTARTING"


class TaskState(NamedTuple):
    """A task: its number, what it does, and the Java trace of why it failed."""

    id: int
    life: Life
    trace: str


class ConnectorState(NamedTuple):
    """A connector and its tasks; a connector itself may fail, too."""

    name: str
    life: Life
    trace: str
    tasks: tuple[TaskState, ...]

    @property
    def word(self) -> str:
        """What it does, all in all: its own state, unless a task of it has failed."""
        return (Life.FAILED if self.failure else self.life).value.lower()

    @property
    def failure(self) -> str | None:
        """The trace of what failed first; None: nothing did."""
        traces = [self.trace] if self.life is Life.FAILED else []
        traces += [task.trace for task in self.tasks if task.life is Life.FAILED]
        return traces[0] if traces else None


class Connect:
    """A Connect cluster, by the address of any worker's REST API; a context manager."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._http = httpx2.Client(base_url=url, timeout=timeout_s)

    def __enter__(self) -> Self:
        """Open."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self._http.close()

    def states(self) -> dict[str, ConnectorState]:
        """Every connector's state, by name.

        Raises:
            ConnectError: as every method here: Connect does not answer, or refuses.

        """
        answer = self._call("GET", "/connectors", params={"expand": "status"})
        return {name: _state(name, it["status"]) for name, it in sorted(answer.items())}

    def state(self, name: str) -> ConnectorState:
        """One connector's state."""
        return _state(name, self._call("GET", f"/connectors/{quote(name)}/status"))

    def config(self, name: str) -> dict[str, str]:
        """Its configuration as it was given: names of secrets, not secrets."""
        config: dict[str, str] = self._call("GET", f"/connectors/{quote(name)}/config")
        return config

    def configure(self, name: str, config: Config) -> None:
        """Make it, or give it another configuration; its tasks start again."""
        self._call("PUT", f"/connectors/{quote(name)}/config", config)

    def make_stopped(self, name: str, config: Config) -> None:
        """Make it, and leave it stopped."""
        self._call("POST", "/connectors", {"name": name, "config": config, "initial_state": "STOPPED"})

    def delete(self, name: str) -> None:
        """Take it away; what it has committed stays."""
        self._call("DELETE", f"/connectors/{quote(name)}")

    def stop(self, name: str) -> None:
        """End its tasks, and return when they are gone: its offsets may then be changed."""
        self._call("PUT", f"/connectors/{quote(name)}/stop")

        def gone() -> bool:
            state = self.state(name)
            return state.life is Life.STOPPED and not state.tasks

        if not wait_until(gone, self._timeout_s):
            raise ConnectError(
                f"connector {name} did not stop within {self._timeout_s} s: look at Connect's log"
            )

    def resume(self, name: str) -> None:
        """Let it run."""
        self._call("PUT", f"/connectors/{quote(name)}/resume")

    def restart(self, name: str) -> None:
        """Start again what of it has failed, the connector itself and its tasks."""
        options = {"includeTasks": "true", "onlyFailed": "true"}
        self._call("POST", f"/connectors/{quote(name)}/restart", params=options)

    def places(self, name: str) -> Places:
        """What it has committed."""
        answer = self._call("GET", f"/connectors/{quote(name)}/offsets")
        return {
            (it["partition"]["kafka_topic"], it["partition"]["kafka_partition"]): it["offset"]["kafka_offset"]
            for it in answer["offsets"]
        }

    def move(self, name: str, places: Places) -> None:
        """Let a stopped connector go on at these places."""
        offsets = [
            {
                "partition": {"kafka_topic": topic, "kafka_partition": partition},
                "offset": {"kafka_offset": offset},
            }
            for (topic, partition), offset in places.items()
        ]
        self._call("PATCH", f"/connectors/{quote(name)}/offsets", {"offsets": offsets})

    def forget(self, name: str) -> None:
        """Take away what a stopped connector has committed, and its consumer group with it."""
        self._call("DELETE", f"/connectors/{quote(name)}/offsets")

    def _call(
        self, method: str, path: str, body: object = None, params: Mapping[str, str] | None = None
    ) -> Any:
        with self._explained():
            deadline = time.monotonic() + self._timeout_s
            while True:
                answer = self._http.request(method, path, json=body, params=params)
                if answer.status_code != HTTPStatus.CONFLICT or time.monotonic() > deadline:
                    return _read(answer, path)
                time.sleep(_BUSY_WAIT_S)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx2.HTTPError as error:
            raise ConnectError(
                f"Connect at {self.url} does not answer ({error}): start it with `trading up`,"
                " or set TRADING_CONNECT_URL to where it is"
            ) from error


def _read(answer: httpx2.Response, path: str) -> Any:
    if not answer.is_error:
        return answer.json() if answer.content else None
    try:
        why = answer.json()["message"]
    except (json.JSONDecodeError, KeyError, TypeError):
        why = answer.text
    raise ConnectError(f"Connect refuses {path} ({answer.status_code}): {why}")


def _state(name: str, status: Mapping[str, Any]) -> ConnectorState:
    connector = status["connector"]
    tasks = tuple(TaskState(it["id"], Life(it["state"]), it.get("trace", "")) for it in status["tasks"])
    return ConnectorState(name, Life(connector["state"]), connector.get("trace", ""), tasks)
