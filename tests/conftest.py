"""What tests share: one real broker for the whole run."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from infra.embedded.broker import EmbeddedBroker

# A machine that is busy is no counterexample: how long an example takes is not what these tests are about.
settings.register_profile("no deadline", deadline=None, print_blob=True)
settings.load_profile("no deadline")


# Most tests are about the engine itself; those of the sinks turn them on.
os.environ["TRADING_SINKS"] = "false"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much chaos there is; here, since pytest reads options before it finds `tests/chaos`."""
    parser.addoption("--times", type=int, default=20, help="kills of random workers (tests/chaos)")
    parser.addoption("--seed", type=int, help="seed of the chaos tests; a new one for each run unless given")


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an embedded broker on free ports, and give its bootstrap address; tests use topics of their own."""
    embedded = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    embedded.start()
    yield embedded.bootstrap
    embedded.stop()
