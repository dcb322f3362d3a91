"""What an observer is to remember is written down soon, once for many changes, and again until the disk takes it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from surveil.core.observe_model import Record
from surveil.errors import InfrastructureError
from surveil.hands.records import Records
from surveil.hands.remembering import WRITE_AGAIN_MS, WRITE_MS, Memory
from surveil.tasks import Tasks

REPO = "/srv/project"


class Disk(Records):
    """Records in a folder on a disk that may be full, and what was tried with them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.full = False
        self.tried: list[str] = []

    def write(self, record: Record) -> None:
        self.tried.append(record.repo)
        if self.full:
            raise InfrastructureError("the disk is full")
        super().write(record)


class Desk:
    """A memory with a clock that stands until somebody moves it."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000
        self.disk = Disk(folder)
        self.known: dict[str, Record] = {}
        self._tasks = Tasks(lambda _: None)
        self.memory = Memory(self.disk, find=self.known.get, now=lambda: self.now, start=self._tasks.start)

    def moves(self, sha: str, repo: str = REPO) -> None:
        self.known[repo] = Record(repo=repo, patterns=("refs/heads/*",), head_owed=False, refs={"refs/heads/main": sha})
        self.memory.remember(repo)

    async def after(self, ms: int) -> None:
        """Let time go by, and let what is due then be done."""
        self.now += ms
        self.memory.write_due(self.now)
        await self._tasks.wait()
        self._tasks.check()


def test_what_changes_often_is_written_once_and_as_it_is_then(tmp_path: Path) -> None:
    async def scene() -> None:
        desk = Desk(tmp_path)
        desk.moves("a" * 40)
        desk.moves("b" * 40)
        await desk.after(WRITE_MS - 1)
        desk.moves("c" * 40)
        assert (desk.disk.tried, desk.memory.due_at) == ([], desk.now + 1)
        await desk.after(1)
        assert (desk.disk.tried, desk.memory.due_at) == ([REPO], None)
        assert desk.disk.read(REPO) == desk.known[REPO]
        await desk.memory.close()

    asyncio.run(scene())


def test_what_a_full_disk_did_not_take_is_tried_again_later_and_nothing_else(tmp_path: Path) -> None:
    async def scene() -> None:
        desk = Desk(tmp_path)
        desk.disk.full = True
        desk.moves("a" * 40)
        await desk.after(WRITE_MS)
        assert (desk.disk.tried, desk.memory.due_at) == ([REPO], desk.now + WRITE_AGAIN_MS)
        desk.disk.full = False
        await desk.after(WRITE_AGAIN_MS - 1)
        assert desk.disk.tried == [REPO]
        await desk.after(1)
        assert (desk.disk.tried, desk.memory.due_at) == ([REPO, REPO], None)
        assert desk.disk.read(REPO) == desk.known[REPO]
        await desk.memory.close()

    asyncio.run(scene())


def test_whatever_is_left_is_written_at_the_end(tmp_path: Path) -> None:
    async def scene() -> None:
        desk = Desk(tmp_path)
        desk.moves("a" * 40)
        desk.moves("b" * 40, "/srv/other")
        await desk.memory.close()
        assert sorted(desk.disk.tried) == ["/srv/other", REPO]
        assert [desk.disk.read(repo) for repo in desk.known] == list(desk.known.values())

    asyncio.run(scene())
