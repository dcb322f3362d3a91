"""Questions that an answer can do without take no more of the dispatcher than they may."""

from __future__ import annotations

import asyncio

import pytest

from surveil.core.model import Status
from surveil.errors import UnreachableError
from surveil.web import sparing
from surveil.web.sparing import Sparing
from tests.store.records import make_build, make_job, new
from tests.web.stage import Stage


async def answer() -> int:
    return 7


def test_after_a_question_there_is_a_pause_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "TURN_S", 0.01)
    monkeypatch.setattr(sparing, "PAUSE", 10**9)
    monkeypatch.setattr(sparing, "PAUSE_S_MAX", 3600.0)

    async def scenario() -> int:
        asked = Sparing()
        found: int = await asked.ask(answer)
        with pytest.raises(UnreachableError):
            await asked.ask(answer)
        return found

    assert asyncio.run(scenario()) == 7


def test_whoever_gets_no_turn_is_told_so_and_the_next_one_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparing, "TURN_S", 0.01)
    monkeypatch.setattr(sparing, "PAUSE", 0)

    async def scenario() -> int:
        asked, goes_on = Sparing(), asyncio.Event()
        first = asyncio.create_task(asked.ask(goes_on.wait))
        await asyncio.sleep(0)
        with pytest.raises(UnreachableError):
            await asked.ask(goes_on.wait)
        goes_on.set()
        await first
        await asyncio.sleep(0)
        monkeypatch.setattr(sparing, "TURN_S", 30.0)
        found: int = await asked.ask(answer)
        return found

    assert asyncio.run(scenario()) == 7


def test_builds_are_shown_without_reasons_while_others_ask_for_very_many(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred lists a second, each another one, took more than the dispatcher has."""
    monkeypatch.setattr(sparing, "TURN_S", 0.01)
    stage.desk.store.commit(new(make_build(3, state=Status.QUEUED), make_job(3, state=Status.QUEUED)))
    books, asked, gate = stage.app.state.books, stage.dispatcher.ask, asyncio.Event()

    async def slow(*what: object, **about: object) -> object:
        await gate.wait()
        return await asked(*what, **about)  # type: ignore[arg-type]  # as it is

    monkeypatch.setattr(stage.dispatcher, "ask", slow)

    async def scenario() -> int:
        found = await books.ask("builds", {})
        lists = [asyncio.create_task(books.explained("builds", {"limit": limit}, found)) for limit in range(1, 20)]
        done, waiting = await asyncio.wait(lists, timeout=5)
        assert all(each.result() is found for each in done)
        gate.set()
        await asyncio.gather(*waiting)
        return len(waiting)

    assert asyncio.run(scenario()) == 1
