"""Tasks that somebody owns."""

import asyncio

import pytest

from surveil.tasks import Tasks


def test_a_task_that_fails_wakes_its_owner_who_gets_the_first_failure() -> None:
    async def scene() -> None:
        told = list[BaseException]()
        tasks = Tasks(told.append)

        async def fail(word: str) -> None:
            raise ValueError(word)

        tasks.check()
        tasks.start(fail("first"))
        tasks.start(fail("second"))
        await tasks.wait()
        assert [str(failure) for failure in told] == ["first", "second"]
        with pytest.raises(ValueError, match="first"):
            tasks.check()

    asyncio.run(scene())


def test_waiting_waits_for_what_tasks_start_themselves() -> None:
    async def scene() -> list[str]:
        done = list[str]()
        tasks = Tasks(lambda _: done.append("failed"))

        async def one(depth: int) -> None:
            await asyncio.sleep(0)
            done.append(str(depth))
            if depth:
                tasks.start(one(depth - 1))

        tasks.start(one(2))
        await tasks.wait()
        return done

    assert asyncio.run(scene()) == ["2", "1", "0"]


def test_the_end_cancels_everything_and_is_no_failure() -> None:
    async def scene() -> list[str]:
        done = list[str]()
        tasks = Tasks(lambda _: done.append("failed"))

        async def stubborn() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                done.append("tidied")

        for _ in range(2):
            tasks.start(stubborn())
        await tasks.wait(patience_s=0.01)
        assert done == []
        await tasks.end()
        tasks.check()
        return done

    assert asyncio.run(scene()) == ["tidied", "tidied"]
