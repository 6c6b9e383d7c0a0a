"""The local store on RocksDB: one database for each partition of each app, one cache for all of them.

It holds committed values only, and the changelog offset it is complete to moves last. A crash between two
slices leaves keys that are newer than that offset; reading the changelog from it applies them once more.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from tables.checkpointed.ports import StoreBroken, StoreState, StoreUnwritable
from tables.section import Change

STATE_KEY: Final = b"\xff"  # sorts behind every section
SLICE: Final = 100  # entries a write: a hundred microseconds, so that the fold's thread is not held up
SLICES: Final = 2_000  # at most: a copy must end before as much again has changed
CACHE: Final = Cache(32 * 2**20)  # shared: reads happen at start only


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 - the binding takes no keyword
    options.set_paranoid_checks(True)
    options.set_write_buffer_size(16 * 2**20)
    options.set_max_open_files(64)
    options.set_keep_log_file_num(2)
    table = BlockBasedOptions()
    table.set_block_cache(CACHE)
    options.set_block_based_table_factory(table)
    return options


class RocksStore:
    """A ``LocalStore`` in a folder of its own; opened at first use."""

    def __init__(self, folder: Path) -> None:
        """Nothing is read or made before the first call."""
        self._folder = folder
        self._db: Rdict | None = None

    def state(self) -> StoreState | None:
        """What the store stands for; None if it is empty or broken."""
        try:
            value = self._opened().get(STATE_KEY)
            return None if value is None else StoreState(*msgspec.msgpack.decode(value, type=tuple[int, int]))
        except StoreBroken:
            return None
        except Exception:  # noqa: BLE001 - the binding raises plain Exception for whatever RocksDB says
            return None

    def entries(self) -> Iterator[tuple[bytes, bytes]]:
        """Every committed row, sorted by key; StoreBroken if what was written cannot be read.

        The cursor is asked for its status at the end: at a block with a wrong checksum it merely stops.
        """
        cursor = self._opened().iter()
        cursor.seek_to_first()
        while cursor.valid():
            key = cursor.key()
            if key != STATE_KEY:
                yield key, cursor.value()
            cursor.next()
        try:
            cursor.status()
        except Exception as error:
            raise StoreBroken(f"{self._folder}: {error}") from error

    def write(
        self, entries: Iterable[Change], next_offset: int, between: Callable[[], None] = lambda: None
    ) -> None:
        """Writes changes and, last, the changelog offset they are complete to; StoreUnwritable if it cannot."""
        changes = list(entries)
        slice_ = max(SLICE, len(changes) // SLICES)
        for start in range(0, len(changes), slice_):
            self._write_slice(changes[start : start + slice_])
            between()
        with self._writing() as db:
            db.put(STATE_KEY, msgspec.msgpack.encode((next_offset, time.time_ns())))

    def _write_slice(self, part: list[Change]) -> None:
        with self._writing() as db:
            batch = WriteBatch(raw_mode=True)
            for key, value in part:
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            db.write(batch)

    @contextmanager
    def _writing(self) -> Iterator[Rdict]:
        try:
            yield self._opened()
        except Exception as error:
            raise StoreUnwritable(f"{self._folder}: {error}; is the disk full?") from error

    def wipe(self) -> None:
        """Removes all; StoreUnwritable if the folder cannot be removed."""
        self.close()
        try:
            shutil.rmtree(self._folder, ignore_errors=False)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnwritable(f"{self._folder} cannot be removed: {error}") from error

    def close(self) -> None:
        """Lets go of the files."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _opened(self) -> Rdict:
        if self._db is None:
            try:
                self._folder.parent.mkdir(parents=True, exist_ok=True)
                self._db = Rdict(str(self._folder), _options())
            except Exception as error:
                raise StoreBroken(f"{self._folder} cannot be opened: {error}") from error
        return self._db
