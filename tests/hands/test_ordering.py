"""First the tombstone, then the deed."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from surveil.core.model import AttemptId
from surveil.core.run_events import Effect, Event, Forget, Send, TombstoneFailed, WriteTombstone
from surveil.execute.identity import Tombstones
from surveil.hands.ordering import Orders
from surveil.protocol import Accepted, Heartbeat
from surveil.tasks import Tasks

ONE, TWO = ("7/one", 1), ("7/two", 1)
BEAT = Send(message=Heartbeat(incarnation=1, seq=1, held=(), free=1, load_percent=0, disk_free_mib=1))


def accepted(attempt: AttemptId) -> Send:
    return Send(message=Accepted(job=attempt[0], attempt=attempt[1]))


class Slow(Tombstones):
    """Tombstones on a disk that takes its time, or refuses."""

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self.gate = threading.Event()
        self.refuses = False

    def write(self, attempts: object) -> None:
        assert self.gate.wait(30)
        if self.refuses:
            raise OSError(28, "No space left on device")
        super().write(attempts)  # type: ignore[arg-type]


class Desk:
    """Orders, and everything that was done and told."""

    def __init__(self, data: Path) -> None:
        self.tombstones = Slow(data)
        self.done: list[Effect] = []
        self.told: list[Event] = []
        self.held: list[AttemptId] = []
        self.hold_fails = False
        self.tasks = Tasks(lambda failure: None)
        self.orders = Orders(
            self.tombstones, hold=self._hold, do=self.done.append, tell=self.told.append, start=self.tasks.start
        )

    def _hold(self, order: WriteTombstone) -> None:
        if self.hold_fails:
            raise OSError(5, "Input/output error")
        self.held.append(order.id)

    async def settle(self) -> None:
        self.tombstones.gate.set()
        await self.tasks.wait()
        self.tasks.check()
        self.tombstones.close()


def test_nothing_is_done_before_its_tombstone_but_signs_of_life(tmp_path: Path) -> None:
    first: list[Effect] = [WriteTombstone(id=ONE, assign=None), accepted(ONE)]
    second: list[Effect] = [Forget(id=TWO)]

    async def scene() -> Desk:
        desk = Desk(tmp_path)
        desk.orders.follow(first)
        desk.orders.follow(second)
        desk.orders.follow([BEAT])
        await asyncio.sleep(0)
        assert desk.done == [BEAT], "a slow disk delays no heartbeat, and all else keeps its order"
        await desk.settle()
        return desk

    desk = asyncio.run(scene())
    assert desk.done == [BEAT, *first, *second]
    assert desk.held == [ONE]
    assert desk.told == []
    assert (tmp_path / "tombstones").read_text() == "@faa9f0b3 1 7/one\n"


def test_what_waits_for_nothing_is_done_at_once(tmp_path: Path) -> None:
    async def scene() -> Desk:
        desk = Desk(tmp_path)
        desk.orders.follow([Forget(id=ONE)])
        assert desk.done == [Forget(id=ONE)]
        await desk.settle()
        return desk

    assert asyncio.run(scene()).done == [Forget(id=ONE)]


def test_an_order_whose_tombstone_was_refused_is_not_followed(tmp_path: Path) -> None:
    async def scene() -> Desk:
        desk = Desk(tmp_path)
        desk.tombstones.refuses = True
        desk.orders.follow([WriteTombstone(id=ONE, assign=None), accepted(ONE)])
        desk.orders.follow([Forget(id=TWO)])
        await desk.settle()
        return desk

    desk = asyncio.run(scene())
    assert desk.done == [Forget(id=TWO)]
    assert desk.told == [TombstoneFailed(id=ONE, reason="No space left on device")]
    assert desk.held == []


def test_an_order_that_cannot_be_noted_is_not_followed(tmp_path: Path) -> None:
    async def scene() -> Desk:
        desk = Desk(tmp_path)
        desk.hold_fails = True
        desk.orders.follow([WriteTombstone(id=ONE, assign=None), accepted(ONE)])
        await desk.settle()
        return desk

    desk = asyncio.run(scene())
    assert desk.done == []
    assert desk.told == [TombstoneFailed(id=ONE, reason="Input/output error")]
