"""Whoever hangs keeps only its own kind waiting: its server's repositories, or those that failed before."""

from __future__ import annotations

import asyncio
import threading
from functools import partial

import pytest

from surveil.hands.threads import REMOTE_THREADS, SERVER_THREADS, Threads
from surveil.mirror.address import Address, parse

SERVERS = REMOTE_THREADS // SERVER_THREADS + 1
SLOW = [parse(f"https://slow{number}.example/project", "/") for number in range(SERVERS)]
WELL = parse("https://well.example/project", "/")
LOCAL = parse("/srv/project", "/")
PATIENCE_S = 60


@pytest.mark.parametrize(
    ("hung", "doubtful"),
    [(SLOW[:1] * (REMOTE_THREADS + 1), False), (SLOW * SERVER_THREADS, True)],
    ids=["one server", "all that failed before"],
)
def test_who_hangs_holds_up_nobody_of_another_kind(hung: list[Address], *, doubtful: bool) -> None:
    async def scene() -> None:
        threads = Threads([*SLOW, WELL, LOCAL])
        until = threading.Event()
        waiting = [
            asyncio.create_task(threads.at(address, partial(until.wait, PATIENCE_S), doubtful=doubtful))
            for address in hung
        ]
        try:
            await asyncio.sleep(0)  # They come first.
            async with asyncio.timeout(PATIENCE_S / 4):
                assert await threads.at(WELL, lambda: "well", doubtful=False) == "well"
                assert await threads.at(LOCAL, lambda: "local", doubtful=False) == "local"
                await threads.tidy(lambda: None)
            assert not any(task.done() for task in waiting)
        finally:
            until.set()
        assert await asyncio.gather(*waiting) == [True] * len(hung)
        await threads.close()

    asyncio.run(scene())


def test_a_server_is_asked_so_many_things_at_once_and_then_the_others() -> None:
    async def scene() -> None:
        threads = Threads([WELL])
        until, enough = threading.Event(), threading.Event()
        begun: list[int] = []

        def ask(number: int) -> bool:
            begun.append(number)
            if len(begun) >= SERVER_THREADS:
                enough.set()
            return until.wait(PATIENCE_S)

        numbers = list(range(2 * SERVER_THREADS))
        asked = [asyncio.create_task(threads.at(WELL, partial(ask, number), doubtful=False)) for number in numbers]
        assert await asyncio.to_thread(enough.wait, PATIENCE_S / 2)
        await asyncio.sleep(0.1)  # Time for one too many to begin.
        assert sorted(begun) == numbers[:SERVER_THREADS]
        until.set()
        assert await asyncio.gather(*asked) == [True] * len(numbers)
        assert sorted(begun) == numbers
        await threads.close()

    asyncio.run(scene())
