"""``python -m tests.bench.archive``: what reading and verifying the archive costs, and what compaction changes.

A topic of a million sealed records in commits of a minute, written as the connector writes it: several partitions in
each file. Read and verified from a folder, before and after compaction, in one run.
"""

import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from agents.rules.audit import Chain
from infra.archive.compact import Task, compact, tasks
from infra.archive.log import ArchiveLog
from infra.archive.proof import verify_archive
from infra.auditor.log import LogRecord, Place
from infra.sealing.keys import generate, key_file, private, trusted
from infra.settings import Settings
from schemas import codec
from schemas.topics import FINGERPRINTS, SEALS
from tests.unit.infra.archive.archived import DAY_MS, Archive, Row

TOPIC: Final = "account-events"
PARTITIONS: Final = 4
MINUTES: Final = 50
PER_COMMIT: Final = 20_000
WORDS: Final = 20_000  # that values are made of: they compress to a little less than half, as the engine's do
DAY: Final = 19_675
MB: Final = 1e6
GB: Final = 1e9


def commits() -> Iterator[list[Row]]:
    """A minute of records after the other, partitions mixed as they were fetched; values of 250 bytes."""
    random = Random(1)
    words = [random.randbytes(10) for _ in range(WORDS)]
    offsets = [0] * PARTITIONS
    for minute in range(MINUTES):
        rows: list[Row] = []
        for number in range(PER_COMMIT):
            partition = number // 500 % PARTITIONS
            at_ms = DAY * DAY_MS + minute * 60_000 + number * 60_000 // PER_COMMIT
            value = b"".join(random.choices(words, k=25))
            rows.append(((TOPIC, partition), LogRecord(offsets[partition], at_ms, None, value)))
            offsets[partition] += 1
        yield rows


def build(folder: Path) -> tuple[Archive, Settings]:
    """The archive, and the settings of the engine that sealed it."""
    settings = Settings(data_folder=folder / "engine")
    generate(key_file(settings))
    archive = Archive(folder / "bucket")
    chains = {(TOPIC, it): Chain(TOPIC, it, 0, None, private(settings)) for it in range(PARTITIONS)}
    seals: list[Row] = []
    prints: list[Row] = []
    for rows in commits():
        archive.commit(rows)
        for place, chain in chains.items():
            for sealed in chain.take(record for at, record in rows if at == place):
                at_ms = sealed.seal.last_timestamp_ms
                seals.append(((SEALS, 0), LogRecord(len(seals), at_ms, None, codec.encode(sealed.seal))))
                value = codec.encode(sealed.fingerprints)
                prints.append(((FINGERPRINTS, 0), LogRecord(len(prints), at_ms, None, value)))
    archive.commit(seals + prints)
    return archive, settings


def measured(what: str, archive: Archive, settings: Settings) -> Iterator[tuple[str, str]]:
    """Reads all of it, one partition after the other, and verifies it."""
    places = [(TOPIC, it) for it in range(PARTITIONS)]
    count, size, took_s = timed(lambda: sums(archive.log(), places))
    yield f"read, {what}", rate(count, size, took_s)

    def verified() -> tuple[int, int]:
        _, found = verify_archive(archive.bucket, trusted(settings), settings, unsealed_max_ms=DAY_MS)
        assert not found.count, found.findings
        reports = found.places.values()
        return sum(it.records_checked for it in reports), sum(it.bytes_checked for it in reports)

    count, size, took_s = timed(verified)
    yield f"verify, {what}", rate(count, size, took_s)


def sums(log: ArchiveLog, places: list[Place]) -> tuple[int, int]:
    """Count and bytes of values."""
    count = size = 0
    for place in places:
        for record in log.read(place, log.bounds(place)):
            count += 1
            size += len(record.value or b"")
    return count, size


def timed(work: Callable[[], tuple[int, int]]) -> tuple[int, int, float]:
    """What it gives, and the seconds that it takes."""
    begun_s = time.perf_counter()
    count, size = work()
    return count, size, time.perf_counter() - begun_s


def rate(count: int, size: int, took_s: float) -> str:
    """For people."""
    speed = f"{size / MB / took_s:,.0f} MB/s, {size / GB / took_s * 60:.1f} GB/min"
    return f"{count / took_s:,.0f} records/s, {speed}"


@click.command()
def main() -> None:
    """Measure."""
    table = Table("what", "speed")
    with TemporaryDirectory(prefix="trading-bench-") as folder:
        archive, settings = build(Path(folder))
        for row in measured(f"{PARTITIONS} partitions in each of {MINUTES} files", archive, settings):
            table.add_row(*row)
        begun_s = time.perf_counter()
        done = [compact(archive.catalog, archive.bucket, it) for it in _tasks(archive)]
        took_s = time.perf_counter() - begun_s
        (it,) = [it for it in done if it is not None and it.topic == TOPIC]
        speed = f"{it.records / took_s:,.0f} records/s: {it.files_before} files to {it.files_after}"
        table.add_row(
            "compact it, with the proof",
            f"{speed}, {it.bytes_before / MB:.0f} MB to {it.bytes_after / MB:.0f}",
        )
        for row in measured("compacted", archive, settings):
            table.add_row(*row)
    table.add_row(
        "greatest memory, to make it all included",
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:,.0f} MB",
    )
    Console().print(table)


def _tasks(archive: Archive) -> list[Task]:
    return tasks(archive.bucket, archive.table, range(DAY + 1))


if __name__ == "__main__":
    main()
