"""How a worker process is named: in the settings, in its files, on its command line."""

import sys
from pathlib import Path
from typing import NamedTuple, Self

FIRST_REPLICA = "a"
FIRST_NUMBER = "0"


class Worker(NamedTuple):
    """A worker: its stages, which replica of them, and its number among the workers of that replica."""

    stages: tuple[str, ...]
    replica: str = FIRST_REPLICA
    number: str = FIRST_NUMBER

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an entry of the setting `workers`: `risk`, `risk+settlement`, `matching@b`, `risk#1`."""
        text, _, number = text.partition("#")
        stages, _, replica = text.partition("@")
        return cls(tuple(stages.split("+")), replica or FIRST_REPLICA, number or FIRST_NUMBER)

    @property
    def name(self) -> str:
        """What its log and its last words are called, as in the settings: `risk+settlement`, `matching@b`."""
        replica = "" if self.replica == FIRST_REPLICA else f"@{self.replica}"
        number = "" if self.number == FIRST_NUMBER else f"#{self.number}"
        return "+".join(self.stages) + replica + number

    def command(self) -> tuple[str, ...]:
        """Its command line."""
        options = ("--replica", self.replica, "--worker", self.number)
        return (sys.executable, "-m", "infra.cli", "worker", *self.stages, *options)

    def last_words(self, data_folder: Path) -> Path:
        """Where it leaves its `LastWords` when it ends by itself; the supervisor looks there."""
        return data_folder / "run" / f"{self.name}.last-words.json"
