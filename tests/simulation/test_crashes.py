"""The real stages' code over a log in memory, under crashes, zombies, rebalances and redelivery by seed."""

import os
from collections import Counter
from random import Random

import pytest

from agents.rules.risk import desk
from agents.rules.settlement import journal
from infra.worker import stage_named
from schemas.topics import ACCOUNT_COMMANDS, CONTROL, INBOXES, PartitionCounts
from tests.simulation.engine import Engine
from tests.simulation.flow import account_commands, control_commands, next_day

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "1000"))
CHUNK = 50  # seeds a test, so that a failure is found and shown early
STEPS = 250
STEPS_A_TICK = 8
COUNTS = PartitionCounts(2, 2)


def run(seed: int) -> Engine:
    """One run from an empty log to rest."""
    stages = tuple(stage_named(name) for name in INBOXES)
    engine = Engine(seed, stages, COUNTS)
    chance = Random(seed)
    edge = day(chance)
    for step in range(STEPS):
        due = len(edge) * (step + 1) // STEPS - len(edge) * step // STEPS
        for _ in range(due):
            topic, partition, value = edge.pop(0)
            engine.log.records[topic, partition].extend([value] * chance.choice((1, 1, 1, 2)))
        engine.step()
    engine.finish()
    for value in next_day():  # sessions end over what was traded
        engine.log.records[CONTROL, 0].append(value)
        for _ in range(STEPS_A_TICK):
            engine.step()
    engine.finish()
    engine.verify()
    return engine


def day(chance: Random) -> list[tuple[str, int, bytes]]:
    """What comes from outside, as (topic, partition, value): reference data, then orders with ticks among them."""
    control = [(CONTROL, 0, value) for value in control_commands(chance)]
    account = [(ACCOUNT_COMMANDS, *packed) for packed in account_commands(chance, COUNTS.accounts)]
    edge = [control.pop(0)]
    while control or account:
        is_control = chance.randrange(len(control) + len(account)) < len(control)
        edge.append((control if is_control else account).pop(0))
    return edge


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_outputs_and_tables_equal_an_offline_fold(first: int) -> None:
    """Whatever crashes, each stage's outputs, repeats dropped, and tables equal a fold of its inbox."""
    happened: Counter[str] = Counter()
    for seed in range(first, min(first + CHUNK, SEEDS)):
        try:
            with pytest.MonkeyPatch.context() as patch:
                for module in (journal, desk) if seed % 2 else ():  # session ends go on from tick to tick
                    patch.setattr(module, "SETTLEMENTS_PER_RECORD", 1)
                happened += run(seed).happened
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
    for kind in (
        "crash",
        "Crash",
        "Fenced",
        "CommitDoubtful",
        "zombie woke",
        "repeats dropped",
        "rebalance",
        "variation",
    ):
        assert happened[kind] > 0, f"no {kind} in {CHUNK} seeds: this run proves nothing of it"
