"""What a report has to say about itself: why it is not complete, and what nobody could know."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

EXAMPLES_MAX: Final = 5


class Notes:
    """Collects while a report is made. A *reason* makes it incomplete, a *gap* of knowledge does not."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}
        self.unknown: Counter[tuple[str, str]] = Counter()

    def incomplete(self, reason: str, example: str | None = None) -> None:
        """Something is missing that should be here; the first examples are named, the others counted."""
        self._counts[reason] += 1
        if example is not None:
            examples = self._examples.setdefault(reason, [])
            if len(examples) < EXAMPLES_MAX and example not in examples:
                examples.append(example)

    def not_known(self, field: str, why: str) -> None:
        """A value that the engine does not know for this row; the field is left empty."""
        self.unknown[field, why] += 1

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each reason once, in their order, with examples and how often."""
        return tuple(self._line(reason, count) for reason, count in self._counts.items())

    def _line(self, reason: str, count: int) -> str:
        examples = self._examples.get(reason)
        if examples is None:
            return reason
        more = f" and {count - len(examples)} more" if count > len(examples) else ""
        return f"{reason}: {', '.join(examples)}{more}"

    def partly(self) -> list[Mapping[str, object]]:
        """Fields that are empty in some rows: which, why, in how many."""
        return [
            {"field": field, "why": why, "rows": count}
            for (field, why), count in sorted(self.unknown.items())
        ]
