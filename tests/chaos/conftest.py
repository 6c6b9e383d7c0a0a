"""The seed of a run, and one engine for the cases of a file."""

from collections.abc import Iterator
from random import Random

import pytest

from infra.supervisor import State
from tests.chaos.harness import Chaos


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """What `--seed` says, else a new one for each run."""
    given: int | None = request.config.getoption("--seed")
    return Random().randrange(2**32) if given is None else given


@pytest.fixture(autouse=True)
def _seed_is_shown(seed: int) -> None:
    """Captured, so that only a failure shows it."""
    print(f"to repeat: pytest {__package__ or 'tests/chaos'} --seed {seed}")


@pytest.fixture(autouse=True)
def _is_left_whole(chaos: Chaos) -> Iterator[None]:
    """A test that failed half-way must not fail the next ones."""
    yield
    for name in chaos.settings.workers:
        if chaos.state(name) is State.STOPPED:
            chaos.start(name)


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory, seed: int) -> Iterator[Chaos]:
    """An engine with one worker a stage, shared by the tests of a file: each leaves it whole."""
    with Chaos(tmp_path_factory.mktemp("engine"), seed) as engine:
        yield engine
