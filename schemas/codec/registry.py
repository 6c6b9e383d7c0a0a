"""The file-based registry: which released schemas a wire type has, each with an id for ever.

``schemas/avro/registry.json`` lists them, oldest first; ``schemas/avro/NAME.avsc`` is the current schema of
a type and equals its last release (but for docs). Ids are never reused, and never change their meaning.
"""

from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec

CODEC: Final = Path(__file__).parent
AVRO: Final = CODEC.parent / "avro"


class Release(msgspec.Struct, frozen=True):
    """A released schema: its id on the wire and its file under ``schemas/avro``."""

    id: int
    file: str


Registry = dict[str, tuple[Release, ...]]
"""Type name -> its releases, oldest first; values are written under the last one's id."""


def read(folder: Path = AVRO) -> Registry:
    """The registry of a folder; empty where there is none yet."""
    path = folder / "registry.json"
    return msgspec.json.decode(path.read_bytes(), type=Registry) if path.exists() else {}


def load(file: str, folder: Path = AVRO) -> dict[str, Any]:
    """One schema file as parsed JSON."""
    return msgspec.json.decode((folder / file).read_bytes(), type=dict[str, Any])


def fingerprint() -> str:
    """Gives the digest of all that the compiled codec is made from: one that bears another is stale."""
    digest = sha256()
    for path in sorted(
        [*AVRO.glob("*.avsc"), AVRO / "registry.json", *CODEC.glob("*.py"), *CODEC.glob("*.pyx")]
    ):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
