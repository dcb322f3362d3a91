"""Each benchmark runs with tiny sizes, ends, and prints its figure beside its limit. The figures are not judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.docker import missing

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
TINY = {
    "dispatch": ["--jobs", "60", "--jobs-per-build", "20", "--slots", "4", "--limit-s", "0.1"],
    "latency": ["--times", "3", "--limit-s", "0.1"],
    "push": ["--times", "1", "--files", "5"],
    "builds": ["--builds", "3", "--files", "5"],
    "failover": ["--only", "short,dispatcher", "--runners", "3"],
    "scale": ["--runners", "20", "--seconds", "1", "--jobs", "500", "--measured", "250"],
    "logs": ["--mib", "8", "--jobs", "4", "--lines", "12"],
    "idle": ["--times", "1"],
    "covering": ["--mib", "16", "--times", "1"],
    "files": ["--mib", "2", "--rounds", "1"],
    "containers": ["--times", "1"],
    "validate": ["--lines", "60", "--times", "2"],
    "shards": ["--cases", "12", "--seconds", "0.2", "--only", "2"],
    "pages": [
        "--builds", "1000", "--only", "pages,api,dispatch", "--times", "1", "--warm", "0", "--seconds", "0.1",
        "--pairs", "1", "--dispatched", "2",
    ],
    "followers": [
        "--lines", "10000", "--paints", "1", "--written", "0", "--followers", "3", "--slow", "1", "--jobs", "200",
        "--pairs", "1", "--early", "100",
    ],
    "watch": ["--local", "5", "--remote", "3", "--seconds", "1", "--settle", "1"],
}  # fmt: skip

PARTS = {"bare"}
"""Programs that a benchmark starts."""


@pytest.mark.long
@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_ends_with_its_figure_and_its_limit(name: str) -> None:
    if name == "containers" and (why := missing()):
        pytest.skip(why)
    command = [sys.executable, "-m", f"benchmarks.{name}", *TINY[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert "ratio" in last, done.stdout
    assert "limit" in last, done.stdout


def test_every_benchmark_has_a_tiny_form() -> None:
    programs = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    assert programs - {"__main__", *PARTS} == set(TINY)
