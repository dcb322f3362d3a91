"""The observer's side of a transfer, on mirrors of real repositories: what is made, kept, answered and given up."""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from surveil.hands import supplying
from surveil.hands.supplying import FAILURE_MS, KEPT_MS, Supplier
from surveil.mirror.address import parse
from surveil.mirror.bundle import make_bundle, take_bundle
from surveil.mirror.command import Halt
from surveil.mirror.mirror import Mirror
from surveil.protocol import CHUNK_BYTES_MAX, Pack, Want
from tests.mirror.repositories import Repository, make_repository

KEY = "k" * 40


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = make_repository(tmp_path / "source")
    (made.path / "noise").write_bytes(os.urandom(2 * CHUNK_BYTES_MAX))
    made.commit("First")
    return made


class Desk:
    """A supplier with what it said, and a clock that a test moves."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.halt = Halt()
        self.repo = str(repository.path)
        self.said: list[Pack] = []
        self.news = asyncio.Event()
        self.now = 1_000
        self.tasks: set[asyncio.Task[None]] = set()
        mirror = Mirror(folder / "mirrors", parse(self.repo, "/"), self.halt)
        self.supplier = Supplier(folder, {self.repo: mirror}, send=self.send, start=self.start, now=lambda: self.now)
        self.want = Want(id=1, runner=KEY, repo=self.repo, sha=repository.git("rev-parse", "HEAD"), have=(), at=0)

    def send(self, pack: Pack) -> bool:
        self.said.append(pack)
        self.news.set()
        return True

    def start(self, work: Coroutine[None, None, None]) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(work))

    async def says(self, want: Want) -> Pack:
        """What is answered to this want, at once or in a while."""
        assert self.said == []
        self.supplier.answer(want)
        return await self.hears()

    async def hears(self) -> Pack:
        async with asyncio.timeout(60):
            while not self.said:
                self.news.clear()
                await self.news.wait()
        return self.said.pop(0)

    def files(self) -> int:
        """How many files of the folder are open without a name."""
        return sum("(deleted)" in found and str(self.folder) in found for found in _descriptors())


def _descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.append(str(path.readlink()))
        except FileNotFoundError:
            continue
    return found


@asynccontextmanager
async def supplier_of(repository: Repository, folder: Path) -> AsyncIterator[Desk]:
    desk = Desk(repository, folder)
    try:
        yield desk
    finally:
        desk.halt.ring()
        await asyncio.gather(*desk.tasks)
        await desk.supplier.close()
        desk.halt.close()
        assert desk.files() == 0
        assert set(os.listdir(folder)) <= {"mirrors"}  # noqa: PTH208 - a Path would be said to block


def run(story: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_commit_is_given_piece_by_piece_from_one_bundle(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            pieces = [await desk.says(desk.want)]
            while (at := sum(len(pack.data) for pack in pieces)) < pieces[0].total:
                pieces.append(await desk.says(replace(desk.want, at=at)))
            assert len(pieces) == 3
            assert {(pack.made, pack.total, pack.runner, pack.id) for pack in pieces} == {
                (pieces[0].made, pieces[0].total, KEY, 1)
            }
            here = Mirror(tmp_path / "here", parse("https://example.org/elsewhere", "/"))
            with tempfile.TemporaryFile() as file:
                file.writelines(pack.data for pack in pieces)
                file.flush()
                take_bundle(here, desk.want.sha, file)
            assert here.has(desk.want.sha)
            beyond = await desk.says(replace(desk.want, at=pieces[0].total))
            assert (beyond.data, beyond.retry_ms) == (b"", 0)
            assert "and none at" in beyond.problem

    run(story)


def test_all_who_ask_while_it_is_made_are_answered_from_one_making(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    go_on = threading.Event()
    real = make_bundle

    def slowly(mirror: Mirror, sha: str, have: tuple[str, ...], sink: object) -> int:
        made.append(sha)
        assert go_on.wait(60)
        return real(mirror, sha, have, sink)  # type: ignore[arg-type]

    monkeypatch.setattr("surveil.hands.supplying.make_bundle", slowly)

    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            others = [replace(desk.want, runner=letter * 40, id=number) for number, letter in enumerate("abc")]
            for want in (desk.want, *others):
                desk.supplier.answer(want)
            again = await desk.says(desk.want)
            assert (again.problem, again.data, again.retry_ms) == ("", b"", supplying.MAKING_RETRY_MS)
            go_on.set()
            answers = [await desk.hears() for _ in range(4)]
            assert {(pack.runner, pack.id) for pack in answers} == {
                (want.runner, want.id) for want in (desk.want, *others)
            }
            assert len({(pack.made, pack.data) for pack in answers}) == 1
            assert made == [desk.want.sha]

    run(story)


def test_who_has_something_gets_the_rest(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            second = repository.commit("Second", more__txt="more\n")
            whole = await desk.says(replace(desk.want, sha=second))
            rest = await desk.says(replace(desk.want, sha=second, have=(desk.want.sha,)))
            assert whole.total > 2 * CHUNK_BYTES_MAX
            assert rest.total < 1_000
            assert whole.made != rest.made
            assert desk.files() == 2

    run(story)


def test_what_cannot_be_given_is_said_in_a_sentence_and_tried_again_later(
    repository: Repository, tmp_path: Path
) -> None:
    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            stranger = await desk.says(replace(desk.want, repo="/srv/other"))
            assert (stranger.problem, stranger.retry_ms) == ("this observer does not watch /srv/other", 0)
            body = f"tree {repository.tree()}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nNew\n".encode()
            sha = repository.git("hash-object", "-t", "commit", "--stdin", stdin=body)
            want = replace(desk.want, sha=sha)
            missing = await desk.says(want)
            assert f"holds no object {sha}" in missing.problem
            assert (missing.total, missing.retry_ms) == (0, 0)
            assert repository.raw_commit(body) == sha
            assert (await desk.says(want)).problem == missing.problem
            desk.now += FAILURE_MS + 1
            assert (await desk.says(want)).problem == ""

    run(story)


def test_what_nobody_asks_for_is_given_up_in_time(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            first = await desk.says(desk.want)
            desk.now += KEPT_MS
            desk.supplier.expire()
            assert (await desk.says(desk.want)).made == first.made
            desk.now += KEPT_MS + 1
            desk.supplier.expire()
            assert desk.files() == 0
            assert (await desk.says(desk.want)).made != first.made

    run(story)


def test_what_was_not_asked_for_the_longest_time_makes_room(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supplying, "KEPT_BYTES_MAX", 5 * CHUNK_BYTES_MAX)

    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            shas = [desk.want.sha, repository.commit("Second"), repository.commit("Third")]
            first = await desk.says(replace(desk.want, sha=shas[0]))
            second = await desk.says(replace(desk.want, sha=shas[1]))
            assert (await desk.says(replace(desk.want, sha=shas[0]))).made == first.made
            await desk.says(replace(desk.want, sha=shas[2]))
            assert desk.files() == 2
            assert (await desk.says(replace(desk.want, sha=shas[0]))).made == first.made
            assert (await desk.says(replace(desk.want, sha=shas[1]))).made != second.made
            assert desk.files() == 2

    run(story)


def test_however_many_bundles_are_made_so_many_are_open_at_most(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supplying, "KEPT_MAX", 3)

    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            open_files = []
            for number in range(8):
                await desk.says(replace(desk.want, sha=repository.commit(f"Commit {number}")))
                open_files.append(desk.files())
            assert open_files == [1, 2, 3, 3, 3, 3, 3, 3]

    run(story)


def test_when_too_much_is_being_made_others_ask_again(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supplying, "MAKING_QUEUE_MAX", 1)

    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            desk.supplier.answer(desk.want)
            busy = await desk.says(replace(desk.want, sha=repository.commit("Second"), id=2))
            assert (busy.id, busy.problem, busy.retry_ms) == (2, "", supplying.MAKING_RETRY_MS)
            assert (await desk.hears()).id == 1

    run(story)


def test_a_folder_that_takes_no_file_is_said_so(repository: Repository, tmp_path: Path) -> None:
    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            (tmp_path / "data").rename(tmp_path / "moved")
            denied = await desk.says(desk.want)
            assert f"{tmp_path / 'data'} cannot be written" in denied.problem
            (tmp_path / "moved").rename(tmp_path / "data")

    run(story)


def test_stopping_waits_for_no_making(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()
    real = make_bundle

    def noticed(mirror: Mirror, sha: str, have: tuple[str, ...], sink: object) -> int:
        begun.set()
        assert mirror.halt is not None
        mirror.halt.ring()
        return real(mirror, sha, have, sink)  # type: ignore[arg-type]

    monkeypatch.setattr("surveil.hands.supplying.make_bundle", noticed)

    async def story() -> None:
        async with supplier_of(repository, tmp_path / "data") as desk:
            desk.supplier.answer(desk.want)
            assert await asyncio.to_thread(begun.wait, 60)
        assert desk.said == []

    run(story)
