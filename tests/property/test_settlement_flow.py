"""Nothing is lost or made from order to settled position, however the stages interleave."""

from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agents.rules.risk import desk
from agents.rules.settlement import journal
from schemas.maximums import SETTLEMENTS_PER_RECORD
from schemas.topics import PartitionCounts
from tests.property.whole_engine import WholeEngine


@pytest.mark.parametrize("counts", [(1, 1), (2, 3), (3, 2)])
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), budget=st.sampled_from((1, 3, SETTLEMENTS_PER_RECORD)))
def test_conservation_through_all_stages(counts: tuple[int, int], seed: int, budget: int) -> None:
    """Cash, positions, holds and quantities are conserved at every cut, with stages restored at random.

    Risk and settlement agree on every account's cash to the last unit, however far each has come with a
    session end when it reads the next fill.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in (desk, journal):
            patch.setattr(module, "SETTLEMENTS_PER_RECORD", budget)
        engine = WholeEngine(PartitionCounts(*counts), Random(seed))
        for _ in range(6):
            engine.go(15)
            engine.rest()
            engine.check()
        engine.end()
        engine.check()
    assert engine.filled, "without a trade nothing is proved"
    assume(engine.variations)  # a run without any proves nothing of session ends: most must have some
    assert not any(tables.orders for tables in engine.risks), "orders are left after all were cancelled"
    assert not any(tables.releases for tables in engine.settlements), "a settlement day never came"
