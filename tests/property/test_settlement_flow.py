"""Nothing is lost or made from order to settled position, however the stages interleave."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.topics import PartitionCounts
from tests.property.whole_engine import WholeEngine


@pytest.mark.parametrize("counts", [(1, 1), (2, 3), (3, 2)])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_conservation_through_all_stages(counts: tuple[int, int], seed: int) -> None:
    """Cash, positions, holds and quantities are conserved at every cut, with stages restored at random."""
    engine = WholeEngine(PartitionCounts(*counts), Random(seed))
    for _ in range(6):
        engine.go(15)
        engine.check()
    assert engine.filled, "without a trade nothing is proved"
    engine.end()
    engine.check()
    assert not any(tables.orders for tables in engine.risks), "orders are left after all were cancelled"
    assert not any(tables.releases for tables in engine.settlements), "a settlement day never came"
