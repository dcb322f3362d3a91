"""Output on its way to a real log store: kept when it is on disk and not before, from its owner alone, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from surveil.core.model import Attempt
from surveil.core.peers import Peer, Role
from surveil.core.policy import Policy
from surveil.core.state import Changes
from surveil.hands import intake
from surveil.hands.closing import Closing
from surveil.hands.intake import Intake
from surveil.net.admission import Sender
from surveil.net.traffic import Received, Route
from surveil.protocol import Kept, Message, Output, Refused, Release
from surveil.store import BuildDetail, StoreError
from surveil.store.logs import LogStore
from surveil.store.sums import DamagedError
from tests.store.memory import MemoryReader, MemoryStore

OWNER = Peer(key="o" * 40, role=Role.RUNNER, name="owner")
STRANGER = Peer(key="s" * 40, role=Role.RUNNER, name="stranger")
HOME, ELSEWHERE = Route(bulk=True, id=b"owner"), Route(bulk=True, id=b"stranger")
JOB = "7/test"
NOW = 1_750_000_000_000
PATIENCE_S = 60


class Owners(MemoryReader):
    """Every attempt is the owner's."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked = 0
        self.damaged = ""
        """A job whose rows the disk changed."""

    def attempt(self, job: str, number: int) -> Attempt | None:
        if job == self.damaged:
            raise DamagedError(f"attempt {number} at job {job} was damaged on disk")
        return super().attempt(job, number)

    def build(self, build: int) -> BuildDetail | None:
        if self.damaged.startswith(f"{build}/"):
            raise DamagedError(f"job {self.damaged} was damaged on disk")
        return super().build(build)

    def owner(self, job: str, attempt: int) -> str | None:
        self.asked += 1
        return OWNER.key if job.startswith("7/") else None


class Desk:
    """An intake at work, and what it said, did to the socket and told of."""

    def __init__(self, root: Path, store: MemoryStore | None = None) -> None:
        self.root = root
        self.logs = LogStore(root)
        self.store = store or MemoryStore()
        self.owners = Owners(self.store)
        self.said: list[tuple[Route, Message]] = []
        self.paused: list[bool] = []
        self.refused: list[Sender] = []
        self.told: list[tuple[str, int]] = []
        self.news = asyncio.Event()
        self.now = NOW
        self.revoked: set[str] = set()
        self.closing = Closing(
            self.logs, self.owners, policy=Policy(), now=lambda: self.now, is_revoked=self.revoked.__contains__
        )
        self.intake = Intake(
            self.logs,
            self.owners,
            self.closing,
            reply=self._reply,
            pause=self._pause,
            on_log=lambda job, attempt: self.told.append((job, attempt)),
            on_refused=self.refused.append,
        )

    def _reply(self, route: Route, message: Message) -> bool:
        self.said.append((route, message))
        self.news.set()
        return True

    def _pause(self, *, paused: bool) -> None:
        self.paused.append(paused)

    def hear(self, at: int, data: bytes, *, peer: Peer = OWNER, job: str = JOB, crc: int | None = None) -> None:
        route = HOME if peer is OWNER else ELSEWHERE
        known = crc32(data) if crc is None else crc
        output = Output(job=job, attempt=1, at=at, crc=known, after_ms=3, data=data)
        self.intake.take([Received(peer, route, output)])

    def commit(self, changes: Changes) -> None:
        """What the mind did is on disk, and told."""
        self.store.commit(changes)
        self.closing.hear(changes)

    async def close(self) -> None:
        await self.intake.close()
        await self.closing.close()
        self.logs.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.news.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.news.wait(), 0.05)


@contextlib.asynccontextmanager
async def at_work(root: Path, store: MemoryStore | None = None) -> AsyncIterator[Desk]:
    async with working(Desk(root, store)) as desk:
        yield desk


@contextlib.asynccontextmanager
async def working(desk: Desk) -> AsyncIterator[Desk]:
    works = [asyncio.create_task(desk.intake.run()), asyncio.create_task(desk.closing.run())]
    try:
        yield desk
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        await desk.close()


def kept(upto: int) -> tuple[Route, Message]:
    return HOME, Kept(job=JOB, attempt=1, upto=upto)


def test_bytes_are_kept_and_told_of_when_they_are_on_disk(tmp_path: Path) -> None:
    async def story() -> None:
        async with at_work(tmp_path) as desk:
            desk.hear(0, b"first ")
            desk.hear(6, b"second")
            await desk.until(lambda: kept(12) in desk.said)
            assert desk.logs.read(JOB, 1, 0, 100).data == b"first second"
            assert desk.closing.durable((JOB, 1)) == 12
            assert desk.closing.durable((JOB, 2)) == 0
            assert set(desk.told) == {(JOB, 1)}
            # What comes again is said to be kept again; after a gap only what is there is.
            desk.said.clear()
            desk.hear(0, b"first ")
            await desk.until(lambda: bool(desk.said))
            desk.hear(50, b"later")
            await desk.until(lambda: len(desk.said) > 1)
            assert desk.said == [kept(12), kept(12)]

    asyncio.run(story())


@pytest.fixture
def held_disk(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the disk was asked for in its order, so that an answer can be placed among it."""
    order: list[str] = []
    flush = LogStore.flush

    def noted(self: LogStore) -> Any:
        found = flush(self)
        order.append("durable")
        return found

    monkeypatch.setattr(LogStore, "flush", noted)
    return order


def test_nothing_is_kept_before_the_disk_has_it(tmp_path: Path, held_disk: list[str]) -> None:
    async def story() -> None:
        async with at_work(tmp_path) as desk:
            desk.hear(0, b"bytes")
            await desk.until(lambda: bool(desk.said))
            assert (held_disk, desk.said) == (["durable"], [kept(5)])

    asyncio.run(story())


def test_a_disk_that_cannot_say_what_it_has_ends_the_work_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    async def story() -> None:
        desk = Desk(tmp_path)
        monkeypatch.setattr("surveil.store.log_live.os.fdatasync", failing)
        desk.hear(0, b"bytes")
        with pytest.raises(StoreError, match="Input/output error"):
            await asyncio.wait_for(desk.intake.run(), PATIENCE_S)
        assert (desk.said, desk.told, desk.closing.durable((JOB, 1))) == ([], [], 0)
        monkeypatch.undo()
        await desk.close()

    asyncio.run(story())


def test_bytes_that_the_disk_does_not_take_are_not_kept_and_taken_when_they_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    async def story() -> None:
        async with at_work(tmp_path) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            with monkeypatch.context() as patch:
                patch.setattr(intake, "RETRY_S", 0.0)
                patch.setattr("surveil.store.log_live.os.pwrite", full)
                desk.hear(5, b"more")
                desk.hear(0, b"x", job="8/nobodys")  # An answer that comes after the failure.
                await desk.until(lambda: len(desk.said) > 1)
                assert [type(message).__name__ for _, message in desk.said] == ["Kept", "Release"]
            desk.hear(5, b"more")
            await desk.until(lambda: kept(9) in desk.said)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"peer": STRANGER}, "attempt 1 of 7/test is not this runner's"),
        ({"crc": 1}, "arrived damaged"),
    ],
)
def test_what_is_anothers_or_damaged_is_refused_in_words_and_not_written(
    tmp_path: Path, how: dict[str, Any], said: str
) -> None:
    async def story() -> None:
        async with at_work(tmp_path) as desk:
            desk.hear(0, b"bytes", **how)
            await desk.until(lambda: bool(desk.said))
            ((route, refused),) = desk.said
            assert isinstance(refused, Refused)
            assert said in refused.reason
            assert route == (ELSEWHERE if "peer" in how else HOME)
            assert desk.logs.length(JOB, 1) == 0

    asyncio.run(story())


def test_whoever_has_output_of_an_attempt_that_nobody_knows_is_told_to_forget_it(tmp_path: Path) -> None:
    """As after the database was put back to a day before it."""

    async def story() -> None:
        async with at_work(tmp_path) as desk:
            desk.hear(0, b"bytes", job="8/nobodys")
            await desk.until(lambda: bool(desk.said))
            assert desk.said == [(HOME, Release(job="8/nobodys", attempt=1, fate="stale"))]
            assert desk.logs.length("8/nobodys", 1) == 0

    asyncio.run(story())


def test_the_owner_of_an_attempt_is_asked_of_the_store_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with at_work(tmp_path) as desk:
            for at in range(20):
                desk.hear(at, b".")
            await desk.until(lambda: kept(20) in desk.said)
            assert desk.owners.asked == 1

    asyncio.run(story())


def test_what_waits_is_bounded_by_leaving_the_socket_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PENDING_BYTES_MAX", 10)

    async def story() -> None:
        desk = Desk(tmp_path)
        desk.hear(0, b"0123456789")
        assert desk.paused == [False]
        desk.hear(10, b"x")
        assert desk.paused == [False, True]
        work = asyncio.create_task(desk.intake.run())
        await desk.until(lambda: kept(11) in desk.said)
        assert desk.paused == [False, True, False]
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await desk.close()

    asyncio.run(story())
