"""Many who ask the same cost as much as one."""

import asyncio
import gc
from typing import cast

import pytest

from surveil.client.asking import Client
from surveil.errors import NotFoundError, UnreachableError
from surveil.web import books
from surveil.web.remembered import KEPT_MAX, Remembered
from tests.answer.desk import Desk


class Source:
    """Answers with how often it was asked, once it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.may = asyncio.Event()

    async def __call__(self) -> int:
        self.asked += 1
        mine = self.asked
        await self.may.wait()
        return mine


def test_all_who_wait_for_the_same_get_one_answer() -> None:
    async def scenario() -> None:
        remembered, source = Remembered(), Source()
        waiting = [asyncio.create_task(remembered.get("key", source)) for _ in range(100)]
        await asyncio.sleep(0)
        source.may.set()
        assert await asyncio.gather(*waiting) == [1] * 100
        assert await remembered.get("key", source) == 2
        assert await remembered.get("key", source, fresh_s=60) == 3
        assert await remembered.get("key", source, fresh_s=60) == 3
        remembered.forget()
        assert await remembered.get("key", source, fresh_s=60) == 4

    asyncio.run(scenario())


def test_whoever_goes_away_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        remembered, source = Remembered(), Source()
        first, second = (asyncio.create_task(remembered.get("key", source)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        source.may.set()
        assert await second == 1

    asyncio.run(scenario())


def test_a_failure_of_which_nobody_is_left_to_be_told_is_not_taken_for_a_defect() -> None:
    said: list[object] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: said.append(about["message"]))
        remembered, may = Remembered(), asyncio.Event()

        async def failing() -> None:
            await may.wait()
            raise NotFoundError("There is none.")

        alone = asyncio.create_task(remembered.get("key", failing))
        await asyncio.sleep(0)
        alone.cancel()
        await asyncio.sleep(0)
        may.set()
        await asyncio.wait([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])
        del alone
        gc.collect()

    asyncio.run(scenario())
    assert said == []


def test_a_failure_is_everybodys_and_is_not_kept_for_the_next() -> None:
    async def scenario() -> None:
        remembered = Remembered()

        async def fail() -> None:
            raise UnreachableError("away")

        with pytest.raises(UnreachableError):
            await remembered.get("key", fail)
        assert await remembered.get("key", _one) == 1

    asyncio.run(scenario())


def test_what_is_kept_is_bounded() -> None:
    async def scenario() -> None:
        remembered = Remembered()
        for key in range(KEPT_MAX + 5):
            await remembered.get(key, _one, fresh_s=60)
        assert len(remembered._kept) == KEPT_MAX  # noqa: SLF001  # nothing else tells
        kept = next(iter(remembered._kept))  # noqa: SLF001
        await remembered.get("large", _one)
        assert "large" not in remembered._kept  # noqa: SLF001
        assert kept in remembered._kept, "what nobody may have later takes nobody's place"  # noqa: SLF001

    asyncio.run(scenario())


async def _one() -> int:
    return 1


def test_of_so_many_repositories_it_is_remembered_what_their_builds_take_and_of_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(books, "USUAL_KEPT_MAX", 5)
    kept = books.AllBooks(Desk().answers(), cast("Client", None))

    async def ask() -> None:
        for number in range(40):
            repos = [f"/srv/{number}", f"/srv/other/{number}"]
            assert await kept.usual_ms(repos) == dict.fromkeys(repos)
            assert len(kept._usual) <= 5 + len(repos)  # noqa: SLF001  # that it is bounded shows nowhere else

    asyncio.run(ask())
