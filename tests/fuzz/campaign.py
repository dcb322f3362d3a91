"""Runs targets under the engine, each in a process of its own, and reads what it says."""

from __future__ import annotations

import base64
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.disks import FOLDER, in_memory

ROOT: Final = Path(__file__).parent.parent.parent
INPUT_BYTES_MAX: Final = 8192
HANG_S: Final = 25
"""An input that takes so long is a finding. None should take a hundredth of it; a busy machine is slow, not endless."""
MEMORY_MIB_MAX: Final = 768
"""A process that needs so much has been made to: the readers together, watched by the engine, need about a hundred."""
START_S: Final = 600
"""On a busy machine the engine takes minutes to import all readers; none of it is fuzzing yet."""
ENGINE: Final = "atheris"
_PULSE: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_STATISTIC: Final = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one run. `coverage` counts branches of the product, `features` those with how often they were
    taken.
    """

    target: str
    seconds: int
    runs: int
    coverage: int
    features: int
    kept: int
    peak_mib: int
    found: bytes | None
    complaint: str

    @property
    def per_second(self) -> int:
        """How many inputs were tried in a second."""
        return self.runs // max(1, self.seconds)


def has_engine() -> bool:
    """Whether the engine is installed: it has wheels for Linux on x86-64 and Python 3.11 to 3.13 only."""
    return importlib.util.find_spec(ENGINE) is not None


def fuzz(target: str, seconds: int, corpus: Path | None = None, planted: str = "", seed: int = 0) -> Outcome:
    """Run one target for so long, or until it finds something. Inputs that are worth keeping are kept in `corpus`."""
    with tempfile.TemporaryDirectory(prefix="surveil-fuzz-", dir=in_memory()) as own:
        folders = {name: Path(own, name) for name in ("corpus", "found", "files")}
        for folder in folders.values():
            folder.mkdir()
        kept = corpus or folders["corpus"]
        kept.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable, "-m", "tests.fuzz.engine", target, *(["--planted", planted] if planted else []), str(kept),
            f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES_MAX}", f"-timeout={HANG_S}", f"-seed={seed}",
            f"-rss_limit_mb={MEMORY_MIB_MAX}", f"-artifact_prefix={folders['found']}/", "-print_final_stats=1",
        ]  # fmt: skip
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | {FOLDER: str(folders["files"])}, capture_output=True, check=False,
            timeout=seconds + HANG_S + START_S,
        )  # fmt: skip
        said = done.stderr.decode("utf-8", "replace") + done.stdout.decode("utf-8", "replace")
        found = [path.read_bytes() for path in sorted(folders["found"].iterdir())]
    return _outcome(target, seconds, said, done.returncode, found)


def _outcome(target: str, seconds: int, said: str, status: int, found: Sequence[bytes]) -> Outcome:
    numbers = {name: int(value) for name, value in _STATISTIC.findall(said)}
    pulses = _PULSE.findall(said) or [("0", "0", "0")]
    coverage, features, kept = map(int, pulses[-1])
    complaint = "" if status == 0 and not found else _complaint(target, said, status, found)
    return Outcome(
        target=target, seconds=seconds, runs=numbers.get("number_of_executed_units", 0), coverage=coverage,
        features=features, kept=kept, peak_mib=numbers.get("peak_rss_mb", 0), found=found[0] if found else None,
        complaint=complaint,
    )  # fmt: skip


def _complaint(target: str, said: str, status: int, found: Sequence[bytes]) -> str:
    """What went wrong, the input, and how to see it again."""
    _, _, tail = said.partition("=== Uncaught Python exception: ===")
    words = tail.partition("MS: ")[0].strip() or said[-3_000:]
    if not found:
        return f"the engine ended with {status}:\n{words}"
    encoded = base64.b85encode(found[0]).decode()
    return f"{words}\n\nreplay: python -m tests.fuzz --replay {target} '{encoded}'"


def default_corpus() -> Path:
    """Where a long run goes on from where the last one was."""
    return ROOT / "build" / "fuzz"
