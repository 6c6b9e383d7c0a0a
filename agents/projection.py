"""The projection: the lists on the engine's topics become the flat records that databases keep.

An edge, not a stage: it keeps no state, so it may read many topics. A source record gives the same flat
records under the same keys whenever it is read, and its place is committed after the broker has taken them:
what a crash makes it say again is the same row again. The states of orders are a stage's (``order_states``).
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from agents.rules.projection import BY_TOPIC, EDGE, Flat, Source, of_dead_letter
from agents.stage.errors import StartRefused
from agents.stage.fetch import Batch
from agents.stage.fold import InboxRecord, Output
from schemas import codec
from schemas.envelopes import DeadLetter
from schemas.sinks import kafka_key

PROJECTION: Final = "projection"


class Projection:
    """Equal batches give equal outputs; it turns nothing away."""

    def __init__(self, epoch: int) -> None:
        """``epoch`` is the engine's."""
        self._epoch = epoch
        self.refused: Counter[tuple[str, str]] = Counter()
        self.dead_letters: Counter[tuple[str, str]] = Counter()

    def decide(self, batch: Batch) -> Iterator[Output]:
        """The flat records of each source record in turn; StartRefused for one that cannot be read."""
        for record in batch.records:
            for topic, row in self._flatten(batch, record):
                yield Output((topic,), batch.partition, codec.encode(row), kafka_key(row))

    def _flatten(self, batch: Batch, record: InboxRecord) -> Iterator[Flat]:
        envelope = _read(batch, record)
        if isinstance(envelope, DeadLetter):
            yield of_dead_letter(envelope, self._epoch)
            return
        flatten, origin = BY_TOPIC[batch.topic], envelope.origin
        who = EDGE if origin is None else f"{origin.stage}-{origin.partition}"
        sequence = record.offset if origin is None else origin.sequence
        for index, item in enumerate(envelope.items):
            yield from flatten(
                item, Source(self._epoch, f"{who}/{batch.topic}", batch.partition, sequence, index)
            )


def _read(batch: Batch, record: InboxRecord) -> Any:
    try:
        return codec.decode(record.value)
    except codec.DecodeError as error:
        raise StartRefused(
            f"{batch.topic} holds what cannot be read: {error}. Start a newer version; past what is no engine's"
            " record, set the group's offset by Kafka's own tools",
            partition=batch.partition,
            offset=record.offset,
        ) from error
