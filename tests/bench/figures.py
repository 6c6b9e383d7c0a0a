"""What a benchmark found: figures beside their goals, as a table or as JSON."""

from collections.abc import Sequence
from typing import Literal

import msgspec
from rich.console import Console
from rich.table import Table

Bound = Literal["at least", "at most"]


class Goal(msgspec.Struct, frozen=True):
    """What issue or design ask of a figure."""

    bound: Bound
    value: float

    def is_met(self, value: float) -> bool:
        """Whether a value is good enough."""
        return value >= self.value if self.bound == "at least" else value <= self.value


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table; ``part`` is the name by which ``--only`` runs it."""

    part: str
    what: str
    value: float
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the goal was met; None where there is none."""
        return None if self.goal is None else self.goal.is_met(self.value)


def as_json(figures: Sequence[Figure]) -> str:
    """A list of objects, each with ``is_met``."""
    lines = [msgspec.to_builtins(it) | {"is_met": it.is_met} for it in figures]
    return msgspec.json.format(msgspec.json.encode(lines)).decode()


def show(figures: Sequence[Figure]) -> None:
    """The table, and below it the goals that were missed."""
    table = Table("part", "what", "value", "goal", "", "note")
    for it in figures:
        goal = f"{it.goal.bound} {_number(it.goal.value)}" if it.goal else ""
        met = {None: "", True: "met", False: "MISSED"}[it.is_met]
        table.add_row(it.part, it.what, f"{_number(it.value)} {it.unit}", goal, met, it.note)
    console = Console(width=None if Console().is_terminal else 200)
    console.print(table)
    missed = [it for it in figures if it.is_met is False]
    for it in missed:
        console.print(f"MISSED: {it.what}: {_number(it.value)} {it.unit}")
    judged = sum(it.is_met is not None for it in figures)
    console.print(f"{judged - len(missed)} of {judged} goals met")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
