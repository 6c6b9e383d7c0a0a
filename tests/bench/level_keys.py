"""The keys of a side's levels: a sorted list whose last is the best, or sortedcontainers' SortedList.

    python -m tests.bench.level_keys

A level comes, near the best (exponentially distributed) or anywhere, the best is read, the level goes:
nanoseconds for the three.
"""

import random
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from sortedcontainers import SortedList

ROUNDS = 20_000


def plain(keys: Any, comers: list[int]) -> None:
    """As tables/book.py does it."""
    for key in comers:
        insort(keys, key)
        assert keys[-1] >= key
        del keys[bisect_left(keys, key)]


def library(keys: Any, comers: list[int]) -> None:
    """The same on a SortedList."""
    for key in comers:
        keys.add(key)
        assert keys[-1] >= key
        keys.remove(key)


def nanoseconds(run: Callable[[Any, list[int]], None], keys: Any, comers: list[int]) -> float:
    """The best of five."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        run(keys, comers)
        best = min(best, time.process_time() - start)
    return best / len(comers) * 1e9


def main() -> None:
    """Prints one line a depth of the book."""
    chance = random.Random(7)
    titles = ("list, near the best", "list, anywhere", "SortedList, near", "SortedList, all over")
    print(f"{'levels':>9} " + " ".join(f"{title:>19}" for title in titles))
    for levels in (100, 1_000, 10_000, 100_000):
        keys = list(range(0, 2 * levels, 2))
        near = [2 * levels - 1 - 2 * min(levels - 1, int(chance.expovariate(0.05))) for _ in range(ROUNDS)]
        anywhere = [2 * chance.randrange(levels) + 1 for _ in range(ROUNDS)]
        costs = (
            nanoseconds(plain, keys, near),
            nanoseconds(plain, keys, anywhere),
            nanoseconds(library, SortedList(keys), near),
            nanoseconds(library, SortedList(keys), anywhere),
        )
        print(f"{levels:>9,} " + " ".join(f"{cost:>19,.0f}" for cost in costs))


if __name__ == "__main__":
    main()
