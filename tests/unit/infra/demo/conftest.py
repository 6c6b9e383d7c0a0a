import pytest

from infra.demo.session import Session, read_session


@pytest.fixture(scope="session")
def sample() -> Session:
    """The real recording, read once."""
    return read_session()
