"""A dispatcher whose disk fills again and again: it starts anew in the same process, and nothing of before is kept.

The disk is not really full here (`tests/system/test_full_disk.py` has one that is): each life is told so once it runs.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from pathlib import Path

import pytest

from surveil import dispatcher as dispatcher_module
from surveil.config import DispatcherConfig
from surveil.dispatcher import Dispatcher, serve
from surveil.errors import ExitCode
from surveil.hands import refusing
from surveil.store import FullError

LIVES = 5


def _open_now() -> tuple[int, int]:
    """How many descriptors and threads this process has, but for the threads of asyncio's own pool: they are the
    process's, and one more of them is started whenever all others are busy.
    """
    descriptors, threads = (sum(1 for _ in Path("/proc/self", what).iterdir()) for what in ("fd", "task"))
    return descriptors, threads - sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())


def test_nothing_of_a_life_that_a_full_disk_ended_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusing, "REST_MS", 0)
    run, minds, found = Dispatcher.run, [], []

    async def run_until_full(self: Dispatcher) -> None:
        minds.append(weakref.ref(self))
        found.append((sum(mind() is not None for mind in minds), *_open_now()))
        running = asyncio.create_task(run(self))
        await asyncio.sleep(0)
        self.stop()
        await running
        if len(minds) < LIVES:
            raise FullError("the disk is full")

    monkeypatch.setattr(dispatcher_module.Dispatcher, "run", run_until_full)
    try:
        assert asyncio.run(serve(DispatcherConfig(data=tmp_path, listen="tcp://127.0.0.1:0"))) is ExitCode.OK
    finally:
        gc.unfreeze()
    assert [alive for alive, _, _ in found] == [1] * LIVES, "the minds of earlier lives are kept"
    _, (_, descriptors, threads), *_, (_, descriptors_at_last, threads_at_last) = found
    assert descriptors_at_last <= descriptors
    assert threads_at_last <= threads
