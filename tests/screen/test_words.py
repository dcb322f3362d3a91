"""How things are called and measured for people."""

from datetime import UTC, datetime
from typing import Any

import pytest

from surveil.screen.words import Waits, age, at_time, commit_line, counted, listed, span, took, why

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (0, "0.0 s"),
        (440, "0.4 s"),
        (9_990, "9.9 s"),
        (12_345, "12 s"),
        (60_000, "1 min"),
        (185_000, "3 min 5 s"),
        (7_800_000, "2 h 10 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations_are_said_in_the_units_that_matter(duration_ms: int, text: str) -> None:
    assert span(duration_ms) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (None, ""),
        ("2026-01-02T03:04:04.500Z", "0 s"),
        ("2026-01-02T03:04:09.000Z", "0 s"),
        ("2026-01-02T03:01:00.000Z", "3 min"),
        ("2025-12-31T03:01:00.000Z", "2 d"),
    ],
)
def test_ages_are_one_unit_and_never_negative(at: str | None, text: str) -> None:
    assert age(at, NOW) == text


def test_what_has_not_begun_took_no_time() -> None:
    assert took(None, None) == ""
    assert took("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:06.500Z") == "1.5 s"


def test_a_commit_is_named_by_what_people_call_it() -> None:
    build = {"repo": "/src/project.git", "ref": "refs/heads/main", "sha": "1a2b3c4d5e", "message": "Fix it\n\nlong"}
    assert commit_line(build) == "project main 1a2b3c4 Fix it"
    assert commit_line({**build, "message": "", "ref": "HEAD", "repo": "x"}) == "x HEAD 1a2b3c4"


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ({"state": "passed", "reason": "carried over", "waiting": None}, ""),
        ({"state": "running", "reason": "a retry of build 3", "waiting": None}, ""),
        ({"state": "failed", "reason": "step `Tests` failed", "waiting": None}, "step `Tests` failed"),
        ({"state": "queued", "reason": "", "waiting": "waits for a free slot"}, "waits for a free slot"),
        ({"state": "lost", "reason": "its runner stopped"}, "its runner stopped"),
    ],
)
def test_why_is_said_of_what_did_not_pass(record: dict[str, Any], words: str) -> None:
    assert why(record) == words


def test_many_names_become_a_few_and_a_number() -> None:
    assert listed(["a", "b"], 2) == "a, b"
    assert listed("abcde", 2) == "a, b and 3 others"
    assert listed("abc", 2) == "a, b and 1 other"
    assert counted(1, "runner") == "1 runner"


def test_a_time_of_another_day_says_which() -> None:
    assert at_time(None) == ""
    assert len(at_time(datetime.now(UTC).isoformat())) == len("12:30:45")
    assert at_time("2020-02-03T12:00:00.000Z").startswith("2020-02-0")


def test_what_jobs_wait_for_is_news_once_for_each_reason() -> None:
    def job(name: str, state: str, waiting: str | None) -> dict[str, Any]:
        return {"id": f"1/{name}", "name": name, "state": state, "waiting": waiting}

    waits = Waits()
    busy = "waits for a free slot: 2 of 2 busy"
    jobs = [
        job("a", "queued", busy),
        job("b", "queued", busy),
        job("c", "blocked", "waits for a"),
        job("d", "held", "x"),
    ]
    assert waits.news({"jobs": jobs}) == [f"a, b: {busy}", "d: x"]
    assert waits.news({"jobs": [job("a", "queued", "waits for a free slot: 3 of 3 busy")]}) == []
    assert waits.news({"jobs": [job("a", "queued", "no runner")]}) == ["a: no runner"]
