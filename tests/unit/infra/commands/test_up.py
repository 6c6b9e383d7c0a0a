"""`trading up` where the machine is not as it must be: one line that says what is wrong and what to set."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.cli import main
from tests.disks import NEEDS_ROOT, fill, small_disk


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def error_of(folder: Path, **settings: object) -> str:
    """The last line of a `trading up` that fails; all that comes before it are the phases of the start."""
    usual: dict[str, object] = {
        "data_folder": folder,
        "kafka_bootstrap": "127.0.0.1:0",
        "broker_controller_port": 0,
        "views_port": 0,
    }
    env = {f"TRADING_{name.upper()}": str(value) for name, value in (usual | settings).items()}
    result = CliRunner(env=env).invoke(main, ["up"])
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    last = result.output.splitlines()[-1]
    assert last.startswith("Error: "), result.output
    return last


@pytest.mark.parametrize("setting", ["kafka_bootstrap", "broker_controller_port"])
def test_a_port_of_the_broker_in_use(
    tmp_path: Path, taken: int, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port is named, with the settings that move it."""
    monkeypatch.setattr("infra.embedded.broker.PORT_WAIT_S", 0)
    value = f"127.0.0.1:{taken}" if setting == "kafka_bootstrap" else taken
    said = error_of(tmp_path, **{setting: value})
    assert f"port {taken} of 127.0.0.1 is in use" in said
    assert f"TRADING_{setting.upper()}" in said


def test_a_port_of_the_views_in_use(tmp_path: Path, taken: int) -> None:
    """The second worker's port is the first one's and one: it is named, with the setting that moves all."""
    said = error_of(tmp_path, views_port=taken - 1)
    assert f"port {taken} is in use: stop what listens there, or set TRADING_VIEWS_PORT" in said


def test_views_have_not_enough_ports(tmp_path: Path) -> None:
    """A first port so high that the last worker would have none is refused, with the highest that will do."""
    said = error_of(tmp_path, views_port=65_535)
    assert "TRADING_VIEWS_PORT=65535 leaves no ports for 6 workers: set it to 65530 at most" in said


@pytest.mark.parametrize(
    ("release", "program", "mode", "fault"),
    [
        ("11.0.2", "", 0o755, "is Java 11, but Kafka needs 17"),
        ("21.0.2", "", 0o644, "does not run (Permission denied)"),
        ("21.0.2", "no program", 0o755, "does not run (Exec format error)"),
        ("21.0.2", "#!/bin/sh\necho no libjvm >&2; exit 6", 0o755, "does not run (exit code 6: no libjvm)"),
    ],
    ids=["old", "not executable", "of another machine", "broken"],
)
def test_a_wrong_java(tmp_path: Path, release: str, program: str, mode: int, fault: str) -> None:
    """What is wrong with the Java that the settings name is said, with the setting."""
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(program)
    java.chmod(mode)
    (tmp_path / "java" / "release").write_text(f'JAVA_VERSION="{release}"\n')
    said = error_of(tmp_path / "data", java_home=tmp_path / "java")
    assert f"{java} {fault}" in said
    assert "unset TRADING_JAVA_HOME" in said


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """A data folder that cannot be made is named, with the system's reason and the setting."""
    (tmp_path / "data").touch()
    said = error_of(tmp_path / "data")
    assert f"{tmp_path / 'data'} cannot be used (File exists): set TRADING_DATA_FOLDER" in said


@NEEDS_ROOT
def test_a_full_disk(tmp_path: Path) -> None:
    """A disk without a byte, and one with too few for a broker, are said to be full, with the folder."""
    with small_disk(tmp_path, "1m"):
        assert f"the disk of {tmp_path / 'broker'} is full: 0 MB free" in error_of(tmp_path)
        fill(tmp_path / "ballast")
        (tmp_path / "lock").unlink()
        fill(tmp_path / "ballast")
        said = error_of(tmp_path)
        assert f"{tmp_path} cannot be used (No space left on device): free some space" in said
