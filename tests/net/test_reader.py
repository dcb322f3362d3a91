"""When sockets are read, and that nobody is starved."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

from surveil.net import reader as reader_module
from surveil.net.reader import Reader


class Pipe:
    """A source that is as silent as ZeroMQ's can be: its descriptor is ready only when `sign` was called."""

    def __init__(self) -> None:
        self.descriptor, self._writer = os.pipe()
        self.dry = False
        self.waiting: list[str] = []

    def sign(self) -> None:
        os.write(self._writer, b"!")

    def take(self) -> list[str]:
        taken, self.waiting = self.waiting[:1], self.waiting[1:]
        self.dry = not taken
        return taken

    def close(self) -> None:
        os.close(self.descriptor)
        os.close(self._writer)


@pytest.fixture
def pipes() -> Iterator[tuple[Pipe, Pipe]]:
    pair = Pipe(), Pipe()
    yield pair
    for pipe in pair:
        pipe.close()


def reader_of(pipes: tuple[Pipe, ...]) -> Reader[list[str]]:
    return Reader(lambda: pipes, lambda: [word for pipe in pipes if not pipe.dry for word in pipe.take()])


def test_what_waits_is_taken_although_no_descriptor_tells_of_it(pipes: tuple[Pipe, Pipe]) -> None:
    async def scene() -> None:
        pipes[0].waiting = ["a", "b"]
        reader = reader_of(pipes)
        assert [await reader.read(10_000), await reader.read(10_000)] == [["a"], ["b"]]

    asyncio.run(scene())


def test_a_sleeper_is_woken_by_a_descriptor_and_reads_that_source_alone(pipes: tuple[Pipe, Pipe]) -> None:
    async def scene() -> None:
        first, second = pipes
        reader = reader_of(pipes)
        reading = asyncio.create_task(reader.read(10_000))
        await asyncio.sleep(0.01)
        first.waiting, second.waiting = ["a"], ["b"]
        first.sign()
        assert await reading == ["a"]
        for pipe in pipes:
            reader.forget(pipe)

    asyncio.run(scene())


def test_what_came_without_a_sign_is_found_at_the_end_of_a_sleep(
    pipes: tuple[Pipe, Pipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_module, "SLEEP_MS", 20)

    async def scene() -> None:
        reader = reader_of(pipes)
        reading = asyncio.create_task(reader.read(10_000))
        await asyncio.sleep(0.01)
        pipes[1].waiting = ["missed"]
        assert await reading == ["missed"]
        # An owner that never waits for long finds it as well.
        pipes[0].waiting = ["again"]
        assert await reader.read(5) + await reader.read(5) == ["again"]
        for pipe in pipes:
            reader.forget(pipe)

    asyncio.run(scene())


def test_a_source_that_something_was_done_to_is_read_again(pipes: tuple[Pipe, Pipe]) -> None:
    async def scene() -> None:
        reader = reader_of(pipes)
        reading = asyncio.create_task(reader.read(10_000))
        await asyncio.sleep(0.01)
        pipes[1].waiting = ["answer"]
        reader.look_at(pipes[1])
        assert await reading == ["answer"]
        for pipe in pipes:
            reader.forget(pipe)

    asyncio.run(scene())


def test_a_source_that_is_never_dry_starves_neither_the_others_nor_the_loop(pipes: tuple[Pipe, Pipe]) -> None:
    async def scene() -> None:
        endless, quiet = pipes
        reader = reader_of(pipes)
        turns = 0

        async def other_work() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        working = asyncio.create_task(other_work())
        endless.take = lambda: ["x"]  # type: ignore[method-assign]
        assert await reader.read(10_000) == ["x"]
        assert quiet.dry
        quiet.waiting = ["word"]
        taken: list[str] = []
        async with asyncio.timeout(60):
            while "word" not in taken:
                taken += await reader.read(10_000)
        assert turns > 0
        working.cancel()

    asyncio.run(scene())


def test_waking_and_waiting_in_vain_take_nothing(pipes: tuple[Pipe, Pipe]) -> None:
    async def scene() -> None:
        reader = reader_of(pipes)
        assert await reader.read(5) == []
        reader.wake()
        assert await reader.read(10_000) == []
        reading = asyncio.create_task(reader.read(10_000))
        await asyncio.sleep(0.01)
        reader.wake()
        assert await reading == []
        for pipe in pipes:
            reader.forget(pipe)

    asyncio.run(scene())
