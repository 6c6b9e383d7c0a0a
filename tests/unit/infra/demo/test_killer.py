import time
from pathlib import Path

from infra.demo.killer import STAGES, Killer
from infra.supervisor import Program, Supervisor

DEADLINE_S = 20


def test_each_stage_is_killed_once_after_it_spoke_and_comes_back(tmp_path: Path) -> None:
    """Real processes: one kill each, in order, each only when its share is sent and it has just spoken."""
    supervisor = Supervisor([Program(stage, ("sleep", "60")) for stage in STAGES], tmp_path, backoff_s=0.0)
    said = dict.fromkeys(STAGES, 0)
    killer = Killer(supervisor, said, commands=60)
    supervisor.start()
    try:
        first = [supervisor.pid(stage) for stage in STAGES]
        assert not killer.step(23)
        said["control"] += 1
        assert not killer.step(23)
        assert not killer.step(24), "its share is sent, but it has said nothing since"
        assert [supervisor.pid(stage) for stage in STAGES] == first
        deadline = time.monotonic() + DEADLINE_S
        sent = 24
        while not killer.step(sent) and time.monotonic() < deadline:
            supervisor.step()
            for stage in STAGES:
                said[stage] += 1
            sent = min(sent + 1, 60)
        assert [killed.stage for killed in killer.killed] == list(STAGES)
        assert all(killed.ready_ns > killed.at_ns for killed in killer.killed)
        assert not set(first) & {supervisor.pid(stage) for stage in STAGES}
    finally:
        supervisor.stop(5)
