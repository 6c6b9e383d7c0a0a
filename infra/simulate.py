"""`trading simulate`: the same rules with no Kafka, deterministic: commands in, events out, one a line."""

import gc
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO, Protocol

import click

from connectors.json_events import Event, encode_lines

READ_BYTES = 1 << 16  # a pipe's worth: what is made of it stays in the processor's cache until it is written


class Simulator(Protocol):
    """Takes a line at a time, and adds what follows from it to ``out``."""

    out: list[Event]

    def take(self, raw: bytes, number: int) -> None:
        """Runs one line of the input to its end; ``number`` counts from 1."""


@click.command()
@click.option(
    "--instruments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of instruments (connectors/README.md has the form).",
)
@click.option(
    "--accounts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of accounts.",
)
@click.option(
    "--no-risk", is_flag=True, help="Matching alone: every account and instrument is known, in 0.00000001."
)
def simulate(instruments: Path | None, accounts: Path | None, *, no_risk: bool) -> None:
    """Run the rules with no Kafka: commands from standard input, events to standard output, JSON by the line.

    \b
    Example:
      trading simulate --no-risk < commands.ndjson > events.ndjson
    """  # noqa: D301  (\b keeps click from filling the lines)
    gc.disable()  # nothing here makes cycles, and a collection would walk every open order
    run(_simulator(instruments, accounts, no_risk=no_risk), sys.stdin.buffer, sys.stdout.buffer)


def run(simulator: Simulator, source: IO[bytes], sink: IO[bytes]) -> None:
    """Takes every line of the source; what follows is written before any read that would block."""
    numbers = count(1)
    for lines in _chunks(source):
        for raw, number in zip(lines, numbers):  # noqa: B905  (numbers never end)
            if raw and not raw.isspace():
                simulator.take(raw, number)
        sink.write(encode_lines(simulator.out))
        sink.flush()
        simulator.out.clear()


def _chunks(source: IO[bytes]) -> Iterator[list[bytes]]:
    """The lines of all that can be read at once; one that is cut waits for its rest."""
    rest = b""
    read = getattr(source, "read1", source.read)
    while chunk := read(READ_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield lines
    if rest:
        yield [rest]


def _simulator(instruments: Path | None, accounts: Path | None, *, no_risk: bool) -> Simulator:
    if no_risk:
        from infra.simulated_books import SimulatedBooks

        return SimulatedBooks()
    from infra.simulated_engine import SimulatedEngine

    return SimulatedEngine(instruments, accounts)
