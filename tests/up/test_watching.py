"""What `up` says to somebody who has to type something elsewhere."""

import sys
from pathlib import Path

import pytest

from surveil.up.watching import elsewhere, joining

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("found", [True, False])
def test_whoever_has_surveil_on_no_path_is_told_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "surveil").touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(programs if found else tmp_path))
    first = "" if found else f', after export PATH="{programs}:$PATH"'
    assert elsewhere() == f"in another terminal{first}"


def test_a_program_that_is_nowhere_is_not_pointed_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert elsewhere() == "in another terminal"


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/how-to/add-a-machine.md"])
def test_what_a_spare_machine_types_is_what_the_pages_say(page: str) -> None:
    assert f"\n{joining('svl1.…')}\n" in (ROOT / page).read_text()
