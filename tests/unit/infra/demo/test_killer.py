import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.demo.killer import STAGES, Killer
from infra.supervisor import Program, Supervisor

COMMANDS = 60
FIRST = 24  # 40 % of them
DEADLINE_S = 20


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """Real processes under the names of the stages."""
    programs = [Program(stage, ("sleep", "60")) for stage in STAGES]
    supervisor = Supervisor(programs, tmp_path, backoff_s=0.0)
    supervisor.start()
    yield supervisor
    supervisor.stop(5)


def step_until(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    """Let the supervisor work until a condition holds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        supervisor.step()
        assert time.monotonic() < deadline


def test_each_stage_is_killed_once_after_it_spoke_and_comes_back(supervisor: Supervisor) -> None:
    """One kill each, in order, each only when its share is sent and it has just spoken."""
    said, repeats = dict.fromkeys(STAGES, 0), dict.fromkeys(STAGES, 0)
    killer = Killer(supervisor, said, repeats, COMMANDS)
    first = [supervisor.pid(stage) for stage in STAGES]
    said["control"] += 1
    killer.step(FIRST - 1)
    killer.step(FIRST)
    assert [supervisor.pid(stage) for stage in STAGES] == first, "its share is sent, but it is silent since"

    def is_done() -> bool:
        for stage in STAGES:
            said[stage] += 1
            repeats[stage] += 1
        return killer.step(COMMANDS - 1)

    step_until(is_done, supervisor)
    assert [killed.stage for killed in killer.killed] == list(STAGES)
    assert all(killed.ready_ns > killed.at_ns and killed.has_repeated for killed in killer.killed)
    assert not set(first) & {supervisor.pid(stage) for stage in STAGES}


def test_a_kill_without_repeats_is_followed_by_another(supervisor: Supervisor) -> None:
    """A stage that goes on without repeating anything was killed behind a checkpoint, and is killed again."""
    said, repeats = dict.fromkeys(STAGES, 0), dict.fromkeys(STAGES, 0)
    killer = Killer(supervisor, said, repeats, COMMANDS)

    def is_killed(times: int) -> bool:
        said["control"] += 1
        killer.step(FIRST)
        return len(killer.killed) == times

    step_until(lambda: is_killed(1), supervisor)
    repeats["control"] += 1  # of the first kill, but late: it is no proof of the second
    step_until(lambda: is_killed(2), supervisor)
    assert [(killed.stage, killed.has_repeated) for killed in killer.killed] == [("control", False)] * 2


def test_at_the_end_no_kill_is_followed_by_another(supervisor: Supervisor) -> None:
    """When all commands are sent, a kill counts as it is: there may be nothing left to repeat."""
    said = dict.fromkeys(STAGES, 0)
    killer = Killer(supervisor, said, {}, COMMANDS)

    def is_done() -> bool:
        for stage in STAGES:
            said[stage] += 1
        return killer.step(COMMANDS)

    step_until(is_done, supervisor)
    assert [(killed.stage, killed.has_repeated) for killed in killer.killed] == [
        (stage, False) for stage in STAGES
    ]
