"""A section as a Faust table: declared, started and looked up as any, written by the stage's rules alone.

What a Faust table does to its changelog a value at a time is done by the stage, for all of its tables at once: a
checkpoint (``agents.stage.checkpoint``) stands in for the log of each change, and ``agents.stage.recovery`` for
Faust's recovery, which hangs over a transactional changelog (the commit marker at the end is never delivered).
"""

from typing import Any, NoReturn

from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.tables.table import Table
from faust.types import TP

from tables.checkpointed.rows import NotOwned, Rows


class CheckpointedTables(TableManager):
    """Manages tables whose changelog Faust neither subscribes to nor reads."""

    def __bool__(self) -> bool:
        """Tells Faust's recovery that there is nothing for it to recover, however many tables there are.

        It asks just this, and then waits for the stage's own recovery (``BatchConsumer.seek_to_committed``)
        before it lets records flow; with tables to recover it would let them flow first.
        """
        return False

    def add(self, table: Any) -> Any:
        """Registers a table by its name, and no changelog."""
        if table.name in self:
            raise ValueError(f"there is a table {table.name!r} already")
        self[table.name] = table
        return table

    async def on_start(self) -> None:
        """Starts the tables; Faust waits a second here for its changelogs."""
        await self._update_channels()
        await self.recovery.start()

    async def _update_channels(self) -> None:
        self._tables_finalized.set()
        for table in self.values():
            await table.maybe_start()
        self._tables_registered.set()


class CheckpointedStore(Store[Any, Any]):
    """What a table reads: the live rows. Whatever would change them or their files, it refuses."""

    def __init__(self, table: "CheckpointedTable", rows: Rows[Any, Any]) -> None:
        """``rows`` knows the partitions."""
        super().__init__("checkpointed://", table.app, table)
        self.data = rows

    def persisted_offset(self, tp: TP) -> int | None:
        """The last changelog offset of a partition's last checkpoint; None where the partition is not here."""
        try:
            return self.data.partitions.changelog_end(tp.partition) - 1
        except NotOwned:
            return None

    async def need_active_standby_for(self, tp: TP) -> bool:
        """No: a hot replica is an app of its own (design, rule 9)."""
        del tp
        return False

    def set_persisted_offset(self, tp: TP, offset: int) -> NoReturn:
        """Refused."""
        self._refuse(f"does not take offset {offset} of {tp.topic}: a checkpoint alone moves it")

    def apply_changelog_batch(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        self._refuse("takes no changelog from Faust: the stage's recovery reads it")

    def reset_state(self) -> NoReturn:
        """Refused."""
        self._refuse(
            "is never reset alone: stop the worker and remove its folder under state, for all tables"
        )

    async def backup_partition(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        self._refuse("has its changelog as its backup: a local store that is lost is rebuilt from that")

    def restore_backup(self, *_: Any, **__: Any) -> NoReturn:
        """Refused."""
        self._refuse("has its changelog as its backup: start the worker, and it is read")

    def _refuse(self, why: str) -> NoReturn:
        raise NotImplementedError(f"table {self.table_name} {why}")


class CheckpointedTable(Table[Any, Any]):
    """A section of a stage; ``tables.declared`` declares one for each."""

    def __init__(self, app: Any, *, rows: Rows[Any, Any], **options: Any) -> None:
        """As any Faust table; ``rows`` is what it shows."""
        super().__init__(app, **options)
        self._rows = rows

    def copy(self) -> dict[Any, Any]:
        """The rows that are here, as they were."""
        return dict(self._rows.items())

    def on_key_set(self, key: Any, value: Any) -> NoReturn:
        """Refused."""
        del value
        self._refuse(key)

    def on_key_del(self, key: Any) -> NoReturn:
        """Refused."""
        self._refuse(key)

    def on_clear(self) -> NoReturn:
        """Refused."""
        self._refuse("all")

    def _new_store(self) -> CheckpointedStore:
        return CheckpointedStore(self, self._rows)

    def _refuse(self, what: Any) -> NoReturn:
        raise TypeError(
            f"table {self.name} is read only, so {what!r} stays: its stage's rules alone change it"
        )
