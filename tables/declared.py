"""A stage's sections declared as its Faust tables: ``app.tables["orders"][order_id]``.

A table bears its section's name (``tables/STAGE.py``); the app's id, ENV-STAGE-REPLICA, is what tells it from others.
"""

from typing import Any

from tables.checkpointed.rows import OwnedPartitions, Rows
from tables.section import Tables


def declare(app: Any, tables: Tables, partitions: OwnedPartitions, changelog: str) -> None:
    """Declares a table for each section, over the partitions that a worker of the stage owns.

    All have one changelog, since a checkpoint writes what changed in all of them in one transaction. ``app`` is
    a Faust app whose settings name ``CheckpointedTable`` and ``CheckpointedTables``.
    """
    topic = app.topic(changelog, key_type=bytes, value_type=bytes)
    for section in tables.sections.values():
        app.Table(
            section.name,
            rows=Rows(section, partitions),
            partitions=partitions.count,
            changelog_topic=topic,
            help=f"section {section.code} of {changelog}",
        )
