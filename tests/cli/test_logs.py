"""`logs`: the bytes on stdout just as they came, and everything else on stderr."""

import json
from dataclasses import replace

from surveil.core.model import AttemptState, Status
from surveil.protocol import Remark, StepReport, StepState
from tests.answer.desk import NOW
from tests.cli.conftest import Type
from tests.cli.counter import Counter, once
from tests.store.records import changed, make_attempt, make_build, make_job, make_note, new

ATTEMPT = make_attempt(state=AttemptState.PASSED, finished_at=NOW, released=True)
NASTY = b"\x1b[31mred\x1b]0;title\x07\x00\xff\r\nend"


def fill(counter: Counter) -> None:
    lint = make_job(1, "lint", state=Status.PASSED, attempt=1, position=0)
    test = make_job(1, "test", state=Status.PASSED, attempt=2, position=1)
    lost = make_attempt(1, "test", 1, state=AttemptState.LOST, reason="runner spare-1 stopped answering 8.1 s ago")
    counter.desk.store.commit(
        new(
            make_build(1, jobs=("lint", "test"), state=Status.PASSED),
            lint,
            test,
            replace(ATTEMPT, job="1/lint", log_bytes=3),
            lost,
            replace(ATTEMPT, number=2, log_bytes=len(NASTY)),
        )
    )
    counter.desk.log("1/lint", 1, b"ok\n")
    counter.desk.log("1/test", 1, b"half")
    counter.desk.log("1/test", 2, NASTY)


def test_piped_bytes_come_out_exactly_as_the_steps_wrote_them(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("logs", "1", "test")
    assert (ended.code, ended.raw) == (0, NASTY)


def test_seams_and_lost_attempts_are_told_on_stderr(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("logs", "1", "test")
    assert ended.err.splitlines() == [
        "--- 1/test attempt 1 was lost: runner spare-1 stopped answering 8.1 s ago ---",
        "--- 1/test attempt 2 on spare-2: passed ---",
    ]


def steps(*begins: tuple[str, StepState, int | None]) -> tuple[StepReport, ...]:
    return tuple(StepReport(name=name, state=state, log_at=at) for name, state, at in begins)


def test_each_of_several_steps_is_told_where_its_output_begins(type_: Type, counter: Counter) -> None:
    fill(counter)
    parts = steps(("Install", "passed", 0), ("Quiet", "passed", 3), ("Tests", "failed", 3), ("Last", "skipped", None))
    counter.desk.store.commit(changed(replace(ATTEMPT, job="1/lint", log_bytes=7, steps=parts)))
    counter.desk.log("1/lint", 1, b"more")
    ended = type_("logs", "1", "lint")
    assert ended.raw == b"ok\nmore"
    assert ended.err.splitlines()[1:] == [
        "--- step 1 of 4: Install, passed ---",
        "--- step 2 of 4: Quiet, passed ---",
        "--- step 3 of 4: Tests, failed ---",
    ]
    assert type_("logs", "1", "lint", "--tail", "1").err.splitlines()[1:] == ["--- step 3 of 4: Tests, failed ---"]
    assert "step" not in type_("logs", "1", "lint", "--json").err


def test_a_last_step_that_printed_nothing_is_told_as_well(type_: Type, counter: Counter) -> None:
    fill(counter)
    parts = steps(("Install", "passed", 0), ("Tests", "failed", 3))
    counter.desk.store.commit(changed(replace(ATTEMPT, job="1/lint", log_bytes=3, steps=parts)))
    ended = type_("logs", "1", "lint")
    assert (ended.raw, ended.err.splitlines()[-1]) == (b"ok\n", "--- step 2 of 2: Tests, failed ---")


def remarked(counter: Counter) -> None:
    """The log of `1/lint` with a remark in its middle, and one at its end."""
    fill(counter)
    remarks = (Remark(at=1, after_ms=5, text="1 byte was dropped"), Remark(at=3, after_ms=9, text="and \x1b[2J more"))
    parts = (StepReport(name="Lint", state="passed", log_at=0, finished_after_ms=8, remarks=remarks),)
    counter.desk.store.commit(changed(replace(ATTEMPT, job="1/lint", log_bytes=3, steps=parts)))


def test_what_surveil_remarks_is_told_on_stderr_and_never_among_the_bytes(type_: Type, counter: Counter) -> None:
    remarked(counter)
    ended = type_("logs", "1", "lint")
    assert ended.raw == b"ok\n"
    assert ended.err.splitlines()[1:] == [
        "--- 1 byte was dropped ---",
        "--- and \N{REPLACEMENT CHARACTER}[2J more ---",
    ]


def test_remarks_are_lines_of_their_own_for_scripts(type_: Type, counter: Counter) -> None:
    remarked(counter)
    lines = [json.loads(line) for line in type_("logs", "1", "lint", "--json").out.splitlines()]
    assert [(line["at"], line["bytes"], line["text"], line["remark"]) for line in lines] == [
        (0, 3, "ok\n", None),
        (1, 0, "", "1 byte was dropped"),
        (3, 0, "", "and \x1b[2J more"),
    ]


def test_a_remark_that_comes_after_the_last_byte_is_told_while_a_log_is_followed(type_: Type, counter: Counter) -> None:
    fill(counter)
    running = make_attempt(2, "test", state=AttemptState.RUNNING)
    counter.desk.store.commit(new(make_build(2), make_job(2, state=Status.RUNNING, attempt=1), running))
    counter.desk.log("2/test", 1, b"ok\n")

    def end() -> None:
        step = StepReport(name="", state="passed", log_at=0, remarks=(Remark(at=3, after_ms=9, text="9 were dropped"),))
        ended = replace(running, state=AttemptState.PASSED, log_bytes=3, steps=(step,), finished_at=9000)
        job = make_job(2, state=Status.PASSED, attempt=1)
        counter.desk.store.commit(changed(job, ended))
        counter.happen(make_note("job", "2/test", build=2, state="passed"))

    ending = once(lambda: counter.asked.count("log") > 1, end)
    ended = type_("logs", "2", "test", "-f")
    ending.join()
    assert ended.raw == b"ok\n"
    assert "--- 9 were dropped ---" in ended.err.splitlines()


def test_show_says_what_surveil_remarked_of_a_step_or_of_all(type_: Type, counter: Counter) -> None:
    remarked(counter)
    assert type_("show", "1").out.splitlines()[-2:] == [
        "lint: attempt 1: Lint: 1 byte was dropped",
        "lint: attempt 1: and \N{REPLACEMENT CHARACTER}[2J more",
    ]


def test_without_a_job_all_logs_come_one_after_the_other(type_: Type, counter: Counter) -> None:
    fill(counter)
    assert type_("logs", "1").raw == b"ok\n" + NASTY


def test_an_older_attempt_can_be_asked_for(type_: Type, counter: Counter) -> None:
    fill(counter)
    assert type_("logs", "1", "test", "--attempt", "1").raw == b"half"
    ended = type_("logs", "1", "test", "--attempt", "3")
    assert (ended.code, ended.err) == (6, "surveil: Job `1/test` has no attempt 3; its newest is 2.\n")


def test_an_unknown_job_is_answered_with_the_one_that_was_meant(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("logs", "1", "tset")
    assert ended.code == 6
    assert "did you mean `test`?" in ended.err


def test_json_lines_carry_offset_and_text(type_: Type, counter: Counter) -> None:
    fill(counter)
    (line,) = [json.loads(line) for line in type_("logs", "1", "lint", "--json").out.splitlines()]
    assert line == {"job": "1/lint", "attempt": 1, "at": 0, "bytes": 3, "text": "ok\n", "missing": None, "remark": None}


def test_bytes_that_are_no_text_are_told_apart_from_text_in_json(type_: Type, counter: Counter) -> None:
    fill(counter)
    (line,) = [json.loads(line) for line in type_("logs", "1", "test", "--json").out.splitlines()]
    assert (line["bytes"], line["text"]) == (len(NASTY), "\x1b[31mred\x1b]0;title\x07\x00\ufffd\r\nend")


def test_the_last_lines_are_enough_where_only_they_are_wanted(type_: Type, counter: Counter) -> None:
    fill(counter)
    assert type_("logs", "1", "test", "--tail", "1").raw == b"end"


def test_a_log_larger_than_one_message_comes_whole(type_: Type, counter: Counter) -> None:
    fill(counter)
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    for at in range(0, len(text), 200_000):
        counter.desk.log("1/lint", 2, text[at : at + 200_000])
    job = make_job(1, "lint", state=Status.PASSED, attempt=2)
    counter.desk.store.commit(new(replace(ATTEMPT, job="1/lint", number=2, log_bytes=len(text))))
    counter.desk.store.commit(changed(job))
    assert type_("logs", "1", "lint").raw == text


def test_bytes_that_never_came_are_told(type_: Type, counter: Counter) -> None:
    fill(counter)
    counter.desk.store.commit(changed(replace(ATTEMPT, job="1/lint", log_bytes=10)))
    ended = type_("logs", "1", "lint")
    assert ended.raw == b"ok\n"
    assert "--- 1/lint attempt 1: the last 7 bytes of this log have not come from runner spare-2 yet ---" in ended.err
    counter.desk.now += 2 * counter.desk.live.log_wait_ms
    lost = "the last 7 bytes of this log were lost with runner spare-2"
    assert f"--- 1/lint attempt 1: {lost} ---" in type_("logs", "1", "lint").err
    assert json.loads(type_("logs", "1", "lint", "--json").out.splitlines()[-1])["missing"] == lost
    assert f"lint: attempt 1: {lost}" in type_("show", "1").out
    # And when it comes after all, nothing more is said of it.
    counter.write("1/lint", 1, b"the rest")
    assert "of this log" not in type_("logs", "1", "lint").err
    assert "lint: attempt 1" not in type_("show", "1").out


def test_following_goes_on_over_a_lost_attempt_until_the_verdict(type_: Type, counter: Counter) -> None:
    running = make_attempt(state=AttemptState.RUNNING)
    counter.desk.store.commit(new(make_build(state=Status.RUNNING), make_job(state=Status.RUNNING, attempt=1), running))
    counter.desk.log("1/test", 1, b"one ")

    def live() -> None:
        counter.write("1/test", 1, b"two ")
        lost = replace(running, state=AttemptState.LOST)
        counter.desk.store.commit(changed(make_job(state=Status.RUNNING, attempt=2), lost))
        counter.desk.store.commit(new(replace(running, number=2)))
        counter.happen(make_note("attempt", "1/test#2"))
        counter.write("1/test", 2, b"three ")
        passed = replace(ATTEMPT, number=2, log_bytes=10)
        counter.desk.store.commit(changed(make_job(state=Status.PASSED, attempt=2), passed))
        counter.happen(make_note("attempt", "1/test#2"))
        counter.write("1/test", 2, b"four")

    meanwhile = once(lambda: counter.asked.count("log") > 1, live)
    ended = type_("logs", "1", "test", "--follow")
    meanwhile.join()
    assert (ended.code, ended.raw) == (0, b"one two three four")
    assert "attempt 1 is over, and the job is tried again: attempt 2 begins" in ended.err
