"""The table of edge repositories is whole, and its script makes what it names."""

from pathlib import Path

import pytest

from tests.edge.__main__ import main
from tests.edge.catalogue import EDGES, REPOSITORIES


def test_there_are_many_and_each_has_a_name_of_its_own() -> None:
    names = [edge.name for edge in EDGES]
    assert len(names) == len(set(names)) > 140
    assert all(edge.what and (edge.turn is None) is (edge.then is None) for edge in EDGES)


def test_the_script_makes_what_is_named_and_lists_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "edges"
    assert main([str(folder), "empty", "octopus"]) == 0
    assert {path.name for path in (folder / REPOSITORIES).iterdir()} == {"empty", "octopus"}
    assert capsys.readouterr().out.startswith("2 repositories in ")
    assert main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert all(f"{edge.name} " in listed for edge in EDGES)
    for words in ([], [str(folder)], [str(tmp_path / "new"), "nosuch"]):
        with pytest.raises(SystemExit):
            main(words)
