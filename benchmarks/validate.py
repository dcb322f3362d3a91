"""From the text of a pipeline file of 500 lines to its checked graph, beside what the bare YAML parser takes for it.

`python -m benchmarks.validate [--lines N] [--times N]`
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml

from benchmarks.figures import Figure, say, spread
from surveil import pipeline

TARGET_MS: Final = 20
LINES: Final = 500
WARM_UP: Final = 3
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HEAD: Final = """\
version: 1
env: {CI_COLOR: "1"}
steps:
  setup: &setup
    - run: python -m venv .venv
    - run: .venv/bin/pip install -e .[test]
jobs:
"""
_JOBS: Final = """\
  build {n}:
    labels: [linux, x86_64]
    timeout: 10m
    when: changed('src/{n}/**', '!**/*.md') || branch == 'main'
    concurrency: {{group: "build {n} ${{{{ branch }}}}", cancel_superseded: true}}
    steps:
      - *setup
      - name: Compile
        run: |
          make clean
          make -j4 part{n}
        env: {{LEVEL: "{n}", FLAGS: -O2}}
  test {n}:
    needs: [build {n}]
    when: needs['build {n}'].state == 'passed' && event in ['push', 'pull_request']
    matrix:
      python: ["3.11", "3.12", "3.13"]
      exclude: [{{python: "3.11", db: postgres}}]
      db: [sqlite, postgres]
      include:
        - {{python: "3.14", db: sqlite, flags: --pre}}
    fail_fast: true
    env: {{DATABASE: "${{{{ matrix.db }}}}", VERSION: "${{{{ needs['build {n}'].outputs.version }}}}"}}
    retry: 1
    steps:
      - *setup
      - run: tox -e py${{{{ matrix.python }}}} -- ${{{{ matrix.flags }}}}
        timeout: 5m
"""


def text_of(lines: int) -> str:
    """A pipeline file that has about so many lines and says all kinds of things."""
    each = _JOBS.count("\n")
    parts = max(1, round((lines - _HEAD.count("\n")) / each))
    return _HEAD + "".join(_JOBS.format(n=number) for number in range(parts))


def timed(call: Callable[[], object], times: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Milliseconds of each of so many calls, behind a few that are not counted."""
    took: list[float] = []
    for _ in range(WARM_UP + times):
        begun = clock()
        call()
        took.append((clock() - begun) * 1000)
    return took[WARM_UP:]


def whole_command_ms(text: str, times: int) -> list[float]:
    """Milliseconds of `surveil validate` as people type it, with the start of its process."""
    with tempfile.TemporaryDirectory(prefix="surveil-bench-") as folder:
        file = Path(folder, "pipeline.yml")
        file.write_text(text)
        command = [sys.executable, "-m", "surveil", "validate", str(file)]
        return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), times)


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--times", type=int, default=50)
    asked = parser.parse_args()
    text = text_of(asked.lines)
    loaded = pipeline.load(text, ".surveil.yml")
    if isinstance(loaded, pipeline.Invalid):
        raise SystemExit(loaded.render())
    lines, jobs = text.count("\n"), len(loaded.jobs)
    command = whole_command_ms(text, max(1, asked.times // 10))
    say(f"the command with its process: {spread(command)}")
    say(f"by the clock, neighbours included: {spread(timed(lambda: pipeline.load(text, '.surveil.yml'), asked.times))}")
    bare = timed(lambda: list(yaml.parse(text, Loader=_LOADER)), asked.times, time.process_time)
    # Nothing is waited for, so on an idle machine this is what the clock says; on a busy one it says more of us.
    ours = timed(lambda: pipeline.load(text, ".surveil.yml"), asked.times, time.process_time)
    median = statistics.median(ours)
    figure = Figure(
        what=f"validation of {lines} lines, {jobs} jobs, processor time",
        value=spread(ours),
        limit=f"{statistics.median(bare):.2f} ms for the events of the YAML parser alone",
        ratio=median / statistics.median(bare),
        target=f"p50 {TARGET_MS} ms",
        met=median <= TARGET_MS,
    )
    say(str(figure))
    return 0


if __name__ == "__main__":
    sys.exit(main())
