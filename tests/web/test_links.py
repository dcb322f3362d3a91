"""Where links lead that are made on the dispatcher's machine."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from surveil.errors import InfrastructureError
from surveil.web.whereabouts import FOLDER, address_of, served_at, serving_at

USUAL = "http://127.0.0.1:7380"
SERVE = """
import sys, time, pathlib
from surveil.web.whereabouts import serving_at
with serving_at(pathlib.Path(sys.argv[1]), sys.argv[2], is_public=False, now=5):
    print("serves", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("served", "reached"),
    [
        ("http://127.0.0.1:7380", "http://127.0.0.1:7380"),
        ("http://0.0.0.0:7380", "http://127.0.0.1:7380"),
        ("http://[::]:7380", "http://[::1]:7380"),
        ("https://ci.example.org/ci", "https://ci.example.org/ci"),
    ],
)
def test_a_link_leads_to_an_address_at_which_somebody_is(tmp_path: Path, served: str, reached: str) -> None:
    assert address_of(tmp_path) == USUAL
    with serving_at(tmp_path, served, is_public=False, now=1):
        assert (address_of(tmp_path), served_at(tmp_path)) == (reached, reached)
    assert served_at(tmp_path) is None
    assert address_of(tmp_path) == reached, "where they were is better than nothing"


def test_of_several_who_serve_the_one_that_people_reach_has_the_links_and_else_the_first(tmp_path: Path) -> None:
    first, second, public = "http://127.0.0.1:1", "http://127.0.0.1:2", "https://ci.example.org"
    with serving_at(tmp_path, first, is_public=False, now=1):
        with serving_at(tmp_path, second, is_public=False, now=2):
            assert address_of(tmp_path) == first
            with serving_at(tmp_path, public, is_public=True, now=3):
                assert address_of(tmp_path) == public
            assert address_of(tmp_path) == first
        assert address_of(tmp_path) == first, "who came last and went moved nobody"
    with ExitStack() as stack:
        ending = stack.enter_context(ExitStack())
        ending.enter_context(serving_at(tmp_path, first, is_public=False, now=4))
        stack.enter_context(serving_at(tmp_path, second, is_public=False, now=5))
        ending.close()
        assert address_of(tmp_path) == second, "nobody is sent to who ended"


def test_who_was_killed_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVE, str(tmp_path), "http://127.0.0.1:9"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"serves\n"
        with serving_at(tmp_path, "http://127.0.0.1:8", is_public=False, now=7):
            assert address_of(tmp_path) == "http://127.0.0.1:9"
            other.kill()
            other.wait()
            assert address_of(tmp_path) == "http://127.0.0.1:8"
    with serving_at(tmp_path, "http://127.0.0.1:7", is_public=False, now=8):
        assert len(list((tmp_path / FOLDER).iterdir())) == 1, "what the others left is taken away"


@pytest.mark.parametrize("text", ["", "[", "[]", '{"address": 1, "public": true, "since": 1}', "null"])
def test_what_is_no_address_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "x.json").write_text(text)
    assert address_of(tmp_path) == USUAL


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in its place")
    with (
        pytest.raises(InfrastructureError, match="cannot be written"),
        serving_at(tmp_path, USUAL, is_public=False, now=1),
    ):
        pass
