"""The real stages' code over a log in memory, under crashes, zombies, rebalances and redelivery by seed."""

import os
from collections import Counter
from random import Random

import pytest

from infra.worker import STAGES, stage_named
from schemas.topics import CONTROL, PartitionCounts
from tests.simulation.engine import Engine
from tests.simulation.flow import account_commands, control_commands

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1000"))
CHUNK = 50  # seeds a test, so that a failure is found and shown early
STEPS = 250
COUNTS = PartitionCounts(2, 2)


def run(seed: int) -> Engine:
    """One run from an empty log to rest."""
    stages = tuple(stage_named(name) for name in STAGES if name != "intake")
    engine = Engine(seed, stages, COUNTS)
    chance = Random(seed)
    edge = [(CONTROL, 0, value) for value in control_commands(chance)]
    edge += [("account-commands", p, value) for p, value in account_commands(chance, COUNTS.accounts)]
    for step in range(STEPS):
        due = len(edge) * (step + 1) // STEPS - len(edge) * step // STEPS
        for _ in range(due):
            topic, partition, value = edge.pop(0)
            engine.log.records[topic, partition].extend([value] * chance.choice((1, 1, 1, 2)))
        engine.step()
    engine.finish()
    engine.verify()
    return engine


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_outputs_and_tables_equal_an_offline_fold(first: int) -> None:
    """Whatever crashes, each stage's outputs, repeats dropped, and tables equal a fold of its inbox."""
    happened: Counter[str] = Counter()
    for seed in range(first, min(first + CHUNK, SEEDS)):
        try:
            happened += run(seed).happened
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    for kind in "crash", "Crash", "Fenced", "CommitDoubtful", "zombie woke", "repeats dropped", "rebalance":
        assert happened[kind] > 0, f"no {kind} in {CHUNK} seeds: this run proves nothing of it"
