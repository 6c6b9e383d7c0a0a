"""What a worker tells Prometheus of the sinks' servers. No stage waits for them; an operator must know.

The worker that hosts the projection asks, for the whole engine: the stages that trade are left alone.
"""

import asyncio
from typing import Final

import httpx2
from prometheus_client import Gauge

from infra.settings import Settings
from infra.sinks.connect import Connect, ConnectError
from infra.sinks.probes import PROBE
from infra.sinks.registry import credentials, released

EVERY_S: Final = 5.0
TIMEOUT_S: Final = 4.0

REGISTRY_UP: Final = Gauge("trading_registry_up", "1 while the schema registry answers, else 0")
SCHEMAS_MISSING: Final = Gauge(
    "trading_registry_schemas_missing", "Records whose schema the registry has lost, when it last answered"
)
CONNECT_UP: Final = Gauge("trading_connect_up", "1 while Connect answers, else 0")
CONNECTOR_FAILED: Final = Gauge(
    "trading_connector_failed", "1 for a connector that has stopped at a record or an error", ["connector"]
)


async def watch(settings: Settings) -> None:
    """Ask the registry and Connect again and again, until cancelled."""
    while True:
        await asyncio.gather(
            asyncio.to_thread(ask_registry, settings), asyncio.to_thread(ask_connect, settings)
        )
        await asyncio.sleep(EVERY_S)


def ask_registry(settings: Settings) -> None:
    """Ask the registry whether it is there, and has all schemas."""
    try:
        answer = httpx2.get(
            f"{settings.registry_url}/subjects", auth=credentials(settings), timeout=TIMEOUT_S
        )
        subjects = set(answer.raise_for_status().json())
    except (httpx2.HTTPError, ValueError):  # no answer, or no JSON
        REGISTRY_UP.set(0)
        return
    REGISTRY_UP.set(1)
    SCHEMAS_MISSING.set(len({schema.subject for schema in released()} - subjects))


def ask_connect(settings: Settings) -> None:
    """Ask Connect whether it is there, and which connectors have stopped."""
    try:
        with Connect(settings.connect_url, TIMEOUT_S) as connect:
            states = connect.states()
    except ConnectError:
        CONNECT_UP.set(0)
        return
    CONNECT_UP.set(1)
    CONNECTOR_FAILED.clear()
    for name, state in states.items():
        if not name.startswith(PROBE):
            CONNECTOR_FAILED.labels(name).set(1 if state.failure else 0)
