"""The question `log`: which bytes come, when it waits, and when it says that nothing more will come."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surveil.answer import Reply
from surveil.answer.logbook import LATE_MS
from surveil.core.model import Attempt, AttemptState, Job, Status
from surveil.errors import NotFoundError
from surveil.protocol import Ask, StepReport
from tests.answer.desk import NOW, Desk
from tests.store.records import changed, make_attempt, make_build, make_job, make_note, new

SOON_S = 60
"""Longer than anything takes that is told of at once, and shorter than whoever waits would wait for nothing."""

RUNNING = make_attempt(state=AttemptState.RUNNING)
PASSED = make_attempt(state=AttemptState.PASSED, finished_at=NOW, log_bytes=6, released=True)


MakeDesk = Callable[..., Desk]


@pytest.fixture
def desk_with(tmp_path: Path) -> Iterator[MakeDesk]:
    """Makes a desk with one job, its attempts, and their logs: `log1=b"..."` is that of attempt 1."""
    desks: list[Desk] = []

    def make(job: Job, *attempts: Attempt, **logs: bytes) -> Desk:
        desk = Desk(tmp_path / str(len(desks)))
        desk.store.commit(new(make_build(), job, *attempts))
        for number, text in logs.items():
            desk.log("1/test", int(number.removeprefix("log")), text)
        desks.append(desk)
        return desk

    yield make
    for desk in desks:
        desk.logs.close()


def ask(desk: Desk, **about: Any) -> tuple[dict[str, Any], bytes]:
    reply = desk.reply("log", job="1/test", **about)
    assert isinstance(reply, Reply)
    return reply.body, reply.data


def test_a_finished_log_is_read_piece_by_piece_to_its_end(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.PASSED, attempt=1), PASSED, log1=b"abcdef")
    body, data = ask(desk, limit=4)
    assert (data, body["next"], body["end"], body["complete"]) == (b"abcd", 4, 6, False)
    body, data = ask(desk, at=body["next"], limit=4)
    assert data == b"ef"
    assert (body["next"], body["complete"], body["settled"], body["damaged"]) == (6, True, True, [])


def test_without_a_number_the_newest_attempt_is_meant(desk_with: MakeDesk) -> None:
    lost = make_attempt(number=1, state=AttemptState.LOST)
    desk = desk_with(make_job(attempt=2), lost, replace(RUNNING, number=2), log1=b"old", log2=b"new")
    assert (ask(desk)[0]["attempt"], ask(desk)[1]) == (2, b"new")
    assert ask(desk, attempt=1)[1] == b"old"


def test_the_last_lines_can_be_asked_for(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.PASSED, attempt=1), PASSED, log1=b"a\nb\nc\n")
    body, data = ask(desk, tail_lines=2)
    assert (body["at"], data) == (2, b"b\nc\n")


def test_the_log_of_a_running_attempt_is_never_complete(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.RUNNING, attempt=1), RUNNING, log1=b"abc")
    body, data = ask(desk, at=3, wait_ms=10)
    assert (data, body["complete"], body["settled"]) == (b"", False, False)


def test_bytes_that_the_runner_wrote_and_never_sent_are_waited_for_and_then_called_lost(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.PASSED, attempt=1), PASSED, log1=b"abc")
    assert ask(desk, at=3)[0]["complete"] is False
    desk.now = NOW + LATE_MS + 1
    body, _ = ask(desk, at=3)
    assert (body["complete"], body["next"], body["damaged"]) == (True, 3, [])
    assert body["missing"] == "the last 3 bytes of this log have not come from runner spare-2 yet"


def test_the_log_of_a_lost_attempt_is_complete_once_the_job_goes_on_without_it(desk_with: MakeDesk) -> None:
    lost = make_attempt(state=AttemptState.LOST)
    waiting = desk_with(make_job(state=Status.QUEUED, attempt=1), lost, log1=b"abc")
    assert ask(waiting, at=3)[0]["complete"] is False
    gone_on = desk_with(make_job(state=Status.RUNNING, attempt=2), lost, replace(RUNNING, number=2), log1=b"abc")
    body, _ = ask(gone_on, attempt=1, at=3)
    assert (body["complete"], body["settled"]) == (True, False)


def test_the_next_attempt_may_be_waited_for_and_one_after_it_may_not(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.QUEUED, attempt=1), make_attempt(state=AttemptState.FAILED, finished_at=NOW))
    body, _ = ask(desk, attempt=2, wait_ms=10)
    assert (body["exists"], body["complete"]) == (False, False)
    with pytest.raises(NotFoundError, match="the newest of 1/test is 1"):
        ask(desk, attempt=3)


def test_a_job_that_ended_without_an_attempt_has_a_complete_log_of_nothing(desk_with: MakeDesk) -> None:
    body, data = ask(desk_with(make_job(state=Status.SKIPPED)), wait_ms=30_000)
    assert (body["exists"], body["complete"], body["settled"], body["end"], data) == (False, True, True, 0, b"")


@pytest.mark.parametrize("job", ["1/other", "9/test", "test", "x/test", "/", ""])
def test_an_unknown_job_is_said_with_how_jobs_are_called(desk_with: MakeDesk, job: str) -> None:
    with pytest.raises(NotFoundError, match="BUILD/NAME"):
        desk_with(make_job()).reply("log", job=job)


def test_damaged_bytes_are_shown_and_told(desk_with: MakeDesk, tmp_path: Path) -> None:
    desk = desk_with(make_job(state=Status.PASSED, attempt=1), PASSED, log1=b"abcdef")
    (file,) = tmp_path.rglob("*.log")
    file.write_bytes(b"abcdeX")
    body, data = ask(desk)
    assert data == b"abcdeX"
    assert (body["next"], body["damaged"], body["complete"]) == (6, [{"at": 0, "end": 6}], True)


def test_a_waiting_reader_hears_of_new_bytes_at_once_and_not_of_another_jobs(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.RUNNING, attempt=1), RUNNING, log1=b"abc")

    async def scenario() -> tuple[bool, Any]:
        answers = desk.answers()
        about = {"job": "1/test", "at": 3, "wait_ms": 30_000}
        waiting = asyncio.create_task(answers.answer(Ask(id=1, what="log", about=about)))
        await asyncio.sleep(0.05)
        answers.on_log("1/other", 1)
        await asyncio.sleep(0.05)
        early = waiting.done()
        desk.log("1/test", 1, b"def")
        answers.on_log("1/test", 1)
        return early, await asyncio.wait_for(waiting, SOON_S)

    early, reply = asyncio.run(scenario())
    assert not early
    assert reply.data == b"def"


def test_a_waiting_reader_hears_of_the_end_at_once(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.RUNNING, attempt=1), RUNNING, log1=b"abcdef")

    async def scenario() -> Any:
        answers = desk.answers()
        about = {"job": "1/test", "at": 6, "wait_ms": 30_000}
        waiting = asyncio.create_task(answers.answer(Ask(id=1, what="log", about=about)))
        await asyncio.sleep(0.05)
        note = make_note("attempt", "1/test#1")
        desk.store.commit(changed(make_job(state=Status.PASSED, attempt=1), PASSED, notes=(note,)))
        answers.on_commit([note])
        return await asyncio.wait_for(waiting, SOON_S)

    body = asyncio.run(scenario()).body
    assert (body["complete"], body["settled"]) == (True, True)


def test_a_waiting_reader_hears_at_once_of_a_step_that_prints_nothing(desk_with: MakeDesk) -> None:
    desk = desk_with(make_job(state=Status.RUNNING, attempt=1), RUNNING, log1=b"abc")

    async def scenario() -> tuple[bool, Any]:
        answers = desk.answers()
        about = {"job": "1/test", "at": 3, "wait_ms": 30_000}
        waiting = asyncio.create_task(answers.answer(Ask(id=1, what="log", about=about)))
        await asyncio.sleep(0.05)
        answers.on_commit([], [RUNNING])
        await asyncio.sleep(0.05)
        early = waiting.done()
        begun = replace(RUNNING, steps=(StepReport(name="Wait", state="running", log_at=3),))
        desk.store.commit(changed(begun))
        answers.on_commit([], [begun])
        return early, await asyncio.wait_for(waiting, SOON_S)

    early, reply = asyncio.run(scenario())
    assert not early, "nothing was new"
    assert reply.data == b""
    assert reply.body["steps"] == [{"name": "Wait", "state": "running", "log_at": 3}]
