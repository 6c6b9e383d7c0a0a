"""What an audit found: a line for each check, with how much was checked and what breaks it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

EXAMPLES_MAX: Final = 5  # of the breaches of one check; the count tells the rest


class Tally:
    """One check: how many things were checked, how many break it, and the first of those in words.

    ``note`` says what the check could not look at, where it could not look at all.
    """

    __slots__ = ("_examples_max", "breaches", "count", "examples", "name", "note")

    def __init__(self, name: str, examples_max: int = EXAMPLES_MAX) -> None:
        self.name: Final = name
        self._examples_max = examples_max
        self.count = 0
        self.breaches = 0
        self.examples: list[str] = []
        self.note = ""

    def breach(self, text: str) -> None:
        """Counts a breach."""
        self.breaches += 1
        if len(self.examples) < self._examples_max:
            self.examples.append(text)

    def expect(self, truth: bool, text: str) -> None:
        """Checks one thing: `text` says what is wrong where it is not true."""
        self.count += 1
        if not truth:
            self.breach(text)

    def miss(self, text: str) -> None:
        """Counts a thing that should be, and is not; or is, and should not be."""
        self.count += 1
        self.breach(text)

    def equal(self, found: object, wanted: object, text: str) -> None:
        """Checks that two values are the same."""
        self.count += 1
        if found != wanted:
            self.breach(f"{text}: {found}, not {wanted}")


class Report:
    """The checks of an audit, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}

    def tally(self, name: str, examples_max: int = EXAMPLES_MAX) -> Tally:
        """The check of a name; made when it is first asked for, to name so many of its breaches."""
        return self._tallies.setdefault(name, Tally(name, examples_max))

    def __iter__(self) -> Iterator[Tally]:
        """The checks."""
        return iter(self._tallies.values())

    @property
    def breaches(self) -> int:
        """How many breaches there are in all."""
        return sum(tally.breaches for tally in self)

    def as_json(self) -> Mapping[str, Any]:
        """For `--json`: {"ok": bool, "checks": [{"check", "count", "breaches", "examples", "note"}]}."""
        checks = [
            {
                "check": tally.name,
                "count": tally.count,
                "breaches": tally.breaches,
                "examples": tally.examples,
                "note": tally.note,
            }
            for tally in self
        ]
        return {"ok": not self.breaches, "checks": checks}

    def lines(self) -> Iterator[str]:
        """For people: a line a check, and its first breaches below it."""
        for tally in self:
            verdict = f"{tally.breaches} BREACHES" if tally.breaches else "ok"
            note = f" ({tally.note})" if tally.note else ""
            yield f"{tally.count:>12,}  {tally.name}: {verdict}{note}"
            yield from (f"{'':>14}- {example}" for example in tally.examples)


@contextmanager
def found_by(tally: Tally, what: str) -> Iterator[None]:
    """Counts whatever goes wrong inside as a breach: a corrupt log must not stop the audit."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is reported, and the audit fails
        tally.breach(f"{what}: {error!r}")
