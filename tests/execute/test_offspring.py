"""What a step's process is, between its fork and its program: bounded, and never without its keeper."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from surveil.execute.keeper import offspring

ROOT = Path(__file__).parents[2]
ORPHAN = """
import os, signal, sys
from surveil.execute.keeper import offspring

keeper, become_leader = os.getpid(), os.setsid

def die_first():
    become_leader()
    if os.getpid() != keeper:
        os.kill(keeper, signal.SIGKILL)
        while os.getppid() == keeper:
            pass

os.setsid = die_first
offspring.start(["sh", "-c", "echo lives"], {"PATH": os.environ["PATH"]}, "/", 1, offspring.Surroundings())
"""
"""A keeper that dies after it forked a step, and before the step asked to die with it."""


def says(script: str) -> list[str]:
    """What a step's program says."""
    output, theirs = os.pipe()
    pid = offspring.start(["sh", "-c", script], {"PATH": os.environ["PATH"]}, "/", theirs, offspring.Surroundings())
    os.close(theirs)
    with open(output, encoding="utf-8") as told:  # noqa: PTH123  # a descriptor
        lines = told.read().split()
    assert os.waitpid(pid, 0)[1] == 0
    return lines


def test_what_a_step_may_have_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    most = min(700, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    monkeypatch.setattr(offspring, "FILES_MAX", most)
    monkeypatch.setattr(offspring, "FILE_BYTES_MAX", 1 << 20)
    limits = "ulimit -Sc; ulimit -Hc; ulimit -Sn; ulimit -Hn; ulimit -Sf; ulimit -Hf"
    # The shell counts files in blocks of 512 bytes.
    assert says(limits) == ["0", "0", str(most), str(most), "2048", "2048"]


def test_what_is_bounded_already_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(offspring, "FILES_MAX", hard + 1)
    assert says("ulimit -Sn; ulimit -Hn") == [str(soft), str(hard)]


def test_a_step_whose_keeper_died_while_it_was_made_never_begins() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False,
        timeout=60,
    )  # fmt: skip
    # Its output has ended, so nobody is left who could say more.
    assert (done.returncode, done.stdout) == (-9, b"")
