"""How much of the work that may touch many accounts one inbox record does; the rest waits for the next tick."""

from agents.rules.outbox import Place


class Budget:
    """A number of steps, whole again with every record.

    It is no state: where a stage starts anew it starts with a record, and so with the whole.
    """

    __slots__ = ("_left", "_offset", "_whole")

    def __init__(self, whole: int) -> None:
        """``whole`` is what each record has."""
        self._whole = self._left = whole
        self._offset = -1

    def left(self, place: Place) -> int:
        """What the record at this place has left, zero or more."""
        if place.offset != self._offset:
            self._offset, self._left = place.offset, self._whole
        return self._left

    def spend(self, steps: int) -> None:
        """Takes steps off what the record has left; the last of them may have been greater than that."""
        self._left = max(self._left - steps, 0)
