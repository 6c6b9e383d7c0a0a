"""Control: the one writer of what concerns all, and the clock of the engine."""

import time
from typing import Any

from agents.rules.control import Control
from agents.stage.app import StageApp
from agents.stage.fold import Stage
from agents.stage.partitions import Partitions
from schemas import codec
from schemas.commands import Tick
from schemas.envelopes import ControlCommands
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BOOK_COMMANDS, CONTROL, CONTROL_EVENTS
from tables.control import ControlTables

CONTROL_STAGE = Stage(
    name="control",
    tables=ControlTables,
    rules={1: Control},
    channels=(ACCOUNT_COMMANDS, BOOK_COMMANDS, ACCOUNT_EVENTS, CONTROL_EVENTS),
)
_NS_PER_MS = 1_000_000


def clock(app: StageApp, partitions: Partitions, outputs: Any) -> Any:
    """Makes the owner of control's partition the clock: it asks itself for a tick at each interval.

    A tick is a whole multiple of the interval; two clocks at once (a worker that was stopped) do no harm,
    since control ignores a tick that is not after the last.
    """
    interval_ns = app.config.tick_interval_ms * _NS_PER_MS

    @app.timer(interval=app.config.tick_interval_ms / 1000)
    async def tick() -> None:
        if partitions.owned:
            tick_ns = time.time_ns() // interval_ns * interval_ns
            commands = ControlCommands(items=(Tick(tick_ns=tick_ns, at_ns=tick_ns),))
            outputs.produce(CONTROL, 0, codec.encode(commands))
            outputs.serve()

    return tick
