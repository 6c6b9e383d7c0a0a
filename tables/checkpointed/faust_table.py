"""The Faust side of a checkpointed table: declared, started and looked up as any Faust table.

Faust's own recovery is turned off, since over a transactional changelog it hangs (the commit marker at the
end is never delivered): ``agents.stage.recovery`` stands in for it.
"""

from collections.abc import Callable, Iterator
from typing import Any

from faust.stores.base import Store
from faust.tables.manager import TableManager
from faust.tables.table import Table

Look = Callable[[str, Any], Any]


class CheckpointedTables(TableManager):
    """Manages tables that bring their own changelog: Faust subscribes to none of them."""

    def add(self, table: Any) -> Any:
        """Registers a table under its name, without a changelog topic for Faust to read."""
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
    """A stage's rows under (section, key), read only: rules alone change them."""

    def __init__(self, table: "CheckpointedTable", **options: Any) -> None:
        """``table`` knows the partitions."""
        super().__init__("checkpointed://", table.app, table, **options)
        self._owner = table

    def __getitem__(self, key: tuple[str, Any]) -> Any:
        """The row of a section; KeyError."""
        return self._owner.look(*key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("rules alone change this table")

    def __delitem__(self, key: Any) -> None:
        raise TypeError("rules alone change this table")

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def apply_changelog_batch(self, *_args: Any, **_options: Any) -> None:
        """Faust reads no changelog of ours."""
        raise TypeError("a checkpointed table is recovered by its own store")

    def reset_state(self) -> None:
        """Local state is wiped by recovery, when the changelog says so."""


class CheckpointedTable(Table[Any, Any]):
    """A stage's tables, sections of one store; ``look`` finds a row by section and key."""

    def __init__(self, app: Any, *, name: str, look: Look) -> None:
        """Registers itself with the app's table manager."""
        super().__init__(app, name=name)
        self.look = look
        app.tables.add(self)

    def _new_store(self) -> CheckpointedStore:
        return CheckpointedStore(
            self,
            table_name=self.name,
            key_type=None,
            value_type=None,
            key_serializer=None,
            value_serializer=None,
        )

    async def on_start(self) -> None:
        """The changelog is made by the worker, with the settings a transactional one needs."""
        await self.add_runtime_dependency(self.data)
