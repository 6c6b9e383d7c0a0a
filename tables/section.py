"""A stage's state: named sections of immutable rows that remember which keys a checkpoint must write."""

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

K = TypeVar("K")
V = TypeVar("V")

_CODES_END = 128
Change = tuple[bytes, bytes | None]
"""A key and its new value on the changelog; None removes the key."""


# The hottest calls of the rules: super() would double their price.
_set = dict.__setitem__
_delete = dict.__delitem__


class Row(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The base of table values: immutable, stored as a msgpack array; a field added later needs a default."""


class Section(dict[K, V], Generic[K, V]):
    """A mapping whose changes since the last checkpoint are known.

    A key that is made and removed between two checkpoints leaves no trace: it was never written. Iteration
    is in the order of making, which a restored state does not repeat: rules that emit sort.
    """

    def __init__(self, name: str, code: int, key_type: Any, row_type: type[V]) -> None:
        """``code`` (one byte) stands before each key on the changelog and never changes."""
        super().__init__()
        self.name = name
        self.code = code
        self._dirty: dict[K, V | None] = {}  # what changed since the last checkpoint; None: removed
        self._born: set[K] = set()  # of these, what was not there then
        self._prefix = bytes((code,))
        self._key_decoder = msgspec.msgpack.Decoder(key_type)
        self._row_decoder = msgspec.msgpack.Decoder(row_type)
        self._keys_decoder: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(list[int | key_type])
        self._rows_decoder = msgspec.msgpack.Decoder(list[row_type])  # type: ignore[valid-type]
        self._encoder = msgspec.msgpack.Encoder()

    def __setitem__(self, key: K, row: V) -> None:
        """Sets a row, which must be immutable."""
        dirty = self._dirty
        if key not in self and key not in dirty:
            self._born.add(key)
        dirty[key] = row
        _set(self, key, row)

    def __delitem__(self, key: K) -> None:
        """Removes a row; KeyError where there is none."""
        _delete(self, key)
        if key in self._born:
            self._born.remove(key)
            del self._dirty[key]
        else:
            self._dirty[key] = None

    def pop(self, key: K, *default: Any) -> Any:
        """As dict.pop, and the change is remembered."""
        row = self.get(key)
        if row is None:
            if default:
                return default[0]
            raise KeyError(key)
        del self[key]
        return row

    @property
    def dirty_count(self) -> int:
        """How many keys the next checkpoint writes."""
        return len(self._dirty)

    def take_dirty(self) -> dict[K, V | None]:
        """The changed keys with their rows (None: removed), which count as written from here on.

        No loop: the fold waits for it.
        """
        changed, self._dirty, self._born = self._dirty, {}, set()
        return changed

    def mark_all(self) -> None:
        """Counts every row as changed: the next checkpoint writes all of it."""
        self._dirty.update(self)

    def encode(self, key: K, row: V | None) -> Change:
        """A change in the form of the changelog."""
        encode = self._encoder.encode
        return self._prefix + encode(key), None if row is None else encode(row)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Takes a committed change from the changelog or the local store; it does not count as changed."""
        name = self._key_decoder.decode(memoryview(key)[1:])
        if value is None:
            super().pop(name, None)
        else:
            super().__setitem__(name, self._row_decoder.decode(value))

    def load_rows(self, keys: list[bytes], values: list[bytes]) -> None:
        """Takes many rows as ``load`` does, in less than half the time a row.

        In msgpack an array is its length, and its items one after the other; the section's code before a key is
        an integer there, too.
        """
        codes_and_names = self._keys_decoder.decode(_array(2 * len(keys)) + b"".join(keys))
        rows = self._rows_decoder.decode(_array(len(values)) + b"".join(values))
        super().update(zip(codes_and_names[1::2], rows, strict=True))


def _array(length: int) -> bytes:
    """The head of a msgpack array (its "array 32")."""
    return b"\xdd" + length.to_bytes(4)


class Tables:
    """The sections of one partition of one stage; subclasses name them."""

    def __init__(self) -> None:
        """Starts empty."""
        self.sections: dict[int, Section[Any, Any]] = {}

    def _section(self, name: str, code: int, key_type: Any, row_type: type[V]) -> Section[Any, V]:
        assert code not in self.sections, f"section code {code} is taken by {self.sections[code].name}"
        assert 0 < code < _CODES_END, "code 0 is META's, and a greater one is no msgpack integer of one byte"
        section: Section[Any, V] = Section(name, code, key_type, row_type)
        self.sections[code] = section
        return section

    @property
    def dirty_count(self) -> int:
        """How many keys the next checkpoint writes."""
        return sum(section.dirty_count for section in self.sections.values())

    def take_dirty(self) -> list[tuple[Section[Any, Any], dict[Any, Any]]]:
        """All changes since the last call, by section: key -> row or None."""
        return [(section, section.take_dirty()) for section in self.sections.values() if section.dirty_count]

    def mark_all(self) -> None:
        """Counts every row as changed, for a changelog that holds none of them."""
        for section in self.sections.values():
            section.mark_all()

    def load(self, key: bytes, value: bytes | None) -> None:
        """Takes one committed change; KeyError for a section that this version does not know."""
        self.sections[key[0]].load(key, value)

    def entries(self) -> Iterator[Change]:
        """Every row in the form of the changelog, sorted by key: equal states give equal entries."""
        rows = (
            section.encode(key, row) for section in self.sections.values() for key, row in section.items()
        )
        return iter(sorted(rows, key=lambda change: change[0]))
