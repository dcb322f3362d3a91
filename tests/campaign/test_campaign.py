"""One kind of fault or more of each row of the matrix, on clusters of real processes; and the canaries, which have to
be caught. `python -m tests.campaign --each` strikes every kind.

Each test is one life of a cluster, in which its share of the kinds is struck one after the other.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.campaign import apart
from tests.campaign.faults import all_kinds

ROOT = Path(__file__).parents[2]
LIVES = 4
EVERYDAY = (
    "agent-kill", "agent-stop", "backup-restored", "black-hole", "clock-jump", "commit-after", "commit-before",
    "corrupt", "cut-long-one-way", "cut-short", "daemons", "dispatcher-full", "dispatcher-io-error", "dispatcher-kill",
    "dispatcher-stop", "dispatcher-torn", "endless-message", "flapping", "fork-bomb", "handshake-fails", "herd",
    "host-power", "host-replaced", "host-suspend", "keeper-kill", "log-flipped", "mid-frame", "poison", "remote-lies",
    "runner-inodes", "runner-torn", "silent-flood", "tidy-restart", "version-older",
)  # fmt: skip
"""What every run of `make long` has time for."""
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(apart.missing()), reason=apart.missing() or "all is there"),
]
KINDS = all_kinds()
CANARIES = {name: kind.matrix[0] for name, kind in KINDS.items() if name.startswith("canary")}


def campaign(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.campaign", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.long
@pytest.mark.parametrize("life", range(LIVES))
def test_faults_of_each_kind_are_survived(life: int) -> None:
    mine = list(EVERYDAY[life::LIVES])
    done = campaign("--seed", str(life), "--each", *(word for name in mine for word in ("--only", name)))
    assert done.returncode == 0, done.stdout + done.stderr
    struck = re.findall(r"^ +[0-9]+ ([a-z-]+) ", done.stdout, re.MULTILINE)
    assert struck == mine, done.stdout


def test_every_row_of_the_matrix_that_has_a_kind_has_one_of_every_day() -> None:
    rows = {row for kind in KINDS.values() if kind.weight > 0 for row in kind.matrix}
    assert {row for name in EVERYDAY for row in KINDS[name].matrix} == rows


@pytest.mark.long
@pytest.mark.parametrize(("canary", "rule"), CANARIES.items())
def test_a_canary_is_caught(canary: str, rule: str) -> None:
    done = campaign("--each", "--only", canary, "--discard")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"^{rule}: ", done.stdout, re.MULTILINE), done.stdout
    assert f"replay: python -m tests.campaign --each --only {canary}" in done.stdout
    assert '"seed": 1' in done.stdout
