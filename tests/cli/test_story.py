"""`story`: lines for people with their times, lines of JSON for scripts, and what is typed for a job."""

import json
import re

import pytest

from surveil.core.model import Note, Status
from tests.cli.conftest import Type
from tests.cli.counter import Counter
from tests.store.records import finished, make_attempt, make_build, make_job, new

JOBS = {"test": 0, "lint": 1}


def fill(counter: Counter) -> None:
    jobs = [
        make_job(name=name, position=at, state=Status.PASSED, attempt=1) for at, name in enumerate(("test", "lint"))
    ]
    notes = (
        Note(at=1_000, what="build", id="1", build=1, state="queued", reason="seen by observer web"),
        Note(at=9_000, what="job", id="1/test", build=1, state="passed", reason=""),
        Note(at=9_500, what="attempt", id="1/test#1", build=1, state="fenced", reason="\x1b[2J came too late"),
        Note(at=86_401_000, what="build", id="1", build=1, state="passed", reason=""),
    )
    build = make_build(state=Status.PASSED, jobs=("test", "lint"), created_at=1_000)
    attempt = finished(make_attempt(assigned_at=1_100, accepted_at=1_200))
    counter.desk.store.commit(new(build, *jobs, attempt, notes=notes))


def test_each_line_has_its_time_and_how_long_after_the_first_it_was(type_: Type, counter: Counter) -> None:
    fill(counter)
    ended = type_("story", "1/test")
    lines = ended.out.splitlines()
    assert (ended.code, ended.err) == (0, "")
    day, first = lines[0], lines[1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    assert first.endswith("  +0.0 s  commit aaaaaaa of main: seen by observer web")
    assert first.split()[0].endswith(":01.000")
    assert any(line.endswith("  +0.1 s  attempt 1 was given to runner spare-2") for line in lines)
    assert lines[-1].endswith("+8.5 s  attempt 1: \N{REPLACEMENT CHARACTER}[2J came too late")
    assert "lint" not in ended.out


def test_the_story_of_a_build_names_the_jobs(type_: Type, counter: Counter) -> None:
    fill(counter)
    out = type_("story", "#1").out
    assert "  test: the job passed" in out
    assert "  lint: queued" in out or "  lint: waits for build" in out
    assert out.splitlines()[-1].endswith("  build 1 passed")
    assert re.fullmatch(r"1970-01-0[12]", out.splitlines()[-2]), "a new day has a line of its own"


def test_scripts_get_a_line_of_json_for_each(type_: Type, counter: Counter) -> None:
    fill(counter)
    lines = [json.loads(line) for line in type_("story", "1/test", "--json").out.splitlines()]
    assert [line["after_ms"] for line in lines] == sorted(line["after_ms"] for line in lines)
    assert set(lines[0]) == {"at", "after_ms", "what", "job", "attempt", "runner", "text"}


@pytest.mark.parametrize(
    ("typed", "code", "sentence"),
    [
        ("1/tset", 6, "Build 1 has no job `tset`; did you mean `test`?"),
        ("9", 6, "There is no build `9`; `surveil builds` lists those that there are."),
        ("test", 2, "`test` is no build's number; `surveil builds` lists them."),
    ],
)
def test_what_is_not_there_has_no_story(type_: Type, counter: Counter, typed: str, code: int, sentence: str) -> None:
    fill(counter)
    ended = type_("story", typed)
    assert (ended.code, ended.out) == (code, "")
    assert sentence in ended.err
