"""The tutorial, typed as it stands: what it says to type works on a new account, and does what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.net.stage import free_ports
from tests.system.processes import PATIENCE_S, Running, eventually

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def typed(section: str) -> list[str]:
    """The blocks of shell of one section."""
    text = TUTORIAL.read_text()
    ((body),) = re.findall(rf"^## \d+\. {re.escape(section)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^```sh\n(.*?)^```$", body, re.MULTILINE | re.DOTALL)


class Account:
    """A new account on a machine that has git and surveil, and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "bin").mkdir()
        program = home / "bin" / "surveil"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m surveil "$@"\n')
        program.chmod(0o755)
        people = {
            f"GIT_{who}_{what}": "ann@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        self.environment = {
            "HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", "LANG": "C.UTF-8",
            # The usual port may be another's on this machine.
            "SURVEIL_LISTEN": f"tcp://127.0.0.1:{free_ports()}", **people,
        }  # fmt: skip

    def types(self, *blocks: str) -> str:
        """Type blocks into one terminal, and return what it shows; `mkdir`, `cd` and the like hold for the next."""
        done = subprocess.run(
            ["bash"], input="".join(blocks), cwd=self.home, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=2 * PATIENCE_S, check=False,
        )  # fmt: skip
        return done.stdout

    def starts(self, block: str) -> Running:
        """Type a block that goes on, in a terminal of its own, in the project's folder."""
        return Running(
            subprocess.Popen(
                ["bash", "-c", f"exec {block}"], cwd=self.home / "surveil-tutorial", env=self.environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )
        )  # fmt: skip


@pytest.mark.timeout(400)  # Twenty commands and four builds, on a machine that may be busy.
def test_what_the_tutorial_says_to_type_does_what_it_says(tmp_path: Path) -> None:
    ann = Account(tmp_path)
    project, ask, run = typed("A project")
    passes, breaks = typed("One verdict")
    watch, repair, question = typed("Every commit")
    slow, pull = typed("Pull a plug")

    shown = ann.types(project, ask, run)
    assert ".surveil.yml: valid; jobs: 2, steps: 2" in shown
    assert "Hello from local" in shown
    assert re.search(r"^1\n2\n3$", shown, re.MULTILINE)
    shown = ann.types("cd ~/surveil-tutorial\n", passes)
    assert "passed    build 1" in shown
    assert shown.endswith("\n0\n")
    shown = ann.types("cd ~/surveil-tutorial\n", breaks)
    assert "failed    build 1" in shown
    assert shown.endswith("\n1\n")

    with ann.starts(watch) as up:
        up.wait_for("failed    build 1")
        ann.types(repair)
        up.wait_for("passed    build 2")
        shown = ann.types(question)
        assert "surveil: " not in shown, shown
        assert shown.count("local-1") >= 1
        assert "$(seq 30)" in slow
        ann.types("cd ~/surveil-tutorial\n", slow.replace("$(seq 30)", "$(seq 8)"))  # Twenty-two seconds show no more.
        up.wait_for("| 3")
        assert ann.types(pull) == ""
        up.wait_for("dispatcher runs again")
        up.wait_for("passed    build 3")
        numbers = [line.rpartition("| ")[2] for line in up.lines if re.fullmatch(r"\S+ *\| \d+", line)]
        assert numbers[-8:] == [str(number) for number in range(1, 9)]
        assert up.interrupt() == 0
    assert eventually(lambda: not subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True).stdout)  # noqa: PLW1510
