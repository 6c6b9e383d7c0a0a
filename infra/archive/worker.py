"""The worker `archive`: a process like the others, with chores in place of stages, each run once a minute."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from prometheus_client import Counter

from connectors.views.cluster import KafkaCluster
from connectors.views.server import Views, serving
from infra.archive.compaction_chore import CompactionChore
from infra.archive.daily import DailyState
from infra.archive.snapshots import trim
from infra.archive.watch import Watch
from infra.cluster import counts_of
from infra.errors import OperatorError
from infra.settings import Settings

Chore = Callable[[Settings], str | None]
"""Something to be done again and again; it gives a line for the operator, or None. An OperatorError is its alarm."""

EVERY_S: Final = 60.0
FAILED: Final = Counter("trading_archive_chores_failed_total", "Chores that could not be done", ["chore"])

_log = logging.getLogger(__name__)


def chores() -> dict[str, Chore]:
    """What is to be done, by name."""
    return {"watch": Watch(), "state": DailyState(), "snapshots": trim, "compaction": CompactionChore()}


async def run(settings: Settings, cluster: KafkaCluster, is_done: asyncio.Event) -> None:
    """Serve health and metrics, and do the chores until it is done; one that fails or takes long keeps no other."""
    token = settings.views_token
    views = Views([], counts_of(settings), cluster, token.get_secret_value() if token else None)
    async with serving(views, settings.views_host, settings.views_port):
        await asyncio.gather(*(_repeat(name, chore, settings, is_done) for name, chore in chores().items()))


async def _repeat(name: str, chore: Chore, settings: Settings, is_done: asyncio.Event) -> None:
    while not is_done.is_set():
        await asyncio.to_thread(_do, name, chore, settings)
        with suppress(TimeoutError):
            await asyncio.wait_for(is_done.wait(), EVERY_S)


def _do(name: str, chore: Chore, settings: Settings) -> None:
    try:
        line = chore(settings)
    except OperatorError as error:
        FAILED.labels(name).inc()
        _log.error("%s: %s; tried again in %.0f s", name, error, EVERY_S)
    except Exception:  # noqa: BLE001 - whatever is wrong with one must not end the hold
        FAILED.labels(name).inc()
        _log.exception("%s: this is a fault of the engine; the other chores go on", name)
    else:
        if line:
            _log.warning("%s: %s", name, line)
