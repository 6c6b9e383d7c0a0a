"""What every rule is given: where the item stands, and where its answers go."""

import msgspec

from schemas.ids import place_id
from schemas.record import Record


class Place(msgspec.Struct, frozen=True, gc=False):
    """The place of an item in its stage's inbox, and the engine time there (the greatest seen, UTC ns)."""

    partition: int
    offset: int
    index: int
    now_ns: int

    def id(self) -> int:
        """The id that something born of this item bears (see ``schemas.ids``)."""
        return place_id(self.partition, self.offset, self.index)


class Outbox:
    """The outputs of one inbox record: a list of items for each (channel, partition), in order of sending."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        """Starts empty, for one record."""
        self.items: dict[tuple[str, int], list[Record]] = {}

    def send(self, channel: str, partition: int, item: Record) -> None:
        """Adds an item for a partition of a channel (``schemas.topics.CHANNELS``)."""
        lane = self.items.get((channel, partition))
        if lane is None:
            self.items[channel, partition] = [item]
        else:
            lane.append(item)
