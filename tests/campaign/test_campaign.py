"""Every kind of fault once, on clusters of real processes; and the canaries, which have to be caught.

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
LIVES = 6
pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(apart.missing()), reason=apart.missing() or "all is there"),
]
KINDS = [name for name, kind in all_kinds().items() if kind.weight > 0]
CANARIES = {name: kind.matrix[0] for name, kind in all_kinds().items() if name.startswith("canary")}


def campaign(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "tests.campaign", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("life", range(LIVES))
def test_every_kind_of_fault_is_survived(life: int) -> None:
    mine = KINDS[life::LIVES]
    done = campaign("--seed", str(life), "--each", *(word for name in mine for word in ("--only", name)))
    assert done.returncode == 0, done.stdout + done.stderr
    struck = re.findall(r"^ +[0-9]+ ([a-z-]+) ", done.stdout, re.MULTILINE)
    assert struck == mine, done.stdout


@pytest.mark.parametrize(("canary", "rule"), CANARIES.items())
def test_a_canary_is_caught(canary: str, rule: str) -> None:
    done = campaign("--each", "--only", canary, "--discard")
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(rf"^{rule}: ", done.stdout, re.MULTILINE), done.stdout
    assert f"replay: python -m tests.campaign --each --only {canary}" in done.stdout
    assert '"seed": 1' in done.stdout
