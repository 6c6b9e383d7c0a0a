"""What the engine makes of its settings: workers, their names, ports and environment."""

import json
from pathlib import Path

import pytest

from infra.engine import ARCHIVE_WORKER, SINK_WORKER, Engine, EngineError
from infra.settings import Settings
from infra.workers import Worker


@pytest.mark.parametrize(
    ("text", "worker"),
    [
        ("risk", Worker(("risk",))),
        ("risk+settlement", Worker(("risk", "settlement"))),
        ("matching@b", Worker(("matching",), "b")),
        ("control+intake@b#1", Worker(("control", "intake"), "b", "1")),
    ],
)
def test_worker_is_read_and_named_alike(text: str, worker: Worker) -> None:
    """An entry of the setting `workers` is the name that the worker has."""
    assert Worker.parse(text) == worker
    assert worker.name == text


def test_child_reads_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a child gives it these settings exactly, secrets and lists included."""
    settings = Settings.load(
        data_folder=tmp_path,
        views_token="t",  # noqa: S106
        workers=("risk", "matching@b"),
        embedded_broker=False,
        linger_ms=0.5,
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings.load() == settings


def test_each_worker_has_its_own_view(tmp_path: Path) -> None:
    """Workers get one port after the other, in their order; port 0 gives each another free one."""
    made = Engine(Settings.load(data_folder=tmp_path, views_port=8600, workers=("risk", "matching@b")))
    assert made.views == {"risk": "http://127.0.0.1:8600", "matching@b": "http://127.0.0.1:8601"}
    free = Engine(Settings.load(data_folder=tmp_path, views_port=0, workers=("risk", "matching")))
    assert len(set(free.views.values())) == 2


def test_the_archive_has_a_worker_of_its_own(tmp_path: Path) -> None:
    """With sinks an engine also runs the projection and, unless told otherwise, the worker that watches the archive."""
    sinks = {"data_folder": tmp_path, "views_port": 0, "workers": ("risk",), "sinks": True}
    assert list(Engine(Settings.load(**sinks)).views) == ["risk", SINK_WORKER, ARCHIVE_WORKER]
    assert list(Engine(Settings.load(**sinks, archive=False)).views) == ["risk", SINK_WORKER]


def test_embedded_broker_on_a_cluster_is_refused(tmp_path: Path) -> None:
    """A cluster's address with the embedded broker on is refused, naming both variables."""
    with pytest.raises(
        EngineError, match=r"TRADING_KAFKA_BOOTSTRAP=kafka1:9092 .*TRADING_EMBEDDED_BROKER=false"
    ):
        Engine(Settings.load(data_folder=tmp_path, kafka_bootstrap="kafka1:9092"))


def test_workers_setting_is_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """TRADING_WORKERS is a JSON list."""
    monkeypatch.setenv("TRADING_WORKERS", json.dumps(["risk+matching"]))
    assert Settings.load().workers == ("risk+matching",)
