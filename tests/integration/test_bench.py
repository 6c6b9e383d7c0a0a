"""The benchmark runs: engine, peers, parts and restart, all with tiny counts."""

import json
import subprocess
import sys

import pytest

from tests.bench.parts import PARTS

TIMEOUT_S = 900
# These measure `engine` and `sinks` again under another setting: a minute and a half that finds nothing more.
BY_HAND = {"fastavro", "sinks-cost"}


@pytest.mark.slow
def test_every_part_of_the_benchmark_gives_its_figures() -> None:
    """With --quick, every part but two runs to its end and finds figures above zero, and nothing is judged."""
    parts = set(PARTS) - BY_HAND
    only = [word for part in sorted(parts) for word in ("--only", part)]
    command = (sys.executable, "-m", "tests.bench", "--quick", "--json", *only)
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert run.returncode == 0, run.stderr
    figures = json.loads(run.stdout)
    assert {it["part"] for it in figures} == parts
    for it in figures:
        assert it["what"] != "FAILED", it
        assert it["value"] > 0 or it["unit"] == "bytes", it  # so few orders may fit into free memory
        assert it["is_met"] is None, it
