"""What is done about a worker that died, as a table of deaths and verdicts."""

import signal

import pytest

from agents.stage.errors import LastWords
from infra.restarts import WAIT_S_MAX, Restarts

KILLED = -signal.SIGKILL


def words(offset: int | None, reason: str = "the rule raised KeyError") -> LastWords:
    """The last words of risk at an offset of partition 2."""
    return LastWords(stage="risk", exit_code=70, reason=reason, partition=2, offset=offset)


def test_third_death_at_one_offset_stays_down() -> None:
    """The third death at one record keeps the worker down, and the line names the record and the command."""
    restarts = Restarts(deaths_at_one_offset=3, backoff_s=0.25)
    first, second, third = (restarts.judge(70, words(41), was_ready=True) for _ in range(3))
    assert (first.wait_s, second.wait_s, third.wait_s) == (0.25, 0.25, None)
    assert "partition 2, offset 41" in third.line
    assert third.line.endswith("trading skip risk 2 41")


def test_deaths_between_do_not_hide_a_poisoned_record() -> None:
    """A kill, or a death elsewhere, between three deaths at one record does not start the count again."""
    restarts = Restarts(deaths_at_one_offset=3, backoff_s=0.25)
    deaths = [(70, words(41)), (KILLED, None), (70, words(41)), (70, words(99)), (70, words(41))]
    waits = [restarts.judge(code, said, was_ready=True).wait_s for code, said in deaths]
    assert waits == [0.25, 0.25, 0.25, 0.25, None]


@pytest.mark.parametrize(("code", "said"), [(71, "gap or a broken chain"), (72, "start was refused")])
def test_what_a_restart_cannot_mend_stays_down_at_once(code: int, said: str) -> None:
    """A broken chain and a refused start stay down with the worker's own reason."""
    verdict = Restarts(3, 0.25).judge(code, words(None, "expected 8, found 10"), was_ready=True)
    assert verdict.wait_s is None
    assert said in verdict.line
    assert "expected 8, found 10" in verdict.line


@pytest.mark.parametrize(
    ("code", "cause"), [(KILLED, "SIGKILL"), (73, "exit code 73"), (0, "exit code 0"), (1, "exit code 1")]
)
def test_any_other_death_starts_again(code: int, cause: str) -> None:
    """A killed, fenced or ended worker starts again however often, and the line names the cause."""
    restarts = Restarts(3, 0.25)
    verdicts = [restarts.judge(code, None, was_ready=True) for _ in range(10)]
    assert {verdict.wait_s for verdict in verdicts} == {0.25}
    assert cause in verdicts[0].line


def test_wait_doubles_while_it_never_gets_ready() -> None:
    """A worker that cannot come up is tried ever less often, up to ten seconds, until it was ready once."""
    restarts = Restarts(3, 0.25)
    waits = [restarts.judge(76, words(None), was_ready=False).wait_s for _ in range(8)]
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, WAIT_S_MAX, WAIT_S_MAX]
    assert restarts.judge(KILLED, None, was_ready=True).wait_s == 0.25
