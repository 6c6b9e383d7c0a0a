"""Where an operator's acts on the sinks are written down: one function, for all of them."""

import getpass
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from infra.settings import Settings


@contextmanager
def acting(settings: Settings, action: str, target: str, *, note: str, details: Any) -> Iterator[None]:
    """Write an act as ASKED, run the block, and write it as APPLIED, or as FAILED where the block raises."""
    act = {
        "action": action,
        "target": target,
        "operator": getpass.getuser(),
        "note": note,
        "details": details,
    }
    _write(settings, {**act, "outcome": "ASKED"})
    try:
        yield
    except BaseException as error:
        _write(settings, {**act, "outcome": "FAILED", "reason": str(error)})
        raise
    _write(settings, {**act, "outcome": "APPLIED"})


def _write(settings: Settings, act: dict[str, Any]) -> None:
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    with (settings.data_folder / "acts.ndjson").open("a") as file:
        file.write(json.dumps({"at_ns": time.time_ns(), **act}) + "\n")
