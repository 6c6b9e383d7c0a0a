"""The pure part imports no clock, chance, network or process, however deep in a function, and reads no clock.

import-linter follows whole packages; this reads every file of the pure part, so that tables, which has two
shells among its files, is held to the rule too, and so is `datetime.now`, which is no import.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN = {
    "aiohttp",
    "aiokafka",
    "asyncio",
    "confluent_kafka",
    "faust",
    "os",
    "random",
    "rocksdict",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
SHELLS = ("tables.checkpointed", "tables.declared")
# They run when the codec is built and chosen; what it gives is the same, byte for byte.
EXEMPT = ("schemas.codec.build", "schemas.codec.engine")
CLOCKS = {"now", "utcnow", "today"}


def pure_files() -> Iterator[Path]:
    """Every file of schemas, tables and agents/rules but the shells."""
    for folder in ("schemas", "tables", "agents/rules"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not module_of(path).startswith((*SHELLS, *EXEMPT)):
                yield path


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def violations(tree: ast.AST) -> Iterator[str]:
    """What a file imports or calls that it must not."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (a.name for a in names if is_forbidden(a.name))
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{a.name}" for a in names if is_forbidden(f"{module}.{a.name}"))
            case ast.Attribute(value=ast.Name(id="datetime" | "date") | ast.Attribute(), attr=attr):
                if attr in CLOCKS:
                    yield f"datetime.{attr}"
            case _:
                pass


def is_forbidden(name: str) -> bool:
    """Whether an imported name is a forbidden library or a shell of this house."""
    return name.partition(".")[0] in FORBIDDEN or name.startswith(SHELLS)


@pytest.mark.parametrize("path", list(pure_files()), ids=module_of)
def test_file_is_pure(path: Path) -> None:
    """This file of the pure part imports and calls nothing that differs from run to run."""
    assert list(violations(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "from os import path",
        "import datetime; datetime.datetime.now()",
        "def f(): import random",
        "from tables.checkpointed import store",
        "from tables import declared",
    ],
)
def test_violation_is_found(line: str) -> None:
    """Each way out of the pure part is seen."""
    assert list(violations(ast.parse(line))) != []
