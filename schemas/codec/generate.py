"""``python -m schemas.codec.generate [--release]``: writes the .avsc files from the Structs.

Without a flag it rewrites the current schemas (``NAME.avsc``). With ``--release`` every type whose schema
differs from its last release (docs apart) gets a new version file and the next free id.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import msgspec

from schemas.codec import registry
from schemas.codec.derive import WIRE_TYPES, derive, file_stem
from schemas.record import Record


def current_files() -> dict[str, str]:
    """File name -> text of every current schema, as derived from the Structs."""
    return {f"{file_stem(record)}.avsc": _text(derive(record)) for record in WIRE_TYPES}


def without_docs(schema: Any) -> Any:
    """A schema with every ``doc`` taken away: what two releases are compared by."""
    match schema:
        case dict():
            return {key: without_docs(value) for key, value in schema.items() if key != "doc"}
        case list():
            return [without_docs(branch) for branch in schema]
        case _:
            return schema


def write(folder: Path = registry.AVRO, *, release: bool = False) -> list[str]:
    """Writes the current schemas, and with ``release`` the new versions; gives what was released."""
    for name, text in current_files().items():
        (folder / name).write_text(text)
    return _release(folder) if release else []


def _release(folder: Path) -> list[str]:
    releases = registry.read(folder)
    changed = [record for record in WIRE_TYPES if _differs(record, releases, folder)]
    for record in changed:
        before = releases.get(record.__name__, ())
        last = max((entry.id for entries in releases.values() for entry in entries), default=0)
        file = f"released/{file_stem(record)}.v{len(before) + 1}.avsc"
        (folder / "released").mkdir(exist_ok=True)
        (folder / file).write_text(_text(derive(record)))
        releases[record.__name__] = (*before, registry.Release(last + 1, file))
    (folder / "registry.json").write_text(_text(msgspec.to_builtins(releases)))
    return [releases[record.__name__][-1].file for record in changed]


def _differs(record: type[Record], releases: registry.Registry, folder: Path) -> bool:
    entries = releases.get(record.__name__)
    return not entries or without_docs(derive(record)) != without_docs(
        registry.load(entries[-1].file, folder)
    )


def _text(document: Any) -> str:
    return json.dumps(document, indent=2) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Writes the Avro schemas from the Structs.")
    parser.add_argument("--release", action="store_true", help="give changed types a new version and id")
    for file in write(release=parser.parse_args().release):
        print(f"released {file}")  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
