"""Who drives the agents of a running engine."""

import pytest


@pytest.fixture(scope="module", params=["thread", "agent"])
def driver(request: pytest.FixtureRequest) -> str:
    """The setting ``stage_driver``: what a module tests with it holds for the fetch thread and for Faust's stream."""
    chosen: str = request.param
    return chosen
