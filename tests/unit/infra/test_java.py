"""Which Java runs the broker, and what is said when it is the wrong one."""

import subprocess
from pathlib import Path

import pytest

from infra.embedded.java import JavaError, java


def home(folder: Path, version: str) -> Path:
    """Lay out a Java's folder as every JRE does."""
    (folder / "bin").mkdir()
    (folder / "bin" / "java").write_text("#!/bin/sh\n")
    (folder / "bin" / "java").chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="Somebody"\nJAVA_VERSION="{version}"\n')
    return folder


def test_java_of_the_wheel_runs() -> None:
    """The default needs nothing installed."""
    subprocess.run([java(), "-version"], check=True, capture_output=True)


@pytest.mark.parametrize(("version", "said"), [("1.8.0_402", "Java 8"), ("11.0.2", "Java 11")])
def test_old_java_is_refused(tmp_path: Path, version: str, said: str) -> None:
    """A Java too old for Kafka is refused by its number, with what to do."""
    with pytest.raises(JavaError, match=rf"is {said}, but Kafka needs 17 or newer: unset TRADING_JAVA_HOME"):
        java(home(tmp_path, version))


def test_newer_java_is_taken(tmp_path: Path) -> None:
    """Any Java that Kafka supports may be named."""
    assert java(home(tmp_path, "21.0.1")) == tmp_path / "bin" / "java"


def test_folder_without_java_is_refused(tmp_path: Path) -> None:
    """A folder that is no Java home is refused, naming the file that is missing."""
    with pytest.raises(JavaError, match="java does not exist"):
        java(tmp_path)
