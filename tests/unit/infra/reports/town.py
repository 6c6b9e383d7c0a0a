"""Some days of a whole engine in memory, sealed: the log that reports are made of."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from agents.rules.audit import Chain, Sealed
from infra.auditor.log import LogRecord, Place
from infra.reports.day import Day
from infra.reports.run import Order, from_log
from infra.sealing.keys import generate, private
from infra.settings import Settings
from schemas import codec
from schemas.topics import BY_NAME, SEALS, is_sealed
from tests.unit.infra.auditor.engine import (
    COUNTS,
    ENV,
    START_NS,
    Engine,
    MemoryLog,
    open_market,
    trade_at_random,
)

FIRST_DAY: Final = Day(START_NS // (86_400 * 10**9))
JOURNAL: Final = (SEALS, 0)


class Town:
    """An engine that traded, and a folder for its key and its reports."""

    def __init__(self, folder: Path, seed: int = 7, steps: int = 500) -> None:
        self.folder = folder
        self.settings = Settings(
            env=ENV, data_folder=folder, account_partitions=COUNTS.accounts, book_partitions=COUNTS.books
        )
        self.engine = Engine()
        open_market(self.engine)
        trade_at_random(self.engine, seed, steps)
        self.engine.checkpoint()
        self.log = self.engine.log
        seal(self.log, folder)

    @property
    def days(self) -> list[Day]:
        """All days on which there was trading, the last one not over."""
        return [Day(number) for number in range(FIRST_DAY.number, FIRST_DAY.number + 6)]

    def make(
        self, name: str, day: Day | None = None, suffix: str = ".csv", log: MemoryLog | None = None
    ) -> Any:
        """A report of the log, or of a spoiled one."""
        asked = Order(name, day or self.days[2], self.folder / "out", suffix)
        return from_log(asked, self.settings, log or self.log, "memory")


def seal(log: MemoryLog, folder: Path) -> None:
    """Seals all of a log, the last segments too."""
    generate(folder / "audit" / "seal.key")
    key = private(Settings(data_folder=folder))
    for place, records in list(log.records.items()):
        if place[0] in BY_NAME and is_sealed(BY_NAME[place[0]]) and records:
            chain = Chain(*place, 0, None, key)
            append(log, chain.take(records))
            append(log, [chain.close()])


def append(log: MemoryLog, sealed: Iterable[Sealed]) -> None:
    """Writes seals."""
    for it in sealed:
        end = log.bounds(JOURNAL)[1]
        log.records[JOURNAL].append(LogRecord(end, 0, None, codec.encode(it.seal)))


def spoiled(town: Town, place: Place, keep: Any) -> MemoryLog:
    """A copy of the log, with the records of a place that are kept."""
    log = town.log.copy()
    log.records[place] = [it for it in log.records[place] if keep(it)]
    return log
