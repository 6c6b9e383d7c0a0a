"""What tests share: one real broker for the whole run."""

from collections.abc import Iterator

import pytest

from infra.embedded.broker import EmbeddedBroker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an embedded broker on free ports, and give its bootstrap address; tests use topics of their own."""
    embedded = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    embedded.start()
    yield embedded.bootstrap
    embedded.stop()
