"""The servers' jars, fetched by coordinate and checked against the hashes of jars.lock.

jgo knows where Maven artefacts live; its own lock file records hashes and never checks them, so that is done
here, each time: a jar that is not what was locked is never put on a class path.
"""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

from jgo.maven import MavenContext, PythonResolver

from infra.errors import OperatorError

THREADS = 8
# A jar of a slow mirror may take a while to begin; jgo's default of 10 s is for a good line.
TIMEOUT_S = 60
MEGABYTE: Final = 1_000_000
# What a person calls the folders of jars.lock.
NAMES: Final = {"kafka": "Kafka", "registry": "the schema registry", "connect": "Connect's connectors"}
OnProgress = Callable[[int, int], object]
"""Gets the bytes that are there and checked, and all that are needed."""


class JarError(OperatorError):
    """A jar could not be fetched, or is not the one that was locked."""


class Jar(NamedTuple):
    """One line of jars.lock: an artefact of Maven's, the folder it belongs to, its size in bytes."""

    sha256: str
    coordinate: str
    folder: str
    size: int


def locked(*folders: str) -> tuple[Jar, ...]:
    """Give the locked jars of some folders (`kafka`, `registry`, `connect/debezium-jdbc`, ...)."""
    lines = (line.split() for line in (files("infra.embedded") / "jars.lock").read_text().splitlines())
    jars = (Jar(sha256, coordinate, folder, int(size)) for sha256, coordinate, folder, size in lines)
    return tuple(jar for jar in jars if jar.folder in folders)


def cache_folder() -> Path:
    """Where jars are kept: outside the checkout, shared by all engines of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trading-engine" / "jars"


def to_download(jars: Iterable[Jar], cache: Path) -> str:
    """Say what a fetch will bring and how much, `Kafka 56 MB, ...`; empty where nothing is missing.

    Told by sizes alone, at once: `fetch` reads every byte.
    """
    context = _context(cache)
    sizes: Counter[str] = Counter()
    for jar in jars:
        path = _artifact(jar, context).cached_path
        if not (path and path.exists() and path.stat().st_size == jar.size):
            sizes[NAMES[jar.folder.partition("/")[0]]] += jar.size
    return ", ".join(f"{name} {size / MEGABYTE:.0f} MB" for name, size in sizes.items())


def fetch(jars: tuple[Jar, ...], cache: Path, on_progress: OnProgress = lambda *_: None) -> tuple[Path, ...]:
    """Give the files of `jars`, in their order.

    What an interrupted fetch left whole is kept, so that a second try goes on where the first stopped.

    Raises:
        JarError: a jar cannot be had, or what came has another hash.

    """
    context, whole = _context(cache), sum(jar.size for jar in jars)
    there = accumulate(jar.size for jar in jars)
    paths = []
    with _lock(cache), ThreadPoolExecutor(THREADS) as threads:
        for path in threads.map(lambda jar: _fetch(jar, context), jars):
            paths.append(path)
            on_progress(next(there), whole)
    return tuple(paths)


def unpacked(jar: Jar, cache: Path) -> Path:
    """Give the folder that a locked `tar.gz` holds, fetched and unpacked beside it the first time.

    Raises:
        JarError: as `fetch`.

    """
    (archive,) = fetch((jar,), cache)
    folder = archive.with_name(f"unpacked-{jar.sha256[:16]}")
    with _lock(cache):
        if not folder.exists():  # made under another name, so that a kill cannot leave half of it
            half = Path(tempfile.mkdtemp(dir=archive.parent))
            shutil.unpack_archive(archive, half)  # its hash is locked: no name in it leads elsewhere
            half.rename(folder)
    return folder


def _fetch(jar: Jar, context: MavenContext) -> Path:
    artifact = _artifact(jar, context)
    cached = artifact.cached_path
    if cached and cached.exists() and _sha256(cached) != jar.sha256:
        cached.unlink()  # the rest of an interrupted fetch
    try:
        path = Path(artifact.resolve())
    except Exception as error:
        raise JarError(
            f"{jar.coordinate} could not be fetched: {error}."
            " Check the network (and HTTPS_PROXY), then run again: what is there is kept."
        ) from error
    if (found := _sha256(path)) != jar.sha256:
        path.unlink()
        raise JarError(f"{jar.coordinate} is refused: its sha256 is {found}, jars.lock says {jar.sha256}")
    return path


def _context(cache: Path) -> MavenContext:
    return MavenContext(repo_cache=cache, resolver=PythonResolver(), timeout=TIMEOUT_S)


def _artifact(jar: Jar, context: MavenContext) -> Any:
    group, name, packaging, *classifier, version = jar.coordinate.split(":")
    return context.project(group, name).at_version(version).artifact("".join(classifier), packaging)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _lock(cache: Path) -> Iterator[None]:
    """Let one process at a time write the cache: jgo writes a jar in place, where others would see half."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
