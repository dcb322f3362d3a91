"""How `up` tells of a build from its beginning to its verdict."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from surveil.client import Answered
from surveil.screen.live import Screen
from surveil.up import story
from surveil.up.story import FollowUp, Teller
from tests.screen.test_live import Stream

JOBS = ["lint", "test", "doc"]
STEPS = [
    {"name": "Build", "state": "passed", "log_at": 0},
    {"name": "Tests", "state": "failed", "log_at": 6},
]


def job(name: str, state: str = "passed", **fields: Any) -> dict[str, Any]:
    """A job's document with one attempt."""
    times = {"started_at": "2026-01-01T00:00:00.000Z", "finished_at": "2026-01-01T00:00:02.500Z"}
    about = {"id": f"7/{name}", "name": name, "state": state, "reason": "", "waiting": None}
    return {**about, **times, "attempts": [{"number": 1}], **fields}


class Dispatcher:
    """Answers about one build; its journal has one page, and each log one piece."""

    outage_ms = 1000

    def __init__(self, logs: Mapping[str, Mapping[str, Any]] | None = None, **build: Any) -> None:
        about = {"id": 7, "repo": "/srv/tree", "ref": "refs/heads/main", "sha": "a" * 40, "message": "Add it"}
        times = {"started_at": None, "finished_at": None}
        self._build = {**about, **times, "jobs": [], "rule": None, "complaints": [], "reason": "", **build}
        self._logs = logs or {}
        self.notes: list[dict[str, Any]] = []
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.runners: list[str | None] = []
        """The states that the only runner has, one look after another; None where it has not joined."""
        self.then: list[dict[str, Any]] = []
        """The build's jobs after the last of these looks."""
        self.looks_first = 0
        """The journal has nothing to tell before somebody looked at the build so often."""
        self._looked = asyncio.Event()

    async def build(self, _number: int) -> dict[str, Any]:
        self.looks_first -= 1
        if self.looks_first <= 0:
            self._looked.set()
        return self._build

    async def listed(self, _what: str) -> list[dict[str, Any]]:
        state = self.runners.pop(0)
        self._build["jobs"] = self._build["jobs"] if self.runners else self.then
        return [] if state is None else [{"name": "local-1", "state": state}]

    async def ask(self, what: str, about: Mapping[str, Any], **_: Any) -> Answered:
        self.asked.append((what, about))
        if what == "journal":
            await self._looked.wait()
            notes, self.notes = self.notes, []
            return Answered(body={"notes": notes, "position": 40}, data=b"")
        if what == "build":
            return Answered(body=self._build, data=b"")
        assert what == "log"
        log = self._logs.get(about["job"], {})
        data = log.get("data", b"")
        body = {"attempt": 1, "exists": True, "at": 0, "next": len(data), "end": len(data), "damaged": []}
        body |= {"complete": True, "settled": True, "runner": "spare-2", "steps": log.get("steps", [])}
        return Answered(body=body, data=data)


def told(
    dispatcher: Dispatcher,
    follow_up: FollowUp | None = None,
    *,
    taken_up: bool = False,
    terminal: bool = False,
    runners_come: bool = False,
) -> tuple[str, str]:
    """What stands on stdout and on stderr at the end."""

    async def scene() -> tuple[str, str]:
        out, err = Stream(terminal=terminal), Stream(terminal=terminal)
        client: Any = dispatcher  # It is asked for no more.
        teller = Teller(client, Screen(out, err), follow_up, runners_come=runners_come)
        await teller.tell(7, taken_up=taken_up)
        return out.written(), err.written()

    return asyncio.run(scene())


def test_why_a_build_could_not_begin_is_said_once() -> None:
    out, err = told(Dispatcher(state="errored", reason="no pipeline file", complaints=["no pipeline file"]))
    assert out == "errored   build 7: tree main aaaaaaa Add it: no pipeline file\n"
    assert err == "build 7: tree main aaaaaaa Add it\n"


def test_complaints_that_are_not_the_reason_are_told_before_the_verdict() -> None:
    out, err = told(Dispatcher(state="errored", reason="invalid", complaints=[".surveil.yml:1:1: no", "nor this"]))
    assert out.startswith("errored   build 7: ")
    assert err.splitlines()[1:] == [".surveil.yml:1:1: no", "nor this"]


def test_a_job_is_told_with_its_runner_its_steps_its_tests_and_its_time() -> None:
    logs = {"7/test": {"data": b"built\n1 failed, 2 passed in 1.0s\n", "steps": STEPS}}
    times = {"started_at": "2026-01-01T00:00:00.000Z", "finished_at": "2026-01-01T00:01:05.000Z"}
    test = job("test", "failed", reason="step Tests failed")
    out, err = told(Dispatcher(logs, state="failed", jobs=[test], **times))
    assert err.splitlines() == [
        "build 7: tree main aaaaaaa Add it",
        "--- test on spare-2 ---",
        "--- test: step 1 of 2: Build, passed ---",
        "--- test: step 2 of 2: Tests, failed ---",
        "          `surveil logs 7 test` shows its output again, `surveil retry 7 --failed` tries it again",
    ]
    assert out.splitlines() == [
        "built",
        "1 failed, 2 passed in 1.0s",
        "  failed    test in 2.5 s, 2 of 3 tests passed, 1 failed: step Tests failed",
        "failed    build 7: tree main aaaaaaa Add it in 1 min 5 s, 2 of 3 tests passed, 1 failed",
    ]


def test_of_several_jobs_each_line_says_whose_it_is_and_passing_needs_no_advice() -> None:
    logs: dict[str, Any] = {
        "7/a": {"data": b"x\n"},
        "7/b": {"data": b"y\n", "steps": [{"name": "One", "state": "passed", "log_at": 0}]},
    }
    out, err = told(Dispatcher(logs, state="passed", jobs=[job("a"), job("b")]))
    assert sorted(out.splitlines()) == [
        "  passed    a in 2.5 s",
        "  passed    b in 2.5 s",
        "a | x",
        "b | y",
        "passed    build 7: tree main aaaaaaa Add it",
    ]
    assert sorted(err.splitlines()) == [
        "--- a on spare-2 ---",
        "--- b on spare-2: One ---",
        "build 7: tree main aaaaaaa Add it",
    ]


@pytest.mark.parametrize(
    ("follow_up", "advice"),
    [
        (
            FollowUp(where=" -X"),
            "`surveil logs 7 'test[a=1]' -X` shows its output again, `surveil retry 7 --failed -X` tries it again",
        ),
        (FollowUp(over=True), "`surveil run 'test[a=1]'` runs it on the files as they are now"),
    ],
)
def test_what_went_wrong_comes_with_what_to_type(follow_up: FollowUp, advice: str) -> None:
    _, err = told(Dispatcher(state="failed", jobs=[job("test[a=1]", "failed")]), follow_up)
    assert err.splitlines()[-1].strip() == advice


def test_a_lost_runner_and_what_becomes_of_its_job_are_told_when_they_happen() -> None:
    dispatcher = Dispatcher(state="passed", jobs=[job("test")])
    lost = "runner spare-2 stopped answering 8.1 s ago"
    dispatcher.notes = [
        {"what": "attempt", "id": "7/test#1", "state": "running", "reason": ""},
        {"what": "attempt", "id": "7/test#1", "state": "lost", "reason": lost},
        {"what": "job", "id": "7/test", "state": "queued", "reason": lost},
        {"what": "build", "id": "7", "state": "passed", "reason": ""},
    ]
    _, err = told(dispatcher)
    assert f"--- test: attempt 1 lost: {lost} ---" in err.splitlines()
    assert "--- test: tried again, on the next runner that is free ---" in err.splitlines()


def test_how_a_job_ended_is_told_after_its_output_while_others_go_on() -> None:
    logs = {"7/lint": {"data": b"ugly\n"}, "7/test": {"data": b"3 passed in 1.0s\n"}, "7/doc": {"data": b"fine\n"}}
    jobs = [job("lint", "failed", reason="step 'Lint' failed"), job("test"), job("doc")]
    dispatcher = Dispatcher(logs, state="failed", jobs=jobs)
    dispatcher.notes = [{"what": "attempt", "id": f"7/{name}#1", "state": "running", "reason": ""} for name in JOBS]
    dispatcher.notes += [
        {"what": "job", "id": "7/lint", "state": "failed", "reason": "step 'Lint' failed"},
        {"what": "job", "id": "7/test", "state": "passed", "reason": "carried"},
        {"what": "job", "id": "7/doc", "state": "passed", "reason": ""},
        {"what": "build", "id": "7", "state": "failed", "reason": ""},
    ]
    _, err = told(dispatcher)
    ends = [line for line in err.splitlines() if line.startswith("---") and " on " not in line]
    assert sorted(ends) == ["--- lint failed: step 'Lint' failed ---", "--- test passed, 3 tests passed ---"]
    lines = err.splitlines()
    assert lines.index("--- lint on spare-2 ---") < lines.index("--- lint failed: step 'Lint' failed ---")


def test_a_build_that_is_taken_up_in_its_middle_says_so_and_repeats_little() -> None:
    logs = {"7/b": {"data": b"line\n"}}
    times = {"started_at": "2026-01-01T00:00:00.000Z"}
    dispatcher = Dispatcher(logs, state="passed", jobs=[job("a"), job("b", "running")], **times)
    out, err = told(dispatcher, taken_up=True)
    assert err.splitlines()[0].startswith("build 7 goes on: tree main aaaaaaa Add it, begun at 2026-01-01 ")
    assert "--- a on spare-2 ---" not in err
    assert "b | line\n" in out
    [asked] = [about for what, about in dispatcher.asked if what == "log"]
    assert (asked["job"], asked["tail_lines"]) == ("7/b", story.CAUGHT_UP_LINES)
    assert ("journal", {"after": -1, "build": 7}) in dispatcher.asked


def test_why_a_job_waits_is_told_once_for_each_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: dict[str, Any] = {"state": "queued", "attempts": [], "waiting": "waits for a free slot: 2 of 2 busy"}
    dispatcher = Dispatcher(state="queued", jobs=[job("a", **waiting), job("b", **waiting)])
    dispatcher.notes = [{"what": "build", "id": "7", "state": "passed", "reason": ""}]
    dispatcher.looks_first = 4
    monkeypatch.setattr(story, "WAITING_MS", 1)
    _, err = told(dispatcher)
    assert [line for line in err.splitlines() if "slot" in line] == ["--- a, b: waits for a free slot: 2 of 2 busy ---"]


@pytest.mark.parametrize(("runners_come", "said"), [(True, "is busy"), (False, "bring a runner")])
def test_nobody_is_told_to_bring_a_runner_while_one_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, *, runners_come: bool, said: str
) -> None:
    dispatcher = Dispatcher(state="queued", jobs=[job("a", "queued", attempts=[], waiting="bring a runner")])
    dispatcher.runners = [None, "offline", "online"]
    dispatcher.then = [job("a", "queued", attempts=[], waiting="is busy")]
    dispatcher.notes = [{"what": "build", "id": "7", "state": "passed", "reason": ""}]
    dispatcher.looks_first = 4
    monkeypatch.setattr(story, "WAITING_MS", 1)
    _, err = told(dispatcher, runners_come=runners_come)
    assert [line for line in err.splitlines() if line.startswith("---")] == [f"--- a: {said} ---"]
