"""The supervisor with tiny real processes: ready, dead, started again, left down, stopped."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.processes import free_ports, wait_until
from infra.supervisor import Program, State, Supervisor

PAUSE = "import signal; signal.pause()"
TIMEOUT_S = 20


class Run:
    """A supervisor under test, the lines it reported, and a way to wait for what it shows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.supervisor = Supervisor([], folder)

    def start(self, *programs: Program) -> Supervisor:
        """Supervise these programs."""
        self.supervisor = Supervisor(programs, self.folder, backoff_s=0.01, report=self.lines.append)
        self.supervisor.start()
        return self.supervisor

    def until(self, condition: Callable[[], bool]) -> None:
        """Step until the condition holds."""

        def stepped() -> bool:
            self.supervisor.step()
            return condition()

        assert wait_until(stepped, TIMEOUT_S), (self.supervisor.states(), self.lines)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Stop whatever a test left running."""
    running = Run(tmp_path)
    yield running
    running.supervisor.stop(1)


def python(name: str, script: str, ready_url: str | None = None, last_words: Path | None = None) -> Program:
    """A program that is a line of Python."""
    return Program(name, (sys.executable, "-c", script), {}, ready_url, last_words)


def test_ready_when_the_view_answers(run: Run) -> None:
    """A worker is starting until its view answers 200."""
    port = free_ports(1)[0]
    script = (
        "import http.server as h\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    asked = 0\n"
        "    def do_GET(self):\n"
        "        H.asked += 1\n"
        "        self.send_response(200 if H.asked > 2 else 503)\n"
        "        self.end_headers()\n"
        f"h.HTTPServer(('127.0.0.1', {port}), H).serve_forever()"
    )
    supervisor = run.start(python("served", script, f"http://127.0.0.1:{port}/health/ready"))
    assert supervisor.states() == {"served": State.STARTING}
    run.until(supervisor.all_ready)
    assert (run.folder / "served.log").read_text().count(" 503 ") == 2


def test_killed_process_is_started_again(run: Run) -> None:
    """After kill -9 another process does the work, the others are not touched, and the operator is told."""
    supervisor = run.start(python("a", PAUSE), python("b", PAUSE))
    run.until(supervisor.all_ready)
    before = supervisor.pid("a"), supervisor.pid("b")
    supervisor.kill("a")
    run.until(lambda: supervisor.all_ready() and supervisor.pid("a") not in {before[0], None})
    assert supervisor.pid("b") == before[1]
    assert run.lines[0].startswith("a died (SIGKILL); starts again")


def test_poisoned_record_keeps_it_down(run: Run) -> None:
    """A worker that dies three times at one record stays down, after exactly three lives."""
    last_words = run.folder / "words.json"
    script = (
        "import sys, pathlib; print('a life', flush=True)\n"
        f"pathlib.Path({str(last_words)!r}).write_text("
        '\'{"stage":"risk","exit_code":70,"reason":"boom","partition":2,"offset":41}\')\n'
        "sys.exit(70)"
    )
    supervisor = run.start(python("risk", script, last_words=last_words), python("other", PAUSE))
    run.until(lambda: supervisor.states()["risk"] is State.DOWN)
    assert (run.folder / "risk.log").read_text() == "a life\n" * 3
    assert "trading skip risk 2 41" in run.lines[-1]
    assert supervisor.states()["other"] is State.READY


def test_broken_chain_keeps_it_down_at_once(run: Run) -> None:
    """A worker that found a broken chain has one life, and torn last words do no harm."""
    last_words = run.folder / "words.json"
    script = f"import sys; open({str(last_words)!r}, 'w').write('{{\"stage'); print('a life'); sys.exit(71)"
    supervisor = run.start(python("matching", script, last_words=last_words))
    run.until(lambda: supervisor.states()["matching"] is State.DOWN)
    assert (run.folder / "matching.log").read_text() == "a life\n"


def test_last_words_of_an_earlier_life_are_not_believed(run: Run) -> None:
    """Words that lie there from before are removed: a later kill is not counted at their record."""
    last_words = run.folder / "words.json"
    last_words.write_text('{"stage":"risk","exit_code":70,"reason":"boom","partition":2,"offset":41}')
    supervisor = run.start(python("risk", PAUSE, last_words=last_words))
    run.until(supervisor.all_ready)
    supervisor.kill("risk")
    run.until(lambda: bool(run.lines))
    assert "offset 41" not in run.lines[0]


def test_stop_ends_all_and_starts_none_again(run: Run) -> None:
    """After stop no process is left, the stubborn included, and a step starts none."""
    stubborn = (
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); {PAUSE}"
    )
    supervisor = run.start(python("gentle", PAUSE), python("stubborn", stubborn))
    run.until(lambda: (run.folder / "stubborn.log").read_text() == "up\n")
    supervisor.stop(0.2)
    supervisor.step()
    assert supervisor.states() == {"gentle": State.STOPPED, "stubborn": State.STOPPED}
    assert supervisor.pid("gentle") is None
    assert supervisor.pid("stubborn") is None


def test_logs_are_bounded(tmp_path: Path) -> None:
    """A program that talks without end fills its log and the one before, and no more than it says in a second."""
    script = "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.001)"
    supervisor = Supervisor([python("talker", script)], tmp_path, log_bytes_max=5_000)
    supervisor.start()
    older = tmp_path / "talker.log.1"

    def stepped() -> bool:
        supervisor.step()
        return older.exists()

    try:
        assert wait_until(stepped, TIMEOUT_S)
        assert older.stat().st_size > 5_000
    finally:
        supervisor.stop(1)
