"""The story of a job in plain words, of what the dispatcher's mind really did and wrote down."""

import pytest

from surveil.errors import NotFoundError
from surveil.frozen import replace
from surveil.protocol import Remark, StepReport
from tests.answer.desk import Desk
from tests.core.script import Player
from tests.store.records import changed


def played(script: str) -> tuple[Desk, list[str]]:
    """A desk over what a mind stored that went through a scenario, and the story of its build 1."""
    desk, player = Desk(), Player()
    player.on_commit = desk.store.commit
    for line in script.strip().splitlines():
        player.play(line.strip())
    return desk, told(desk)


def told(desk: Desk, job: str = "test") -> list[str]:
    lines = desk.ask("story", build=1, job=job)["lines"]
    return [f"{line['after_ms']:>6} {line['text']}" for line in lines]


def test_the_story_of_an_ordinary_job_is_short() -> None:
    desk, story = played(
        """
        hello a
        build jobs=test
        accepted a 1/test#1
        wait 20
        progress a 1/test#1
        wait 980
        finished a 1/test#1 passed 900
        """
    )
    assert story == [
        "     0 commit aaaaaaa of main: it came in",
        "     0 queued",
        "     0 attempt 1 was given to runner a",
        "     0 runner a accepted it",
        "   900 attempt 1 passed; its log has 0 bytes",
        "  1000 the job passed",
    ]
    first = desk.ask("story", build=1, job="test")["lines"][2]
    assert first == {
        "at": "1970-01-12T13:46:40.000Z",
        "after_ms": 0,
        "what": "given",
        "job": "1/test",
        "attempt": 1,
        "runner": "a",
        "text": "attempt 1 was given to runner a",
    }


def test_what_was_kept_when_all_steps_had_ended_is_said_of_the_attempt() -> None:
    desk, _ = played(
        """
        hello a
        build jobs=test
        accepted a 1/test#1
        wait 100
        finished a 1/test#1 passed 90
        """
    )
    found = desk.store.reader.build(1)
    assert found is not None
    (attempt,) = found.attempts
    said = (Remark(at=3, after_ms=7, text="5 bytes were dropped"), Remark(at=3, after_ms=9, text="1 file is too large"))
    step = StepReport(name="Lint", state="passed", started_after_ms=1, finished_after_ms=8, log_at=0, remarks=said)
    desk.store.commit(changed(replace(attempt, log_bytes=3, steps=(step,))))
    assert [line for line in told(desk) if "bytes were" in line or "too large" in line] == [
        "     7 step 1 of 1 `Lint`: 5 bytes were dropped",
        "     9 attempt 1: 1 file is too large",
    ]


def test_a_lost_runner_and_its_late_return_are_told_with_their_times() -> None:
    _, story = played(
        """
        hello a
        build jobs=test
        accepted a 1/test#1
        wait 5
        progress a 1/test#1
        wait 8995
        hello b
        wait 10
        accepted b 1/test#2
        wait 990
        beat a held=1/test#1
        wait 500
        finished a 1/test#1 cancelled log=512
        wait 500
        finished b 1/test#2 passed 100
        """
    )
    assert story[4:] == [
        "     5 step 1 of 1 `step` began",
        "  9000 runner a counts as gone: nothing was heard of it for 9.0 s: 4 heartbeats missed",
        "  9000 attempt 1 was lost: runner a stopped answering 9.0 s ago; 0 bytes of its log are here",
        "  9000 queued again",
        "  9000 attempt 2 was given to runner b",
        "  9010 runner b accepted it",
        "  9110 attempt 2 passed; its log has 0 bytes",
        " 10000 runner a is there again: it is back after 10.0 s",
        " 10000 attempt 1: runner a came back with it 1.0 s after it was lost and was told to end it",
        " 10500 attempt 1: runner a delivers the rest of its log, which has 512 bytes, 1.5 s after it was lost",
        " 11000 the job passed",
    ]


@pytest.mark.parametrize(
    ("script", "job", "cause"),
    [
        ("build jobs=test\nwait 2500\nhello a", "test", "the runner was not there before"),
        ("hello a\nbuild jobs=test\nwait 10", "test", ""),
        ("build jobs=test\nwait 2000\nrestart downtime=500\nhello a", "test", "the dispatcher was away"),
        (
            "hello a\nbuild jobs='first test'\naccepted a 1/first#1\nwait 2500\nfinished a 1/first#1 failed",
            "test",
            "no runner had room before",
        ),
        (
            "hello a\nbuild jobs=test\naccepted a 1/test#1\nfinished a 1/test#1 errored\nwait 2500",
            "test",
            "it was not to be tried at once",
        ),
    ],
)
def test_what_a_job_waited_for_is_told_when_it_is_over(script: str, job: str, cause: str) -> None:
    desk, _ = played(script)
    given = [line for line in told(desk, job) if "was given to runner a" in line][-1]
    waited = given.partition(", after ")[2]
    assert waited.partition(" in the queue: ")[2] == cause
    assert waited.startswith(("2.5 s", "2.0 s")) or not cause


def test_a_restart_of_the_dispatcher_and_a_cancellation_stand_in_the_story() -> None:
    _, story = played(
        """
        hello a
        build jobs=test
        accepted a 1/test#1
        wait 1000
        restart downtime=500
        hello a held=1/test#1
        wait 500
        cancel 1
        finished a 1/test#1 passed
        """
    )
    assert story[4:] == [
        "  1500 the dispatcher started again: this is its start number 2",
        "  2000 attempt 1 was cancelled: cancelled by ann; its log has 0 bytes",
        "  2000 attempt 1: its result, passed, came 0.0 s after it was cancelled and changes nothing",
        "  2000 the job was cancelled",
    ]


def test_a_result_that_comes_after_the_verdict_and_a_restart_is_told_as_well() -> None:
    _, story = played(
        """
        hello a
        build jobs=test
        accepted a 1/test#1
        cancel 1
        wait 1000
        restart downtime=500
        finished a 1/test#1 failed log=30
        """
    )
    assert story[-1] == "  1500 attempt 1: its result, failed, came 1.5 s after it was cancelled and changes nothing"


def test_the_story_of_a_build_tells_of_all_its_jobs_and_of_its_verdict() -> None:
    desk, _ = played(
        """
        hello a
        build jobs="test ship<test"
        accepted a 1/test#1
        wait 100
        finished a 1/test#1 failed 90
        """
    )
    assert told(desk, "") == [
        "     0 commit aaaaaaa of main: it came in",
        "     0 queued",
        "     0 waits for test",
        "     0 attempt 1 was given to runner a",
        "     0 runner a accepted it",
        "   100 attempt 1 failed: it failed; its log has 0 bytes",
        "   100 the job failed",
        "   100 the job was skipped: needs test, which failed",
        "   100 build 1 failed: test: it failed",
    ]
    assert {line["job"] for line in desk.ask("story", build=1)["lines"]} == {None, "1/test", "1/ship"}


def test_a_long_story_comes_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    desk, story = played("hello a\nbuild jobs=test\naccepted a 1/test#1\nwait 10\nfinished a 1/test#1 passed 5")
    monkeypatch.setattr("surveil.answer.story.LINES_MAX", 4)
    first = desk.ask("story", build=1, job="test")
    rest = desk.ask("story", build=1, job="test", at=first["next"])
    assert (len(first["lines"]), rest["next"]) == (4, None)
    assert [line["text"] for line in first["lines"] + rest["lines"]] == [line[7:] for line in story]


def test_there_is_no_story_of_what_there_is_not() -> None:
    desk, _ = played("build jobs=test")
    with pytest.raises(NotFoundError, match="There is no build `9`"):
        desk.ask("story", build=9)
    with pytest.raises(NotFoundError, match=r"Build 1 has no job `tset`; did you mean `test`\?"):
        desk.ask("story", build=1, job="tset")


def test_a_job_whose_condition_is_false_is_told_as_that_and_never_as_queued() -> None:
    _, story = played(
        """
        hello a
        build jobs="other test(when=branch=='v1')"
        """
    )
    assert story == [
        "     0 commit aaaaaaa of main: it came in",
        "     0 the job was skipped: its `when` is false: branch is `main`",
    ]


def test_a_superseded_job_names_the_one_that_ended_it() -> None:
    _, story = played(
        """
        hello a
        build jobs=test(group=production,supersede=yes)
        accepted a 1/test#1
        wait 1000
        build jobs=test(group=production,supersede=yes)
        finished a 1/test#1 cancelled
        """
    )
    assert story[:4] == [
        "     0 commit aaaaaaa of main: it came in",
        "     0 queued",
        "     0 attempt 1 was given to runner a",
        "     0 runner a accepted it",
    ]
    assert story[4] == (
        "  1000 attempt 1 was cancelled: superseded by 2/test in the group `production`; its log has 0 bytes"
    )
