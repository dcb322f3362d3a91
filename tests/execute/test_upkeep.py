"""Upkeep: spare trees for what comes next, and tidying that waits for its time and steps aside."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from surveil.core.run_events import Prepared
from surveil.execute import upkeep
from surveil.execute.upkeep import Upkeep
from surveil.mirror.address import parse
from surveil.mirror.mirror import Mirror
from surveil.mirror.spare import Spares
from surveil.mirror.trouble import MirrorError, Trouble
from surveil.protocol import Assign
from tests.execute.conftest import PATIENCE_S, job, make_repository
from tests.execute.test_process import Desk, in_a_loop
from tests.mirror.repositories import serve_git


def assign_of(folder: Path, attempt: int = 1) -> Assign:
    if not folder.exists():
        make_repository(folder)
    sha = (folder / ".git" / "refs" / "heads" / "main").read_text().strip()
    return Assign(
        epoch=1, incarnation=1, anchor=1, job="7/test", attempt=attempt, build=7, repo=str(folder),
        ref="refs/heads/main", sha=sha, spec=job("cat hello"),
    )  # fmt: skip


async def until(path: Path, *, there: bool = True) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while path.exists() is not there:  # noqa: ASYNC110, ASYNC240  # A folder has no event.
            await asyncio.sleep(0.01)


async def all_done(keeping: Upkeep) -> None:
    """Wait until its thread has come to the end of what was begun."""
    await asyncio.to_thread(keeping._thread.submit(int).result)  # noqa: SLF001


@contextlib.asynccontextmanager
async def kept_up(data: Path, *, busy: bool = False, kept: Iterable[str] = ()) -> AsyncIterator[Upkeep]:
    for name in ("attempts", "workspaces", "mirrors"):
        (data / name).mkdir(parents=True, exist_ok=True)
    keeping = Upkeep(data, Spares(data / "spares"), busy=lambda: busy, kept=lambda: set(kept))
    running = asyncio.create_task(keeping.run())
    try:
        yield keeping
    finally:
        keeping.close()
        await running


@pytest.fixture
def idle_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "IDLE_S", 0.0)


@in_a_loop
async def test_the_next_attempt_gets_the_tree_that_was_made_ahead(tmp_path: Path) -> None:
    first, second = assign_of(tmp_path / "repo"), assign_of(tmp_path / "repo", 2)
    async with Desk(tmp_path / "data") as desk:
        desk.executor.hold(first, 0)
        desk.executor.prepare(first)
        await desk.hear(Prepared)
        spares = tmp_path / "data" / "spares"
        async with asyncio.timeout(PATIENCE_S):
            while not (trees := list(spares.glob("*/work/.git/index"))):  # noqa: ASYNC110  # A folder has no event.
                await asyncio.sleep(0.01)
        identity = (trees[0].parents[1] / "hello").stat().st_ino
        await all_done(desk.executor._upkeep)  # type: ignore[attr-defined]  # noqa: SLF001
        desk.told.clear()
        desk.executor.hold(second, 0)
        desk.executor.prepare(second)
        await desk.hear(Prepared)
        (work,) = (tmp_path / "data" / "workspaces").glob("*.2-*/work")
        assert (work / "hello").stat().st_ino == identity
        for assign in (first, second):
            desk.executor.forget((assign.job, assign.attempt))
        await desk.until_clean()


@in_a_loop
async def test_what_an_earlier_process_laid_ready_is_removed(tmp_path: Path) -> None:
    (tmp_path / "spares" / "old" / "work").mkdir(parents=True)
    async with kept_up(tmp_path):
        await until(tmp_path / "spares", there=False)


@pytest.mark.usefixtures("idle_at_once")
def test_an_idle_runner_tidies_its_mirrors_and_removes_what_attempts_left(tmp_path: Path) -> None:
    sha = make_repository(tmp_path / "repo")
    data = tmp_path / "data"
    for path in ("attempts/7-test.1-abc", "workspaces/7-test.1-abc/work"):
        (data / path).mkdir(parents=True)

    async def idle() -> None:
        async with kept_up(data):
            await until(mirror.path / "surveil-gc")
            await until(data / "workspaces" / "7-test.1-abc", there=False)

    with serve_git(tmp_path) as server:
        mirror = Mirror(data / "mirrors", parse(f"{server}/repo/.git", "/"))
        mirror.fetch(sha, "refs/heads/main")
        asyncio.run(idle())
    assert list((data / "attempts").iterdir()) == []
    assert mirror.has(sha)


@pytest.mark.usefixtures("idle_at_once")
@in_a_loop
async def test_an_idle_runner_leaves_alone_what_belongs_to_another_version(tmp_path: Path) -> None:
    for path in ("attempts/7-other", "workspaces/7-other/work", "workspaces/7-test.1-abc"):
        (tmp_path / path).mkdir(parents=True)
    async with kept_up(tmp_path, kept=["7-other"]):
        await until(tmp_path / "workspaces" / "7-test.1-abc", there=False)
    assert (tmp_path / "attempts" / "7-other").is_dir()
    assert (tmp_path / "workspaces" / "7-other" / "work").is_dir()


@pytest.mark.usefixtures("idle_at_once")
@in_a_loop
async def test_a_busy_runner_leaves_everything_alone(tmp_path: Path) -> None:
    (tmp_path / "workspaces" / "7-test.1-abc").mkdir(parents=True)
    async with kept_up(tmp_path, busy=True) as keeping:
        # It looks again and again; what it does for attempts comes in between.
        for number in range(3):
            keeping.used(assign_of(tmp_path / f"repo{number}"))
            await asyncio.sleep(0.01)
    assert (tmp_path / "workspaces" / "7-test.1-abc").is_dir()


@pytest.mark.usefixtures("idle_at_once")
@in_a_loop
async def test_tidying_steps_aside_for_an_attempt_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Queue[None]()
    loop = asyncio.get_running_loop()

    def tidy(mirror: Mirror) -> None:
        loop.call_soon_threadsafe(begun.put_nowait, None)
        assert mirror.halt is not None
        select.select([mirror.halt], [], [], PATIENCE_S)
        raise MirrorError("ended", Trouble.HALTED)

    monkeypatch.setattr(Mirror, "tidy", tidy)
    assign = assign_of(tmp_path / "repo")
    Mirror(tmp_path / "mirrors", parse(assign.repo, "/")).fetch(assign.sha)
    async with kept_up(tmp_path) as keeping, asyncio.timeout(PATIENCE_S):
        for _ in range(2):
            await begun.get()
            keeping.step_aside()
        await begun.get()


@in_a_loop
async def test_a_spare_that_cannot_be_made_is_said_and_no_misfortune(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, object]] = []
    monkeypatch.setattr(upkeep.voice, "warning", lambda phrase, **keys: said.append({"phrase": phrase, **keys}))
    (tmp_path / "spares").touch()
    async with kept_up(tmp_path) as keeping, asyncio.timeout(PATIENCE_S):
        for name in ("repo", "other"):
            keeping.used(assign_of(tmp_path / name))
        while len(said) < 3:  # noqa: ASYNC110  # What is said has no event.
            await asyncio.sleep(0.01)
    assert {(one["phrase"], one["what"]) for one in said} == {
        ("upkeep failed; attempts do without it", what)
        for what in ("spare work trees", str(tmp_path / "repo"), str(tmp_path / "other"))
    }
