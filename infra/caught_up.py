"""Waiting until the sinks have what stands on the topics: for the demo and the benchmark, which look at both."""

import time
from collections.abc import Callable, Mapping
from typing import Final

from infra.archive.progress import progress
from infra.auditor.log import Log, Place
from infra.engine import Engine
from infra.errors import OperatorError
from infra.settings import Settings
from infra.sinks.connect import Connect
from infra.sinks.connectors import ARCHIVE
from infra.sinks.standing import standings

LOOK_S: Final = 0.5  # to ask costs the servers some of the time that they need
STEP_S: Final = 0.02


class NotCaughtUpError(OperatorError):
    """The sinks do not get on, or not in time."""


def step_until(engine: Engine, what: str, condition: Callable[[], bool], timeout_s: float) -> None:
    """Keep an engine going until a condition holds.

    Raises:
        NotCaughtUpError: not in time; the message names `what`.

    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            logs = engine.settings.data_folder / "logs"
            raise NotCaughtUpError(f"{what}: not there after {timeout_s:.0f} s; see {logs}")
        look_s = time.monotonic() + LOOK_S
        while time.monotonic() < look_s:
            engine.step()
            time.sleep(STEP_S)


def are_stored(settings: Settings, log: Log) -> bool:
    """Whether every record of the tables' topics is a row.

    Raises:
        NotCaughtUpError: a connector has stopped at a record; the message says why.

    """
    with Connect(settings.connect_url) as connect:
        tables = [it for it in standings(connect, log) if it.name != ARCHIVE]
    for it in tables:
        if it.stopped:
            raise NotCaughtUpError(f"connector {it.name} has stopped: {it.stopped.reason}")
    return not any(it.behind for it in tables)


def archive_ends(settings: Settings) -> dict[Place, int]:
    """Where every topic-partition that is archived ends now."""
    return {(it.topic, it.partition): it.end for it in progress(settings)}


def are_archived(settings: Settings, ends: Mapping[Place, int]) -> bool:
    """Whether the archive holds all up to these places; behind them the clock goes on."""
    return all(
        not it.behind or (it.archived or 0) >= ends.get((it.topic, it.partition), 0)
        for it in progress(settings)
    )
