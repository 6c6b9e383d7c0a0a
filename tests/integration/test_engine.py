"""The engine as a whole on a real broker; the workers here are tiny, so that only the wiring is tested."""

import signal
import sys
from pathlib import Path

import pytest

from infra.engine import Engine, EngineError
from infra.processes import FolderInUseError, wait_until
from infra.settings import Settings
from infra.supervisor import State
from infra.topics_admin import existing, wanted
from infra.workers import Worker

READY = """
import http.server, os
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["TRADING_VIEWS_PORT"])), Ready).serve_forever()
"""
REFUSED = "raise SystemExit(72)"
TIMEOUT_S = 30


def settings_in(folder: Path) -> Settings:
    """An engine of two workers on free ports."""
    return Settings.load(
        data_folder=folder,
        kafka_bootstrap="127.0.0.1:0",
        broker_controller_port=0,
        views_port=0,
        workers=("control", "risk+settlement"),
    )


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each worker runs instead of its stages, by name."""
    scripts: dict[str, str] = {}

    def command(worker: Worker) -> tuple[str, ...]:
        return (sys.executable, "-c", scripts.get(worker.name, READY))

    monkeypatch.setattr(Worker, "command", command)
    return scripts


def until(engine: Engine, state: dict[str, State]) -> None:
    """Step until the workers are in this state."""

    def reached() -> bool:
        engine.step()
        return engine.supervisor.states() == state

    assert wait_until(reached, TIMEOUT_S), engine.supervisor.states()


@pytest.mark.usefixtures("scripts")
def test_engine_comes_up_survives_kills_and_comes_back(tmp_path: Path) -> None:
    """Killed broker and worker come back; after stop nothing runs, and a second start finds the topics."""
    ready = {"control": State.READY, "risk+settlement": State.READY}
    lines: list[str] = []
    engine = Engine(settings_in(tmp_path), lines.append)
    with engine:
        assert engine.supervisor.states() == ready
        assert engine.broker is not None
        with pytest.raises(FolderInUseError, match="is used by process"):
            Engine(settings_in(tmp_path)).start()
        engine.broker.kill()
        engine.supervisor.kill("control")
        until(engine, ready | {"control": State.WAITING})
        until(engine, ready)
        assert {topic.name for topic in wanted(engine.settings)} <= set(existing(engine.settings))
    assert any(line.startswith("the broker died") for line in lines)
    assert engine.broker.exit_code() == 128 + signal.SIGTERM
    assert engine.supervisor.pid("control") is None
    with Engine(settings_in(tmp_path)) as again:
        assert {topic.name for topic in wanted(again.settings)} <= set(existing(again.settings))


def test_worker_that_stays_down_fails_the_start(tmp_path: Path, scripts: dict[str, str]) -> None:
    """A start that is refused ends `start` at once with the worker's name, and nothing is left running."""
    scripts["control"] = REFUSED
    lines: list[str] = []
    engine = Engine(settings_in(tmp_path), lines.append)
    with pytest.raises(EngineError, match=r"control.* stay down: see"):
        engine.start()
    assert any(line.startswith("control stays down, its start was refused") for line in lines)
    assert engine.broker is not None
    assert engine.broker.exit_code() is not None
    assert engine.supervisor.pid("risk+settlement") is None
