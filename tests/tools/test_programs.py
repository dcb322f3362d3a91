"""What installs the programs that tests start: all that is missing, and in `make test` only where it may."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def install(folder: Path, *words: str, apt_ends_with: int = 0) -> tuple[int, str, str]:
    """Its code, what it said, and what it asked of apt-get on a machine that has no program but a shell's own."""
    for name in ("apt-get", "env", "sudo"):
        body = f'echo "$@" >> {folder}/asked\nexit {apt_ends_with}\n' if name == "apt-get" else 'exec "$@"\n'
        if name == "env":
            body = f"shift\n{body}"
        (folder / name).write_text(f"#!{shutil.which('bash')}\n{body}")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        [str(shutil.which("bash")), ROOT / ".ci" / "programs", *words], env={"PATH": str(folder)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    asked = folder / "asked"
    return done.returncode, done.stdout, asked.read_text() if asked.exists() else ""


def test_a_server_of_continuous_integration_installs_what_it_lacks(tmp_path: Path) -> None:
    code, said, asked = install(tmp_path)
    assert code == 0
    assert said.startswith("Installing what this machine lacks: git make ")
    assert asked.splitlines()[0] == "update -qq"
    installed = {*asked.splitlines()[1].split()}
    assert {"bubblewrap", "podman", "busybox-static"} <= installed
    # Of the browser one build, and the one without windows where there is one.
    debian = "\nID=debian\n" in Path("/etc/os-release").read_text(encoding="utf-8")
    assert {each for each in installed if "chromium" in each} == {"chromium-headless-shell" if debian else "chromium"}


def test_what_cannot_be_installed_there_is_an_error(tmp_path: Path) -> None:
    assert install(tmp_path, apt_ends_with=100)[0] == 100


@pytest.mark.parametrize("apt_ends_with", [0, 100])
def test_where_it_may_it_installs_and_elsewhere_it_says_what_to_type(tmp_path: Path, apt_ends_with: int) -> None:
    code, said, asked = install(tmp_path, "where-it-may", apt_ends_with=apt_ends_with)
    assert code == 0, "tests that lack a program say so themselves"
    assert ("bubblewrap" in asked) == (os.geteuid() == 0 and not apt_ends_with)
    assert ("type 'sudo apt install git make " in said) == (os.geteuid() != 0 or bool(apt_ends_with))


def test_the_tests_install_what_they_need_where_they_may() -> None:
    assert "\n\t@.ci/programs where-it-may\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\n.ci/programs\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
