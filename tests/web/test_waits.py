"""Those who follow very much: what they take of the room for questions at the dispatcher, which others need as well."""

from __future__ import annotations

import asyncio

import pytest

from surveil.web import behalf, waits
from surveil.web.books import AllBooks
from tests.store.records import make_note, new
from tests.web.stage import Stage

NEWEST = 10**6
"""A place of the journal at which there is nothing for a long time."""
TAKEN = [waits.WAITING_EACH_MAX, waits.WAITING_MAX, waits.WAITING_MAX]
"""What one person takes, and then another one, and a third one in vain."""


def follow(books: AllBooks, person: str, number: int) -> list[asyncio.Task[object]]:
    """Somebody waits for so many different things."""

    async def wait(place: int) -> object:
        behalf.remember(person, behalf.API)
        return await books.ask("journal", {"after": NEWEST + place, "wait_ms": 30_000})

    return [asyncio.create_task(wait(place)) for place in range(number)]


async def asked(stage: Stage, number: int) -> None:
    """Wait until so many questions are at the dispatcher, and for those that would be too many."""
    async with asyncio.timeout(20):
        while len(stage.dispatcher.asked) < number:  # noqa: ASYNC110  # Threads of a database's are waited for.
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)


def test_nobody_who_follows_very_much_takes_the_room_of_others(stage: Stage) -> None:
    """One who may only look kept everybody from cancelling a build, and ended `surveil up`."""
    books: AllBooks = stage.app.state.books

    async def scenario() -> list[int]:
        counts: list[int] = []
        tasks: list[asyncio.Task[object]] = []
        for person, expected in zip(("greedy", "ada", "bob"), TAKEN, strict=True):
            tasks += follow(books, person, 2 * waits.WAITING_EACH_MAX)
            await asked(stage, expected)
            counts.append(len(stage.dispatcher.asked))
        assert (await books.ask("status")).body["dispatcher"]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return counts

    assert asyncio.run(scenario()) == TAKEN


def test_who_does_not_get_to_wait_still_hears_what_happens(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "WAITING_MAX", 0)
    monkeypatch.setattr(waits, "AGAIN_S", 0.01)
    books: AllBooks = stage.app.state.books

    async def scenario() -> list[str]:
        heard: list[str] = []
        asking = {"after": 0, "wait_ms": 30_000}
        assert (await books.ask("journal", asking)).body["notes"] == []
        stage.desk.store.commit(new(notes=(make_note(reason="news"),)))
        async with asyncio.timeout(20):
            while not heard:
                heard += [note["reason"] for note in (await books.ask("journal", asking)).body["notes"]]
        return heard

    assert asyncio.run(scenario()) == ["news"]
    assert stage.dispatcher.asked == []
