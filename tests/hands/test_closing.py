"""Logs are closed: whole ones soon, others when nobody is left who could deliver more, and none of them for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import pytest

from surveil.core.model import Attempt, AttemptState, LogEnd
from surveil.core.policy import Policy
from surveil.core.state import Changes
from surveil.hands import closing
from surveil.store.log_packed import SUFFIX
from surveil.store.log_paths import log_stem
from tests.hands.test_intake import HOME, JOB, NOW, OWNER, STRANGER, Desk, at_work, kept, working
from tests.store.records import changed, make_attempt, make_build, make_job, new

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LOST = make_attempt(7, "test", runner=OWNER.key, state=AttemptState.LOST, accepted_at=NOW, finished_at=NOW, log_bytes=5)
DAY_MS = Policy().log_wait_ms


@pytest.fixture(autouse=True)
def _swept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closing, "SWEEP_S", 0.02)
    monkeypatch.setattr(closing, "QUIET_MS", 0)


@asynccontextmanager
async def with_attempt(root: Path, attempt: Attempt) -> AsyncIterator[Desk]:
    """A desk whose store knows of one attempt of the owner's."""
    async with at_work(root) as desk:
        desk.commit(new(make_build(7), make_job(7, attempt=1), attempt))
        desk.now = NOW + 1
        yield desk


def packed(root: Path) -> Callable[[], bool]:
    stem = log_stem(root, JOB, 1)
    return stem.with_name(stem.name + SUFFIX).exists


async def rest() -> None:
    """Long enough for some sweeps."""
    await asyncio.sleep(0.2)


def test_a_log_is_compressed_when_its_last_byte_is_here_and_not_before(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, replace(LOST, state=AttemptState.RUNNING)) as desk:
            desk.hear(0, b"all but the last ")
            await desk.until(lambda: bool(desk.said))
            desk.commit(changed(replace(LOST, state=AttemptState.PASSED, log_bytes=21)))
            await rest()
            assert not packed(tmp_path)()
            desk.hear(17, b"byte")
            await desk.until(packed(tmp_path))
            assert desk.logs.read(JOB, 1, 0, 100).data == b"all but the last byte"

    asyncio.run(story())


@pytest.mark.parametrize("told", ["in memory", "out of memory"])
def test_the_log_of_a_lost_attempt_is_compressed_when_its_runner_came_back_with_the_rest(
    tmp_path: Path, told: str
) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            await rest()
            assert not packed(tmp_path)()
            if told == "in memory":
                desk.commit(changed(replace(LOST, released=True, log_bytes=9)))
            else:
                end = LogEnd(job=JOB, number=1, runner=OWNER.key, log_bytes=9)
                desk.commit(Changes(new=(), changed=(), notes=(), log_ends=(end,)))
            desk.hear(5, b"last")
            await desk.until(packed(tmp_path))
            assert desk.logs.read(JOB, 1, 0, 100).data == b"firstlast"

    asyncio.run(story())


def test_nobody_but_its_runner_can_have_a_log_closed(tmp_path: Path) -> None:
    """Whoever could would cut it off, or open it again and go on."""

    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            end = LogEnd(job=JOB, number=1, runner=STRANGER.key, log_bytes=3)
            desk.commit(Changes(new=(), changed=(), notes=(), log_ends=(end,)))
            await rest()
            assert not packed(tmp_path)()

    asyncio.run(story())


def test_a_log_whose_end_an_earlier_process_heard_is_compressed_after_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, replace(LOST, released=True)) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            store = desk.store
        async with at_work(tmp_path, store) as desk:
            await desk.until(packed(tmp_path))

    asyncio.run(story())


def test_a_log_for_which_nobody_comes_back_is_closed_at_the_deadline_and_not_before(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            desk.now = NOW + 1 + DAY_MS
            await rest()
            assert not packed(tmp_path)()
            desk.now += 1
            await desk.until(packed(tmp_path))
            assert desk.logs.read(JOB, 1, 0, 100).data == b"first"

    asyncio.run(story())


def test_an_attempt_whose_row_was_damaged_keeps_no_other_log_from_being_closed(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.owners.damaged = "7/another"
            desk.hear(0, b"first", job="7/another")
            await desk.until(lambda: len(desk.said) == 1)
            desk.hear(0, b"first")
            await desk.until(lambda: len(desk.said) == 2)
            desk.now = NOW + 2 + DAY_MS
            await desk.until(packed(tmp_path))

    asyncio.run(story())


def test_a_build_whose_rows_were_damaged_keeps_no_other_builds_logs_from_being_found(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.logs.append("6/test", 1, 0, b"first", crc=crc32(b"first"), after_ms=0)
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            store = desk.store
        desk = Desk(tmp_path, store)
        desk.owners.damaged = "6/test"
        desk.now = NOW + 2 + DAY_MS
        async with working(desk):
            await desk.until(packed(tmp_path))

    asyncio.run(story())


def test_of_a_runner_that_was_revoked_nothing_more_is_waited_for(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            desk.revoked.add(STRANGER.key)
            await rest()
            assert not packed(tmp_path)()
            desk.revoked.add(OWNER.key)
            await desk.until(packed(tmp_path))
            assert desk.logs.read(JOB, 1, 0, 100).data == b"first"

    asyncio.run(story())


def test_a_log_is_not_closed_while_its_attempt_goes_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, replace(LOST, state=AttemptState.RUNNING)) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            desk.now = NOW + 9 * DAY_MS
            desk.revoked.add(OWNER.key)  # What must not run twice keeps its lease.
            await rest()
            assert not packed(tmp_path)()

    asyncio.run(story())


def test_a_closed_log_is_opened_again_for_the_runner_that_comes_back_even_later(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, LOST) as desk:
            desk.hear(0, b"first")
            await desk.until(lambda: bool(desk.said))
            desk.now = NOW + 9 * DAY_MS
            await desk.until(packed(tmp_path))
            desk.said.clear()
            # It begins at the beginning, as it cannot know what is here.
            desk.hear(0, b"first")
            await desk.until(lambda: desk.said == [kept(5)])
            desk.hear(5, b"last", peer=STRANGER)
            await desk.until(lambda: len(desk.said) > 1)
            assert packed(tmp_path)()
            desk.hear(5, b"last")
            await desk.until(lambda: kept(9) in desk.said)
            assert not packed(tmp_path)()
            desk.commit(changed(replace(LOST, released=True, log_bytes=9)))
            await desk.until(packed(tmp_path))
            assert desk.logs.read(JOB, 1, 0, 100).data == b"firstlast"

    asyncio.run(story())


def test_a_log_that_is_whole_takes_no_more_even_from_its_runner(tmp_path: Path) -> None:
    async def story() -> None:
        async with with_attempt(tmp_path, replace(LOST, state=AttemptState.PASSED)) as desk:
            desk.hear(0, b"first")
            # It may be closed before its runner was told that it was kept.
            await desk.until(lambda: packed(tmp_path)() and bool(desk.said))
            said = kept(5)
            while said == kept(5):
                # Its file has the name before the closing is over, and until then whoever speaks is only put off.
                desk.said.clear()
                desk.hear(5, b"forged")
                await desk.until(lambda: bool(desk.said))
                (said,) = desk.said
            route, refused = said
            assert (route, type(refused).__name__) == (HOME, "Refused")
            assert desk.logs.read(JOB, 1, 0, 100).data == b"first"

    asyncio.run(story())
