"""Documents that are sent again and again: each is true when it is sent, whatever was remembered, and by whichever way
it goes.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from surveil.answer.answers import Answers
from surveil.client.documents import Documents
from surveil.core.model import AttemptState, LogEnd, Status
from surveil.core.shards import Asked
from surveil.core.shared_lists import pack
from surveil.core.state import Changes
from surveil.frozen import replace
from surveil.protocol import Case, ShardResult, Tally
from surveil.store.logs import LogStore
from surveil.store.passes import Kind
from surveil.store.people import Role
from surveil.store.sqlite import open_reader, open_store
from surveil.store.writing import SqlStore
from surveil.web import ready
from surveil.web.books import Books
from surveil.web.quick import Quick
from surveil.web.ready import Ready, Written
from surveil.web.visitors import SESSION_MS
from tests.answer.desk import Desk
from tests.store.records import changed, make_attempt, make_build, make_job, new
from tests.web.stage import CLUSTER, Stage

API = "/api/v1"
BUILDS = f"{API}/builds"


class Shelf:
    """A store on disk that a dispatcher writes, and documents of whoever reads it."""

    def __init__(self, folder: Path) -> None:
        self.store: SqlStore = open_store(folder, now=1)
        self.reader = open_reader(folder)
        self.desk = Desk(folder / "logs")
        kept = self.desk.kept
        answers = Answers(self.reader, LogStore(folder / "logs"), self.desk.live, kept=kept, acts=self.desk.acts)
        self.ready = Ready(answers)

    def build(self, number: int = 1) -> Written:
        return asyncio.run(self.ready.build(number, CLUSTER, _nothing_more))

    def list(self, *, brief: bool = False) -> Written:
        return asyncio.run(self.ready.builds({"limit": 20}, CLUSTER, brief=brief))

    def all(self) -> tuple[Written, Written, Written]:
        return self.build(), self.list(), self.list(brief=True)

    def ended(self, number: int, **fields: Any) -> None:
        """One more build, which failed; its log is whole."""
        state, attempt = Status.FAILED, AttemptState.FAILED
        self.store.commit(
            new(
                make_build(number, state=state, finished_at=9, sha=f"{number:040x}", **fields),
                make_job(number, state=state, attempt=1),
                make_attempt(number, state=attempt, released=True, log_bytes=0, finished_at=9),
            )
        )

    def test(self, number: int, *names: str) -> None:
        cases = [Case(suite="s", name=name, state="failed", duration_ms=1, message="", output="") for name in names]
        tally = Tally(passed=0, failed=len(names), errored=0, skipped=0, duration_ms=len(names))
        self.store.add_cases((f"{number}/test", 1), 0, cases, tally)

    def close(self) -> None:
        self.reader.close()
        self.store.close()


async def _nothing_more(document: dict[str, Any]) -> dict[str, Any]:
    return document


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    made = Shelf(tmp_path)
    made.ended(1)
    yield made
    made.close()


def test_what_did_not_change_is_sent_again_as_it_was_written(shelf: Shelf) -> None:
    first = shelf.all()
    assert all(again is before for again, before in zip(shelf.all(), first, strict=True))
    shelf.ended(2)
    # Its rows were compared, and are the same.
    assert shelf.build() is first[0]
    assert [build["id"] for build in json.loads(shelf.list().body)["builds"]] == [2, 1]
    assert json.loads(shelf.list().body)["builds"][1] == json.loads(first[1].body)["builds"][0]


def test_so_much_is_remembered_and_what_was_asked_for_last(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.ended(2)
    shelf.ended(3)
    # Beside this it does not count how much there is of each: two have room.
    monkeypatch.setattr(ready, "BESIDE_BYTES", 1_000_000)
    monkeypatch.setattr(ready, "KEPT_BYTES_MAX", 2_500_000)
    first = shelf.build(1)
    second, third = shelf.build(2), shelf.build(3)
    assert shelf.build(3) is third
    for number in range(4, 9):
        # Whatever is compared anew takes no more room than before.
        shelf.ended(number)
        assert shelf.build(2) is second
    again = shelf.build(1)
    assert (again is first, again) == (False, first)
    assert shelf.build(2) is second
    assert shelf.build(3) is not third


def test_what_is_very_large_is_made_each_time(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "EACH_BYTES_MAX", 100)
    first, again = shelf.build(), shelf.build()
    assert (again is first, again) == (False, first)


def test_each_change_of_a_build_is_seen_by_the_next_who_asks(shelf: Shelf) -> None:
    build = make_build(1, state=Status.FAILED, finished_at=9, sha=f"{1:040x}")
    job = make_job(1, state=Status.FAILED, attempt=1)
    attempt = make_attempt(1, state=AttemptState.FAILED, released=True, log_bytes=0, finished_at=9)
    before = shelf.all()
    shelf.store.commit(changed(replace(build, reason="said later")))
    now = shelf.all()
    assert [one.tag == other.tag for one, other in zip(now, before, strict=True)] == [False, False, False]
    assert all(b"said later" in one.body for one in now[:2])
    shelf.store.commit(changed(replace(job, reason="of its job")))
    assert all(b"of its job" in one.body for one in (shelf.build(), shelf.list()))
    shelf.store.commit(changed(replace(attempt, reason="of its attempt")))
    assert all(b"of its attempt" in one.body for one in (shelf.build(), shelf.list()))


def test_tests_that_are_told_late_are_seen_in_their_build_and_in_the_next_one(shelf: Shelf) -> None:
    shelf.ended(2)
    shelf.test(2, "a", "b")

    def fresh() -> int | None:
        found: int | None = json.loads(shelf.build(2).body)["jobs"][0]["tests"]["new"]
        return found

    assert json.loads(shelf.build(1).body)["jobs"][0]["tests"] is None
    assert [fresh(), fresh()] == [None, None]
    # Only now it can be said what is new in the second one.
    shelf.test(1, "a")
    assert [fresh(), fresh()] == [1, 1]
    assert json.loads(shelf.build(1).body)["jobs"][0]["tests"]["failed"] == 1


def test_a_log_that_still_grows_is_measured_each_time(shelf: Shelf) -> None:
    lost = AttemptState.LOST
    shelf.store.commit(
        new(
            make_build(2, state=Status.ERRORED, finished_at=9),
            make_job(2, state=Status.ERRORED, attempt=1),
            make_attempt(2, state=lost, released=False, log_bytes=0, finished_at=9),
        )
    )

    def kept() -> list[int]:
        documents = [json.loads(shelf.build(2).body), json.loads(shelf.list().body)["builds"][0]]
        return [document["jobs"][0]["attempts"][0]["log_kept_bytes"] for document in documents]

    assert kept() == [0, 0]
    shelf.desk.log("2/test", 1, b"came after all\n")
    assert kept() == [15, 15]
    job = make_attempt(2).job
    end = LogEnd(job=job, number=1, runner=make_attempt(2).runner, log_bytes=15)
    shelf.store.commit(Changes(new=(), changed=(), notes=(), log_ends=(end,)))
    assert json.loads(shelf.build(2).body)["jobs"][0]["attempts"][0]["log_complete"] is True


def test_what_a_shard_told_late_is_seen_by_the_next_who_asks(shelf: Shelf) -> None:
    name = "t[shard=1]"
    job = make_job(2, name=name, state=Status.FAILED, attempt=1)
    spec = replace(job.spec, name=name, shards=1, matrix={"shard": "1"})
    lost = make_attempt(2, name=name, state=AttemptState.LOST, released=True, log_bytes=0, finished_at=9)
    build = make_build(2, jobs=(name,), state=Status.FAILED, finished_at=9)
    shelf.store.commit(new(build, replace(job, spec=spec), lost))
    shelf.store.add_shard_list(2, "t", *pack(["one", "other"]))

    def tests() -> Any:
        return json.loads(shelf.build(2).body)["jobs"][0]["tests"]

    assert [tests(), tests()] == [None, None]
    done = (ShardResult(item=0, state="passed", duration_ms=9),)
    shelf.store.add_shard_ask(Asked(job=f"2/{name}", attempt=1, seq=2, done=done, given=()), "t")
    assert tests()["passed"] == 1


def taken(ask: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """How many bytes more are in use once all of this was asked."""
    tracemalloc.start()
    try:
        asyncio.run(ask())
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_no_number_of_long_questions_with_short_answers_fills_the_memory(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "KEPT_BYTES_MAX", 100_000)

    async def ask() -> None:
        for number in range(500):
            found = await shelf.ready.builds({"author": f"{number:4000}"}, CLUSTER, brief=True)
            assert found.body == b'{"builds":[],"next":null}'

    assert taken(ask) < 1_000_000


def test_no_number_of_small_builds_that_are_compared_with_a_large_one_fills_the_memory(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "KEPT_BYTES_MAX", 1_000_000)
    names = ("test", *(f"job{number}" for number in range(200)))
    ended: dict[str, Any] = {"state": Status.FAILED, "finished_at": 9}
    tried: dict[str, Any] = {"state": AttemptState.FAILED, "released": True, "log_bytes": 0, "finished_at": 9}
    jobs = [make_job(2, name, position=at, state=Status.SKIPPED) for at, name in enumerate(names)]
    shelf.store.commit(new(make_build(2, names, sha="b" * 40, **ended), *jobs, make_attempt(2, **tried)))
    shelf.test(2, "broken")
    numbers = range(3, 40)
    for number in numbers:
        job = make_job(number, state=Status.FAILED, attempt=1)
        shelf.store.commit(new(make_build(number, sha="c" * 40, **ended), job, make_attempt(number, **tried)))
        shelf.test(number, "broken")

    async def ask() -> None:
        for number in numbers:
            made = await shelf.ready.build(number, CLUSTER, _nothing_more)
            assert await shelf.ready.build(number, CLUSTER, _nothing_more) is made

    assert taken(ask) < 3_000_000


def test_a_build_that_goes_on_is_seen_to_go_on(shelf: Shelf) -> None:
    build, job, attempt = make_build(2), make_job(2), make_attempt(2, state=AttemptState.RUNNING)
    shelf.store.commit(new(build, job))
    seen = [_standing(shelf)]
    shelf.store.commit(
        Changes(
            new=(attempt,), notes=(),
            changed=(replace(build, state=Status.RUNNING), replace(job, state=Status.RUNNING, attempt=1)),
        )
    )  # fmt: skip
    seen.append(_standing(shelf))
    done = replace(attempt, state=AttemptState.PASSED, released=True, finished_at=9, log_bytes=0)
    passed = Status.PASSED
    shelf.store.commit(
        changed(replace(build, state=passed, finished_at=9), replace(job, state=passed, attempt=1, finished_at=9), done)
    )
    seen += [_standing(shelf), _standing(shelf)]
    assert seen == [("queued",) * 3, ("running",) * 3, ("passed",) * 3, ("passed",) * 3]


def _standing(shelf: Shelf) -> tuple[str, ...]:
    one, listed, brief = (json.loads(each.body) for each in (shelf.build(2), shelf.list(), shelf.list(brief=True)))
    return one["state"], listed["builds"][0]["jobs"][0]["state"], brief["builds"][0]["state"]


@pytest.mark.parametrize(
    "query",
    [
        "", "?limit=1", "?before=2", "?limit=1&before=3", "?jobs=false", "?jobs=true", "?jobs=0", "?state=failed",
        "?state=queued&jobs=false", "?repo=%2Fsrv%2Frepo", "?repo=repo&limit=2", "?limit=01", "?limit=1&limit=2",
        "?unknown=1", "?limit=", "?limit=0", "?limit=201", "?before=x", "?state=none", "?before=99999999999999999999",
        "?jobs", "?&", "?event=push", "?ref=main",
    ],
)  # fmt: skip
def test_both_ways_to_a_list_lead_to_the_same(stage: Stage, query: str) -> None:
    usual = stage.get(BUILDS + query, stage.token())
    headers = let_in(stage)
    quick = stage.get(BUILDS + query, headers)
    assert (quick.status_code, quick.content) == (usual.status_code, usual.content)
    assert {**quick.headers} == {**usual.headers}


@pytest.mark.parametrize("build", ["1", "2", "77", "0", "01", "x", "1/", "99999999999999999999", "1?jobs=false", "-1"])
def test_both_ways_to_a_build_lead_to_the_same(stage: Stage, build: str) -> None:
    usual = stage.get(f"{BUILDS}/{build}", stage.token())
    headers = let_in(stage)
    quick = stage.get(f"{BUILDS}/{build}", headers)
    assert (quick.status_code, quick.content) == (usual.status_code, usual.content)
    assert {**quick.headers} == {**usual.headers}


def let_in(stage: Stage) -> dict[str, str]:
    """The headers of somebody who was let in a moment ago. Their first request is noted, which all forget whom they
    knew for.
    """
    headers = stage.token()
    assert [stage.get(f"{API}/status", headers).status_code for _ in range(2)] == [200, 200]
    return headers


class Refusing:
    """The usual way, shut."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def asked_quickly(stage: Stage, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    """The status and the body that the short way alone has for this."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read of a body")

    async def ask() -> None:
        state = stage.app.state
        books: Books = state.books
        assert isinstance(books, Documents)
        way = Quick(Refusing(), books=books, door=state.door, cluster=CLUSTER)
        pure, _, query = path.partition("?")
        await way(
            {
                "type": "http", "method": "GET", "path": pure, "root_path": "", "query_string": query.encode(),
                "scheme": "http", "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            },
            receive, send,
        )  # fmt: skip

    asyncio.run(ask())
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("path", [BUILDS, f"{BUILDS}/1", f"{BUILDS}?limit=1&jobs=false&before=3&state=failed"])
def test_whoever_was_let_in_goes_the_short_way(stage: Stage, path: str) -> None:
    usual = stage.get(path, stage.token())
    assert asked_quickly(stage, path, let_in(stage)) == (200, usual.content)
    assert asked_quickly(stage, path, {}) == (418, b"")
    assert asked_quickly(stage, path, stage.token())[0] == 418


def test_who_sees_some_repositories_only_goes_the_usual_way(stage: Stage) -> None:
    stage.passes.people.put("ann", [Role(repo="/srv/other*", scope="read")], now=stage.now)
    secret = stage.passes.issue(Kind.TOKEN, "ann", "admin", now=stage.now, lasts_ms=SESSION_MS, user="ann")
    headers = {"authorization": f"Bearer {secret}"}
    assert stage.get(f"{BUILDS}/1", headers).status_code == 404
    assert stage.get(f"{BUILDS}/1", headers).status_code == 404
    assert stage.get(BUILDS, headers).json() == {"builds": [], "next": None}
    assert asked_quickly(stage, BUILDS, headers)[0] == 418
