"""Ctrl-C, once and twice, as signals to this very process."""

import asyncio
import os
import signal

import pytest

from surveil.up.interrupts import Interrupted, Interrupts


def test_the_first_signal_cancels_the_work_and_the_second_is_told_apart() -> None:
    async def scene() -> tuple[bool, bool, bool]:
        interrupts, cancelled = Interrupts(), asyncio.Event()

        async def work() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        with pytest.raises(Interrupted):
            await interrupts.unless_first(work())
        stopping = asyncio.create_task(asyncio.Event().wait())
        second_before = interrupts.second.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        done = await interrupts.until_second(stopping)  # type: ignore[arg-type]
        stopping.cancel()
        return cancelled.is_set(), second_before, done

    assert asyncio.run(scene()) == (True, False, False)


def test_work_that_is_not_interrupted_gives_its_result_or_its_error() -> None:
    async def fine() -> int:
        return 3

    async def broken() -> int:
        raise ValueError("broken")

    async def scene() -> int:
        interrupts = Interrupts()
        with pytest.raises(ValueError, match="broken"):
            await interrupts.unless_first(broken())
        return await interrupts.unless_first(fine())

    assert asyncio.run(scene()) == 3


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    async def scene() -> bool:
        interrupts = Interrupts()
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return interrupts.first.is_set()

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert not asyncio.run(scene())
    finally:
        signal.signal(signal.SIGHUP, before)
