"""What most commands open on a running engine: its log to read, the desk to act."""

from collections.abc import Iterator
from contextlib import contextmanager

from infra.acts import Actor
from infra.auditor.log import KafkaLog
from infra.cluster import connected, counts_of
from infra.desk import Desk
from infra.settings import Settings


@contextmanager
def engine_log(settings: Settings, *, as_stored: bool = False) -> Iterator[KafkaLog]:
    """Open the engine's topics for reading; raises as `connected`. `as_stored` is a KafkaLog's."""
    with connected(settings) as kafka:
        log = KafkaLog(kafka, as_stored=as_stored)
        try:
            yield log
        finally:
            log.close()


@contextmanager
def open_desk(settings: Settings, timeout_s: float) -> Iterator[Desk]:
    """Open the line to the engine, for whoever runs this; raises as `connected`."""
    with (
        connected(settings) as kafka,
        Desk(kafka, counts_of(settings), timeout_s, Actor.of(settings)) as desk,
    ):
        yield desk
