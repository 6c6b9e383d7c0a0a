"""Kafka's jars, fetched by coordinate and checked against the hashes of jars.lock.

jgo knows where Maven artefacts live; its own lock file records hashes and never checks them, so that is done
here, each time: a jar that is not what was locked is never put on a class path.
"""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jgo.maven import MavenContext, PythonResolver

from infra.errors import OperatorError

THREADS = 8
# A jar of a slow mirror may take a while to begin; jgo's default of 10 s is for a good line.
TIMEOUT_S = 60


class JarError(OperatorError):
    """A jar could not be fetched, or is not the one that was locked."""


class Jar(NamedTuple):
    """One line of jars.lock."""

    sha256: str
    coordinate: str
    folder: str


def locked(folder: str) -> tuple[Jar, ...]:
    """Give the locked jars of a folder (`kafka`, `connect/iceberg`, ...)."""
    lines = (files("infra.embedded") / "jars.lock").read_text().splitlines()
    jars = (Jar(*line.split()) for line in lines)
    return tuple(jar for jar in jars if jar.folder == folder)


def cache_folder() -> Path:
    """Where jars are kept: outside the checkout, shared by all engines of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trading-engine" / "jars"


def fetch(jars: tuple[Jar, ...], cache: Path, done: Callable[[], object] = lambda: None) -> tuple[Path, ...]:
    """Give the files of `jars`, in their order; `done` is called as each is there and checked.

    What an interrupted fetch left whole is kept, so that a second try goes on where the first stopped.

    Raises:
        JarError: a jar cannot be had, or what came has another hash.

    """
    context = MavenContext(repo_cache=cache, resolver=PythonResolver(), timeout=TIMEOUT_S)

    def one(jar: Jar) -> Path:
        path = _fetch(jar, context)
        done()
        return path

    with _lock(cache), ThreadPoolExecutor(THREADS) as threads:
        return tuple(threads.map(one, jars))


def _fetch(jar: Jar, context: MavenContext) -> Path:
    group, name, packaging, *classifier, version = jar.coordinate.split(":")
    artifact = context.project(group, name).at_version(version).artifact("".join(classifier), packaging)
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
