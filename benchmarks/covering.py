"""Covering: what it costs a step that prints without end that its secrets are looked for in each byte.

`python -m benchmarks.covering [--mib N] [--times N]`
"""

from __future__ import annotations

import argparse
import random
import statistics
import string
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.figures import MIB, Figure, say
from surveil.execute.keeper.entrusted import NOTHING, Entrusted
from surveil.execute.keeper.intake import READ_BYTES
from surveil.execute.local import LocalRun
from surveil.protocol import JobSpec, StepSpec

TARGET_RATIO: Final = 0.9
"""Of the speed without secrets: what a step prints is hardly ever so fast, and nobody is to notice."""
TEXT_MIB: Final = 16
KEY_LINES: Final = 26


def text_of(folder: Path) -> Path:
    """Lines like those of a log, none twice."""
    dice = random.Random(1)
    lines: list[str] = []
    size = 0
    while size < TEXT_MIB * MIB:
        number = len(lines)
        took = dice.random()
        lines.append(
            f"2026-11-21T10:{number % 60:02}:00Z test_{dice.randrange(999)}.py::case_{number} PASSED {took:.4f} s\n"
        )
        size += len(lines[-1])
    path = folder / "text"
    path.write_text("".join(lines))
    return path


def secrets_of() -> dict[str, Entrusted]:
    """What is looked for in each run."""
    dice = random.Random(2)
    letters = string.ascii_letters + string.digits

    def drawn(length: int) -> str:
        return "".join(dice.choice(letters) for _ in range(length))

    lines = [drawn(64) for _ in range(KEY_LINES)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *lines, "-----END PRIVATE KEY-----", ""]).encode()
    tokens = {f"TOKEN_{number}": drawn(40) for number in range(5)}
    return {
        "no secret": NOTHING,
        "one token": Entrusted(variables={"TOKEN": tokens["TOKEN_0"]}),
        "five tokens": Entrusted(variables=tokens),
        "five tokens and a private key": Entrusted(variables=tokens, files={"KEY": key}),
    }


def pipe_mb_per_s(text: Path, mib: int) -> float:
    """How fast a process like ours reads what such a step prints, and does nothing with it."""
    began = time.monotonic()
    with subprocess.Popen(_script(text, mib), stdout=subprocess.PIPE) as printing:
        assert printing.stdout is not None, "a pipe was asked for"
        while printing.stdout.read(READ_BYTES):
            pass
    return mib * MIB / 1e6 / (time.monotonic() - began)


def kept_mb_per_s(local: LocalRun, text: Path, mib: int, secrets: Entrusted) -> float:
    """How fast a keeper takes it, from the step's begin to its end."""
    step = StepSpec(name="print", run=_script(text, mib)[-1], env={})
    spec = JobSpec(name="print", env={}, timeout_ms=0, steps=(step,), matrix={})
    ended = local.run(spec, on_output=lambda _: None, secrets=secrets)
    (report,) = ended.steps
    if ended.outcome != "passed" or report.started_after_ms is None or report.finished_after_ms is None:
        raise SystemExit(f"the step did not pass: {ended.reason}")
    return mib * MIB / 1e6 / max(0.001, (report.finished_after_ms - report.started_after_ms) / 1000)


def _script(text: Path, mib: int) -> list[str]:
    return ["sh", "-c", f"for _ in $(seq {max(1, mib // TEXT_MIB)}); do cat '{text}'; done"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.covering", description="What covering secrets in logs costs.")
    parser.add_argument("--mib", type=int, default=1024, help="what the step prints; at least 16")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args(arguments)
    rates: dict[str, list[float]] = {"the pipe": []}
    with tempfile.TemporaryDirectory() as folder, LocalRun(Path(folder)) as local:
        text = text_of(Path(folder))
        for _ in range(options.times):
            rates["the pipe"].append(pipe_mb_per_s(text, options.mib))
            for name, secrets in secrets_of().items():
                rates.setdefault(name, []).append(kept_mb_per_s(local, text, options.mib, secrets))
    found = {name: statistics.median(each) for name, each in rates.items()}
    for name, rate in found.items():
        say(f"{name}: {rate:.0f} MB/s")
    one, plain = found["one token"], found["no secret"]
    figure = Figure(
        what=f"a log of {options.mib} MiB with one secret",
        value=f"{one:.0f} MB/s",
        limit=f"{plain:.0f} MB/s without",
        ratio=one / plain,
        target=f"{TARGET_RATIO:.0%} of that",
        met=one >= TARGET_RATIO * plain,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
