"""How `up` tells of a build from its beginning to its verdict."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from surveil.up.screen import Screen
from surveil.up.story import Teller
from tests.up.test_screen import Stream


class Dispatcher:
    """Answers about one build that has its verdict already."""

    def __init__(self, **build: Any) -> None:
        about = {"id": 7, "repo": "/srv/tree", "ref": "refs/heads/main", "sha": "a" * 40, "message": "Add it"}
        times = {"started_at": None, "finished_at": None}
        self._build = {**about, **times, "jobs": [], "rule": None, **build}

    async def build(self, _number: int) -> dict[str, Any]:
        return self._build

    async def follow_build(self, _number: int) -> AsyncIterator[dict[str, Any]]:
        notes: tuple[dict[str, Any], ...] = ()
        for note in notes:
            yield note


def told(dispatcher: Dispatcher) -> tuple[str, str]:
    """What stands on stdout and on stderr at the end."""

    async def scene() -> tuple[str, str]:
        out, err = Stream(), Stream()
        await Teller(dispatcher, Screen(out, err)).tell(7)  # type: ignore[arg-type]  # It asks for no more than this.
        return out.written(), err.written()

    return asyncio.run(scene())


def test_why_a_build_could_not_begin_is_said_once() -> None:
    out, err = told(Dispatcher(state="errored", reason="no pipeline file", complaints=["no pipeline file"]))
    assert out == "errored   build 7: tree main aaaaaaa Add it: no pipeline file\n"
    assert err == "build 7: tree main aaaaaaa Add it\n"


def test_complaints_that_are_not_the_reason_are_told_before_the_verdict() -> None:
    out, err = told(Dispatcher(state="errored", reason="invalid", complaints=[".surveil.yml:1:1: no", "nor this"]))
    assert out.startswith("errored   build 7: ")
    assert err.splitlines()[1:] == [".surveil.yml:1:1: no", "nor this"]
