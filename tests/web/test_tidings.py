"""What those who follow a log are told: once for all, whole, bounded, and late where a runner was away."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, MutableMapping
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surveil.answer import Reply
from surveil.core.model import AttemptState, Status
from surveil.frozen import replace
from surveil.protocol import Ask, StepReport, StepState
from surveil.store.log_rows import Page, Read, rows_from, split
from surveil.web import tidings
from surveil.web.events import Written
from surveil.web.tidings import Place, Tidings
from tests.store.records import changed, make_attempt, make_build, make_job, new
from tests.web.events import events_of, listen
from tests.web.stage import PATIENCE_S, Stage

Result = TypeVar("Result")
FOLLOWERS = 1000
JOB = "3/test"
RUNNING = make_attempt(3, state=AttemptState.RUNNING)
ENDED = replace(RUNNING, state=AttemptState.PASSED, released=True)


def running(stage: Stage, log: bytes) -> Tidings:
    """Build 3 has one job that runs, and printed this."""
    job = make_job(3, state=Status.RUNNING, attempt=1)
    stage.desk.store.commit(new(make_build(3, state=Status.RUNNING), job, RUNNING))
    stage.desk.log(JOB, 1, log)
    found: Tidings = stage.app.state.books.tidings
    return found


def comes(stage: Stage, data: bytes, attempt: int = 1) -> None:
    """More of a log, as the dispatcher's hands tell of it."""
    stage.desk.log(JOB, attempt, data)
    stage.dispatcher._answers.on_log(JOB, attempt)  # noqa: SLF001


def ends(stage: Stage, log_bytes: int) -> None:
    """The job passed; its log has so many bytes."""
    ended = replace(ENDED, log_bytes=log_bytes, finished_at=stage.now)
    stage.desk.store.commit(changed(make_job(3, state=Status.PASSED, attempt=1), ended))
    stage.dispatcher._answers.on_log(JOB, 1)  # noqa: SLF001


def rows_of(told: list[Written]) -> list[tuple[str, str, dict[str, Any]]]:
    return [event for event in events_of("".join(each.data.decode() for each in told)) if event[0] == "rows"]


async def gather(events: AsyncIterator[Written], into: list[Written]) -> None:
    async for event in events:
        into.append(event)  # noqa: PERF401  # others look at it meanwhile


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def within_patience(scenario: Coroutine[Any, Any, Result]) -> Result:
    async def bounded() -> Result:
        async with asyncio.timeout(PATIENCE_S):
            return await scenario

    return asyncio.run(bounded())


def test_a_thousand_who_follow_one_log_are_one_reader(stage: Stage) -> None:
    teller, reads = running(stage, b"first\n"), [0]
    answers = stage.app.state.books._answers  # noqa: SLF001
    plain = answers.answer

    async def counted(ask: Ask, client: str = "") -> Reply:
        reads[0] += 1
        reply: Reply = await plain(ask, client)
        return reply

    answers.answer = counted

    async def scenario() -> list[list[Written]]:
        told: list[list[Written]] = [[] for _ in range(FOLLOWERS)]
        following = [
            asyncio.create_task(gather(teller.follow(JOB, Place(attempt=0), only=False), each)) for each in told
        ]
        for number in range(5):
            await until(lambda number=number: all(len(each) > number for each in told))  # type: ignore[misc]
            comes(stage, b"more\n")
        ends(stage, 31)
        await asyncio.gather(*following)
        return told

    told = within_patience(scenario())
    assert [row["text"] for _, _, body in rows_of(told[0]) for row in body["rows"]] == ["first", *["more"] * 5]
    assert all(len(each) == len(told[0]) for each in told)
    shared = [{id(each[at]) for each in told} for at in range(len(told[0]) - 1)]
    assert [len(same) for same in shared] == [1] * len(shared), "each event is written once"
    assert reads[0] < 40
    assert len(stage.dispatcher.asked) < 20


def test_a_thousand_who_come_back_to_one_place_are_one_look(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    teller, looked = running(stage, b"first\nsecond\nthird\n"), list[int]()
    ends(stage, 19)

    def noted(read: Read, at: int, limit: int) -> Page:
        looked.append(at)
        return rows_from(read, at, limit)

    monkeypatch.setattr("surveil.web.lines.rows_from", noted)

    async def scenario() -> list[list[Written]]:
        told: list[list[Written]] = [[] for _ in range(FOLLOWERS)]
        place = Place(attempt=1, at=9)
        await asyncio.gather(*(gather(teller.follow(JOB, place, only=True), each) for each in told))
        return told

    told = within_patience(scenario())
    for each in told:
        assert [row["text"] for _, _, body in rows_of(each) for row in body["rows"]] == ["second", "third"]
    assert looked == [8]


@pytest.mark.parametrize("at", [2, 3, 4])
def test_who_comes_in_the_middle_of_a_row_is_told_all_of_it(stage: Stage, at: int) -> None:
    """Also where there is nothing more of it yet."""
    teller, told = running(stage, b"a\nha"), list[Written]()

    async def scenario() -> None:
        following = asyncio.create_task(gather(teller.follow(JOB, Place(attempt=1, at=at), only=True), told))
        await until(lambda: len(stage.dispatcher.asked) == 1)
        comes(stage, b"lf\n")
        ends(stage, 7)
        await following

    within_patience(scenario())
    last = {row["at"]: row["text"] for _, _, body in rows_of(told) for row in body["rows"]}
    assert last == {2: "half"}


@pytest.fixture
def untidy() -> Iterator[None]:
    """Nobody looks through memory for what is held only by itself."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("untidy")
def test_who_leaves_while_an_event_is_on_its_way_is_a_reader_no_more(stage: Stage) -> None:
    teller = running(stage, b"first\n")

    async def scenario() -> None:
        gone = asyncio.Event()

        async def send(message: MutableMapping[str, Any]) -> None:
            if message.get("body", b"").startswith(b"event: rows"):
                assert teller._readers.total() == 1  # noqa: SLF001
                gone.set()
                await asyncio.Event().wait()

        await listen(stage, stage.token(), send, gone, "/api/v1/builds/3/jobs/test/log/rows/follow")
        assert gone.is_set()
        assert not teller._readers  # noqa: SLF001

    within_patience(scenario())


def test_a_step_that_prints_nothing_is_told_of_at_once_whenever_it_begins(stage: Stage) -> None:
    teller, told = running(stage, b"first\n"), list[Written]()

    def steps(*states: StepState, wakes: bool) -> None:
        reports = [StepReport(name=str(number), state=state, log_at=6) for number, state in enumerate(states)]
        stands = replace(RUNNING, steps=tuple(reports))
        stage.desk.store.commit(changed(stands))
        if wakes:
            stage.dispatcher._answers.on_commit([], [stands])  # noqa: SLF001

    def states() -> list[list[str]]:
        return [[step["state"] for step in body["steps"]] for _, _, body in rows_of(told)]

    async def scenario() -> None:
        following = asyncio.create_task(gather(teller.follow(JOB, Place(attempt=1), only=False), told))
        await until(lambda: len(told) == 1)
        # Between two looks, when nobody waits to be woken.
        steps("running", wakes=False)
        await until(lambda: len(told) == 2)
        await until(lambda: len(stage.dispatcher.asked) == 1)
        steps("passed", "running", wakes=True)
        await until(lambda: len(told) == 3)
        # An attempt that was given up and came back stands as it once did.
        steps("running", wakes=True)
        await until(lambda: len(told) == 4)
        comes(stage, b"more\n")
        await until(lambda: any(b"more" in each.data for each in told))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    within_patience(scenario())
    assert states() == [[], ["running"], ["passed", "running"], ["running"], ["running"]]
    assert len(stage.dispatcher.asked) <= 4, "and nobody asks more often for it"


def test_the_more_follow_the_rarer_they_are_told(stage: Stage) -> None:
    teller = running(stage, b"")
    assert teller.pause_s == tidings.LEAST_S
    teller._readers.update({JOB: 1000})  # noqa: SLF001
    assert teller.pause_s == pytest.approx(1000 * tidings.READER_S)
    teller._readers.update({str(number): 1 for number in range(400)})  # noqa: SLF001
    assert teller.pause_s == pytest.approx(401 * tidings.LOG_S)


def test_what_is_told_at_once_is_bounded_and_nothing_is_left_out(stage: Stage) -> None:
    log = b"\n" * 3000 + b"x" * 100_000 + b"\nend"
    teller, told = running(stage, log), list[Written]()
    ends(stage, len(log))
    within_patience(gather(teller.follow(JOB, Place(attempt=1), only=True), told))
    bodies = [body for _, _, body in rows_of(told)]
    assert all(len(body["rows"]) <= tidings.ROWS_MAX for body in bodies)
    assert all(len(each.data) <= 8 * tidings.BYTES_MAX for each in told)
    last = {row["at"]: row for body in bodies for row in body["rows"]}
    assert all(before["end"] == after["at"] for before, after in pairwise(last.values()))
    assert [row["text"] for row in last.values()] == [row.text for row in split(log, 0, begins=True)]
    assert not teller._readers  # noqa: SLF001


@given(st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"a", b"\n")), max_size=8))
def test_rows_are_the_same_however_they_come(pieces: list[bytes]) -> None:
    place, rows = Place(attempt=1), dict[int, str]()
    for piece in pieces:
        told, place = tidings._rows_after(place, piece)  # noqa: SLF001
        rows = {at: text for at, text in rows.items() if not told or at < told[0].at}
        rows |= {row.at: row.text for row in told}
    whole = b"".join(pieces)
    assert rows == {row.at: row.text for row in split(whole, 0, begins=True)}
    assert place.read == len(whole)


@pytest.mark.parametrize("again", [False, True])
def test_what_a_runner_brings_late_is_told_in_its_place(stage: Stage, *, again: bool) -> None:
    """`again`: the reader comes anew, with the place of what is still missing."""
    teller, told = running(stage, b"a\nha"), list[Written]()
    lost = replace(RUNNING, state=AttemptState.LOST, finished_at=stage.now, accepted_at=stage.now, log_bytes=4)
    second = make_attempt(3, number=2, state=AttemptState.RUNNING)
    stage.desk.store.commit(changed(make_job(3, state=Status.RUNNING, attempt=2), lost))
    stage.desk.store.commit(new(second))
    stage.desk.log(JOB, 2, b"b\n")
    place = Place(attempt=2, at=2, behind=(Place(attempt=1, at=2),)) if again else Place(attempt=1)

    async def scenario() -> None:
        following = asyncio.create_task(gather(teller.follow(JOB, place, only=False), told))
        await until(lambda: any(b'"attempt": 2' in each.data for each in told))
        stage.desk.log(JOB, 1, b"lf\nlast\n")
        stage.desk.store.commit(changed(replace(lost, log_bytes=12, released=True)))
        await until(lambda: any(b"last" in each.data for each in told))
        passed = replace(second, state=AttemptState.PASSED, released=True, log_bytes=2, finished_at=stage.now)
        stage.desk.store.commit(changed(make_job(3, state=Status.PASSED, attempt=2), passed))
        stage.dispatcher._answers.on_log(JOB, 2)  # noqa: SLF001
        await following

    within_patience(scenario())
    bodies = [(place, body) for _, place, body in rows_of(told)]
    (late,) = [(place, body) for place, body in bodies if body["attempt"] == 1 and body["missing"] is None]
    assert late[0] == "2.2", "whoever comes again goes on at the newest"
    assert [(row["at"], row["text"]) for row in late[1]["rows"]] == [(2, "half"), (7, "last")]
    if not again:
        assert "may still be with runner" in bodies[0][1]["missing"]
        assert [row["text"] for row in bodies[0][1]["rows"]] == ["a", "ha"]


def test_places_of_attempts_that_are_not_whole_come_with_the_question(stage: Stage) -> None:
    path = "/api/v1/builds/1/jobs/test/log/rows/follow?attempt=1&at=0&behind=nonsense"
    assert stage.get(path, stage.token()).status_code == 400
    assert json.loads(stage.get(path, stage.token()).text)["detail"].startswith("`Last-Event-ID` is 'nonsense'")
