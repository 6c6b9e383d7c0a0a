"""What processes and stages say of themselves: CPU and memory from /proc (Linux), times from their metrics."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_PARENT, _USER_TIME, _SYSTEM_TIME, _REAPED_TIME = (
    1,
    11,
    12,
    14,
)  # places after the command's name, see proc_pid_stat(5)

Buckets = dict[float, float]
"""How many batches took at most so many seconds, by upper bound."""


def cpu_s(pid: int) -> float:
    """The CPU time of a process and its living children, and of those that it has seen end, in seconds."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if int(folder.name) == pid:
            total += sum(map(int, fields[_USER_TIME : _REAPED_TIME + 1]))
        elif int(fields[_PARENT]) == pid:
            total += int(fields[_USER_TIME]) + int(fields[_SYSTEM_TIME])
    return total / _TICKS_A_SECOND


def resident_bytes(pid: int) -> int:
    """The memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


def cpu_of(pids: Mapping[str, int | None]) -> dict[str, float]:
    """The CPU time of each named process that runs, and of its children: Postgres has one for each connection."""
    return {name: cpu_s(pid) for name, pid in pids.items() if pid is not None}


def ask(url: str) -> bytes:
    """What a view of ours answers; URLError or TimeoutError where it does not, or is not ready."""
    with urlopen(url, timeout=60) as answer:  # noqa: S310 - an address of our own
        body: bytes = answer.read()
        return body


def batch_times(views: Iterable[str]) -> dict[str, Buckets]:
    """The histogram of each stage's times to fold a batch and hand over its outputs."""
    found: defaultdict[str, Buckets] = defaultdict(dict)
    for address in views:
        for family in text_string_to_metric_families(ask(f"{address}/metrics").decode()):
            if family.name == "trading_stage_seconds":
                for sample in family.samples:
                    if sample.name.endswith("_bucket"):
                        found[sample.labels["stage"]][float(sample.labels["le"])] = sample.value
    return dict(found)


def quantile_bound(before: Buckets, after: Buckets, quantile: float) -> float:
    """The least bound of a bucket that holds so much of what came between, in seconds."""
    grown = {bound: count - before.get(bound, 0.0) for bound, count in after.items()}
    total = max(grown.values(), default=0.0)
    return min((bound for bound, count in grown.items() if count >= quantile * total), default=0.0)
