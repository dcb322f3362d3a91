"""`watch`: the journal as it happens, and the story of one build to its verdict."""

import json
import subprocess
import sys
import threading
import time

import pytest

from surveil.answer import JobsWish
from surveil.client import following
from surveil.client.access import person_here
from surveil.core.events import UnholdWanted
from surveil.core.model import Status
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import changed, make_build, make_job, make_note, make_runner, new


def settle(counter: Counter, state: Status) -> None:
    notes = (make_note(reason="pushed"), make_note("job", "1/test", state="running", reason=""))
    verdict = make_note(state=state.value, reason="so it is")
    build = make_build(state=state, complaints=())
    counter.desk.store.commit(new(build, make_job(state=state), notes=(*notes, verdict)))


@pytest.mark.parametrize(("state", "code"), [(Status.PASSED, 0), (Status.FAILED, 1), (Status.CANCELLED, 8)])
def test_a_builds_story_ends_with_its_verdict_and_the_verdicts_code(
    type_: Type, counter: Counter, state: Status, code: int
) -> None:
    settle(counter, state)
    ended = type_("watch", "1")
    assert (ended.code, ended.err) == (code, "")
    assert [line.split("  ", 1)[1] for line in ended.out.splitlines()] == [
        "build 1  queued  pushed",
        "job 1/test  running",
        f"build 1  {state.value}  so it is",
    ]


def test_json_is_a_line_for_each_and_can_go_on_from_a_position(type_: Type, counter: Counter) -> None:
    settle(counter, Status.PASSED)
    lines = [json.loads(line) for line in type_("watch", "1", "--json").out.splitlines()]
    assert [line["position"] for line in lines] == [1, 2, 3]
    assert [json.loads(line) for line in type_("watch", "1", "--json", "--since", "2").out.splitlines()] == lines[2:]
    assert type_("watch", "1", "--since", "3").code == 0


def test_an_unknown_build_is_exit_code_6(type_: Type, counter: Counter) -> None:
    assert type_("watch", "7").code == 6
    assert counter.asked == ["journal"]


def test_watching_everything_shows_runners_by_their_names_until_it_is_interrupted(counter: Counter) -> None:
    runner = make_runner()
    counter.desk.live.state.put(runner, 0)
    command = [sys.executable, "-m", "surveil", "watch", "--since", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        counter.happen(make_note("runner", runner.id, build=None, state="online", reason=""))
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(2)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert line == "1970-01-01T00:00:01.000Z  runner spare-2  online\n"
    assert (process.returncode, err) == (130, "surveil: Interrupted.\n")


def test_what_a_quiet_build_waits_for_is_told_once_on_stderr(
    type_: Type, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "QUIET_MS", 1)
    build, job = make_build(complaints=()), make_job()
    counter.desk.store.commit(new(build, job, notes=(make_note(reason=""),)))
    counter.desk.live.state.put(build, 0)
    counter.desk.live.state.put(job, 0)

    def settle_after_some_looks() -> None:
        while counter.asked.count("build") < 4:
            time.sleep(0.005)
        counter.desk.store.commit(changed(make_build(state=Status.PASSED, complaints=())))
        counter.happen(make_note(state="passed", reason=""))

    settling = threading.Thread(target=settle_after_some_looks)
    settling.start()
    ended = type_("watch", "1")
    settling.join()
    assert ended.code == 0
    assert ended.err.startswith("--- test: no runner has joined yet: ")
    assert ended.err.count("\n") == 1


def test_whoever_stops_following_a_build_is_told_that_it_goes_on(counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(complaints=()), make_job(), notes=(make_note(reason=""),)))
    command = [sys.executable, "-m", "surveil", "watch", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(2)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err == (
        "surveil: Build 1 goes on without you: `surveil watch 1` follows it again, `surveil cancel 1` ends it.\n"
    )


def test_held_jobs_are_let_go(type_: Type, counter: Counter) -> None:
    counter.desk.store.commit(new(make_build(state=Status.HELD), make_job(state=Status.HELD)))
    assert type_("unhold", "1", "test").code == 0
    assert counter.wishes == [
        JobsWish(event=UnholdWanted(build=1, names=("test",), reason=f"let go by {person_here()}"))
    ]
