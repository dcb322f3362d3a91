"""Answers about what was kept: whoever fetches keeps nobody else waiting."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surveil.answer import Reply
from surveil.answer.kept_files import FETCHES_MAX, KeptFiles
from surveil.core.kept import Artifact
from surveil.errors import NotFoundError
from surveil.protocol import Ask
from surveil.store.blobs import FolderBlobs
from tests.answer.desk import Desk
from tests.store.records import make_artifact, make_build, new

PATIENCE_S = 20.0
BLOB = "ab" * 32
ABOUT = {"job": "1/test", "attempt": 1, "name": "wheels", "at": 0}


class Far(FolderBlobs):
    """Blobs on a server that hangs until it is let go."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked = threading.Semaphore(0)
        self.let_go = threading.Event()

    def read(self, digest: str, at: int, count: int) -> bytes:
        self.asked.release()
        self.let_go.wait(PATIENCE_S)
        return b"" if at else b"wheel"


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Far]:
    found = Far(tmp_path)
    yield found
    found.let_go.set()


def desk_with(far: Far) -> Desk:
    desk = Desk()
    desk.store.commit(new(make_build()))
    desk.kept = KeptFiles(desk.kept.shelf, far)
    desk.kept.shelf.keep(
        Artifact(job="1/test", attempt=1, name="wheels", blob=BLOB, size=9, files=1, kept_at=1, expires_at=2)
    )
    return desk


def test_whoever_asks_for_something_else_does_not_wait_for_files_that_do_not_come(far: Far) -> None:
    desk = desk_with(far)

    async def story() -> list[Any]:
        answers = desk.answers()
        fetching = [asyncio.create_task(answers.answer(Ask(id=1, what="artifact", about=ABOUT))) for _ in range(20)]
        for _ in range(FETCHES_MAX):
            assert await asyncio.to_thread(far.asked.acquire, timeout=PATIENCE_S)
        async with asyncio.timeout(PATIENCE_S / 2):
            for what, about in (("builds", {}), ("artifacts", {"build": 1}), ("build", {"build": 1})):
                await answers.answer(Ask(id=2, what=what, about=about))
        assert not far.asked.acquire(blocking=False), "no more fetch at once than are bounded"
        far.let_go.set()
        return await asyncio.gather(*fetching)

    assert {reply.data for reply in asyncio.run(story()) if isinstance(reply, Reply)} == {b"wheel"}


def test_files_that_are_gone_are_said_to_be(far: Far) -> None:
    far.let_go.set()
    with pytest.raises(NotFoundError, match=r"`wheels` are not where the dispatcher keeps them: .*`surveil retry`"):
        desk_with(far).reply("artifact", **(ABOUT | {"at": 4}))
    with pytest.raises(NotFoundError, match="surveil artifacts ls BUILD"):
        desk_with(far).reply("artifact", **(ABOUT | {"name": "doors"}))


def test_artifacts_of_all_builds_come_newest_first_and_a_build_is_not_cut_unless_it_is_larger_than_an_answer() -> None:
    desk = Desk()
    repos = ["https://example.org/lib.git", "https://example.org/a_b", "https://example.org/axb"]
    desk.store.commit(new(*(make_build(number, repo=repos[number % 3]) for number in range(1, 8))))
    for build, names in {2: "ab", 3: "abcde", 5: "a", 6: "ab"}.items():
        for name in names:
            desk.keep(make_artifact(job=f"{build}/test", attempt=1, name=name))

    def found(**about: Any) -> tuple[list[str], int | None]:
        body = desk.ask("artifacts", **about)
        return [f"{each['job'].partition('/')[0]}{each['name']}" for each in body["artifacts"]], body["next"]

    assert found() == (["6a", "6b", "5a", "3a", "3b", "3c", "3d", "3e", "2a", "2b"], None)
    assert found(limit=4) == (["6a", "6b", "5a"], 5)
    assert found(limit=4, before=5) == (["3a", "3b", "3c", "3d"], 3)
    assert found(limit=4, before=3) == (["2a", "2b"], None)
    assert found(limit=3) == (["6a", "6b", "5a"], 5)
    assert found(repo="lib") == (["6a", "6b", "3a", "3b", "3c", "3d", "3e"], None)
    assert found(repo=repos[2]) == found(repo="axb") == (["5a", "2a", "2b"], None)
    assert found(repo="a_b") == ([], None)
    assert found(among=repos[2:]) == (["5a", "2a", "2b"], None)
    assert found(among=repos[2:], repo="lib") == found(among=[]) == ([], None)
    assert desk.ask("artifacts", repo="lib")["artifacts"][0]["ref"] == "refs/heads/main"
