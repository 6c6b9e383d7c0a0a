"""``python -m tests.bench.codec``: microseconds a record, either way, on each codec that is there.

Each figure is the best of several runs, each of a fixed number of calls: what the machine can do, without
what disturbed it. ``sealed`` is a stage's record with its origin and chain.
"""

from collections.abc import Callable, Iterator
from timeit import repeat
from types import ModuleType
from typing import Final, NamedTuple

from rich.console import Console
from rich.table import Table

from schemas.envelopes import AccountCommands, Answers
from schemas.record import Record
from tests.unit.schemas.engines import CODECS
from tests.unit.schemas.records import ACCEPTED, FILLED, PLACE

CALLS: Final = 2_000
RUNS: Final = 7

RECORDS: Final[dict[str, Record]] = {
    "PlaceOrder": PLACE,
    "AccountCommands of 1": AccountCommands(items=(PLACE,)),
    "AccountCommands of 16": AccountCommands(items=(PLACE,) * 16),
    "Answers: accepted, 2 fills": Answers(items=(ACCEPTED, FILLED, FILLED)),
}


class Cost(NamedTuple):
    """One line of the table; times in microseconds."""

    codec: str
    record: str
    value_bytes: int
    encode_us: float
    decode_us: float


def costs() -> Iterator[Cost]:
    """Measures every record on every codec."""
    for codec in CODECS:
        for name, record in RECORDS.items():
            yield _cost(codec, name, record)
        yield _sealed_cost(codec)


def _cost(codec: ModuleType, name: str, record: Record) -> Cost:
    value = codec.encode(record)
    encode_us, decode_us = _us(lambda: codec.encode(record)), _us(lambda: codec.decode(value))
    return Cost(_name(codec), name, len(value), encode_us, decode_us)


def _sealed_cost(codec: ModuleType) -> Cost:
    items = (ACCEPTED, FILLED, FILLED)
    value, _ = codec.seal(Answers, items, "matching", 3, 17, 1)
    seal_us = _us(lambda: codec.seal(Answers, items, "matching", 3, 17, 1))
    open_us = _us(lambda: (codec.decode(value), codec.chain_of(value, 1)))
    return Cost(_name(codec), "the same, sealed", len(value), seal_us, open_us)


def _us(call: Callable[[], object]) -> float:
    return min(repeat(call, number=CALLS, repeat=RUNS)) / CALLS * 1e6


def _name(codec: ModuleType) -> str:
    return "fastavro" if codec.__name__.endswith("plain") else "compiled"


def main() -> None:
    """Prints the table."""
    table = Table("codec", "record", "bytes", "encode us", "decode us", title="Codec, us a record")
    for cost in costs():
        times = (f"{cost.encode_us:.2f}", f"{cost.decode_us:.2f}")
        table.add_row(cost.codec, cost.record, str(cost.value_bytes), *times)
    Console().print(table)


if __name__ == "__main__":
    main()
