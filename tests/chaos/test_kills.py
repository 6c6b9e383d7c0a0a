"""Workers and the broker die under load; what is said and kept is as if nobody ever had."""

import pytest

from agents.stage import crash_points
from tests.chaos.harness import REPEATS, STAGES, Chaos, count_of

pytestmark = pytest.mark.chaos
VICTIMS_MAX = 3


def test_random_workers_are_killed(chaos: Chaos, request: pytest.FixtureRequest) -> None:
    """After kill -9 of random workers, one to three at a time, all is exact, and repeats were dropped."""
    left = request.config.getoption("--times")
    with chaos.load():
        chaos.until_said()
        while left:
            victims = chaos.chance.sample(STAGES, min(left, chaos.chance.randint(1, VICTIMS_MAX)))
            for victim in victims:
                chaos.kill(victim)
            left -= len(victims)
            chaos.until_ready()
            chaos.until_said()
    report = chaos.audit()
    assert count_of(report, REPEATS) > 0


@pytest.mark.parametrize(
    "point", [crash_points.BEFORE_OUTPUTS, crash_points.BEFORE_COMMIT, crash_points.BEFORE_STORE]
)
def test_stages_are_killed_at_a_point(chaos: Chaos, point: str) -> None:
    """Every stage dies at the same named point, in the middle of its work, and all is exact."""
    stages = [stage for stage in STAGES if stage != "intake"]  # it keeps no state, and has no such points
    told = len(chaos.lines)
    with chaos.load():
        chaos.until_said()
        for stage in stages:
            with chaos.program(stage, env={"TRADING_CRASH_AT": f"{point}:{chaos.chance.randint(20, 60)}"}):
                chaos.kill(stage)
                chaos.until_running(stage)
        for stage in stages:
            chaos.until_told(f"{stage} died (SIGKILL)", since=told, count=2)
        chaos.until_ready()
        chaos.until_said()
    report = chaos.audit()
    if point == crash_points.BEFORE_COMMIT:  # said, and not yet in a checkpoint: so it was said again
        assert count_of(report, REPEATS) > 0


def test_broker_is_killed(chaos: Chaos) -> None:
    """After kill -9 of the broker under load and its return nothing is lost and nothing is said twice otherwise."""
    with chaos.load():
        for _ in range(2):
            chaos.until_said()
            chaos.kill_broker()
        chaos.until_said()
        chaos.until_ready()
    chaos.audit()
