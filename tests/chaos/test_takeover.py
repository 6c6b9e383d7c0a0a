"""Workers that freeze, join, leave and stand in for each other; and a broker that freezes in a commit."""

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from infra.supervisor import State
from schemas.topics import TRADES
from tests.chaos.harness import REPEATS, STAGES, Chaos, count_of

pytestmark = pytest.mark.chaos

SESSION_TIMEOUT_MS = 3_000
DRIVERS = ("thread", "agent")
GOES_ON = re.compile(r"(?:risk|matching) (\d+) goes on at (\d+)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Fencing is shown with each driver, since each fetches by a client of its own; the rest with the first."""
    drivers = DRIVERS if metafunc.function is test_zombie_is_fenced else DRIVERS[:1]
    metafunc.parametrize("driver", drivers, scope="module")


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory, seed: int, driver: str) -> Iterator[Chaos]:
    """An engine with two workers of risk, two replicas of matching, and short sessions."""
    workers = (*STAGES, "risk#1", "matching@b")
    folder = tmp_path_factory.mktemp("engine")
    settings = {"session_timeout_ms": SESSION_TIMEOUT_MS, "stage_driver": driver}
    with Chaos(folder, seed, workers, **settings) as engine:
        yield engine


def taken(chaos: Chaos, name: str, since: int = 0) -> dict[int, int]:
    """Where a worker went on, by partition, as its log says it behind the first ``since`` characters."""
    return {int(it[1]): int(it[2]) for it in GOES_ON.finditer(chaos.log_of(name), since)}


def anything_taken(chaos: Chaos, since: Mapping[str, int]) -> bool:
    """Whether any of some workers went on with a partition behind so much of its log."""
    return any(taken(chaos, *it) for it in since.items())


def test_zombie_is_fenced(chaos: Chaos) -> None:
    """A worker frozen for longer than its session is stood in for; when it wakes it is fenced, and leaves."""
    with chaos.load():
        chaos.until_said()
        length = len(chaos.log_of("risk#1"))
        zombie = chaos.freeze("risk")
        chaos.until(lambda: len(taken(chaos, "risk#1", length)) == chaos.counts.accounts, "risk#1 takes over")
        chaos.until_said()
        told = len(chaos.lines)
        chaos.thaw(zombie)
        chaos.until_told("risk died (exit code 73)", since=told)
        chaos.until_ready()
        chaos.until_said()
    report = chaos.audit()
    assert count_of(report, REPEATS) > 0


def test_workers_come_and_go_during_recovery(chaos: Chaos) -> None:
    """Joining, leaving and dying while partitions are being recovered leaves every one with one owner, exact."""
    with chaos.load():
        chaos.until_said()
        for _ in range(6):
            name = chaos.chance.choice(["risk", "risk#1"])
            lengths = {it: len(chaos.log_of(it)) for it in ("risk", "risk#1")}
            if chaos.state(name) is State.STOPPED:
                chaos.start(name)
            elif chaos.chance.random() < 0.5:
                chaos.kill(name)
            else:
                chaos.stop(name)
                chaos.start(name)
            chaos.until(partial(anything_taken, chaos, lengths), "a partition is taken")
        chaos.until_ready()
        chaos.until_said()
    chaos.audit()


def test_hot_replica_is_killed(chaos: Chaos) -> None:
    """With either replica of matching dead the other speaks on, with no gap; the dead one comes back and catches up."""
    for victim in ("matching", "matching@b"):
        with chaos.load():
            chaos.until_said()
            chaos.stop(victim, 0)
            chaos.until_said(topic=TRADES)
            chaos.start(victim)
            chaos.until_ready()
            chaos.until_said()
        report = chaos.audit()
        assert count_of(report, REPEATS) > 0


def test_replica_seeds_from_its_peer(chaos: Chaos) -> None:
    """A replica with nothing of its own goes on where its peer's last checkpoint stands, and may then stand alone."""
    with chaos.load():
        chaos.until_said()
        chaos.stop("matching@b")
        shutil.rmtree(chaos.state_folder("matching", "b"))
        chaos.delete_topic(chaos.changelog("matching", "b"))
        length = len(chaos.log_of("matching@b"))
        before = [chaos.committed("matching", it)[0] for it in range(chaos.counts.books)]
        chaos.start("matching@b")
        chaos.until_ready("matching@b")
        seeded = taken(chaos, "matching@b", length)
        assert all(seeded[it] >= offset > 0 for it, offset in enumerate(before)), (seeded, before)
        chaos.stop("matching", 0)
        chaos.until_said(topic=TRADES)
        chaos.start("matching")
        chaos.until_ready()
    chaos.audit()


def test_commit_times_out(chaos: Chaos) -> None:
    """A broker that freezes for longer than a commit may take: the stage ends in doubt, and all is exact after it."""
    broker = chaos.engine.broker
    assert broker is not None
    told = len(chaos.lines)
    with chaos.load():
        chaos.until_said()
        os.kill(broker.pid, signal.SIGSTOP)
        chaos.until_told("exit code 74", since=told)
        os.kill(broker.pid, signal.SIGCONT)
        chaos.until_ready()
        chaos.until_said()
    chaos.audit()
