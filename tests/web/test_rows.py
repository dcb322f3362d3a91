"""A log by rows over HTTP: from anywhere, by number, as it comes, and what it holds."""

import pytest

from surveil.core.model import AttemptState, Status
from tests.store.records import make_attempt, make_build, make_job, new
from tests.web.events import events_of
from tests.web.stage import Stage

JOB = "/api/v1/builds/1/jobs/test"
ROWS = f"{JOB}/attempts/1/log/rows"
SEARCH = f"{JOB}/attempts/1/log/search"


def test_the_last_rows_come_without_numbers_until_somebody_counts(stage: Stage) -> None:
    stage.desk.log("1/test", 1, b"x" * 300_000 + b"\nlast")
    headers = stage.token()
    found = stage.get(f"{ROWS}?limit=1", headers).json()
    assert [row["text"] for row in found["rows"]] == ["last"]
    assert (found["number"], found["next"] == found["end"]) == (None, True)
    assert stage.get(f"{ROWS}?limit=1&numbered=true", headers).json()["number"] == 1002
    assert stage.get(f"{ROWS}?limit=1", headers).json()["number"] == 1002


def test_rows_before_and_after_meet(stage: Stage) -> None:
    headers = stage.token()
    middle = stage.get(f"{ROWS}?line=500&limit=10", headers).json()
    assert [row["text"] for row in middle["rows"]] == [f"line {number}" for number in range(499, 509)]
    assert middle["number"] == 500
    before = stage.get(f"{ROWS}?before={middle['at']}&limit=3", headers).json()
    after = stage.get(f"{ROWS}?at={middle['next']}&limit=3", headers).json()
    assert [row["text"] for row in before["rows"]] == ["line 496", "line 497", "line 498"]
    assert [row["text"] for row in after["rows"]] == ["line 509", "line 510", "line 511"]
    assert (before["number"], after["number"]) == (497, 510)


@pytest.mark.parametrize(
    ("query", "status"),
    [("line=1001", 200), ("line=1002", 404), ("line=0", 422), ("at=1&line=2", 400), ("at=99999999", 200)],
)
def test_there_are_no_lines_after_the_last(stage: Stage, query: str, status: int) -> None:
    assert stage.get(f"{ROWS}?{query}", stage.token()).status_code == status


def test_an_attempt_that_there_is_not_has_no_rows(stage: Stage) -> None:
    for path in ("attempts/2/log/rows", "attempts/9/log/rows", "attempts/2/log/search?text=x"):
        assert stage.get(f"{JOB}/{path}", stage.token()).status_code == 404


def test_a_search_tells_numbers_and_where_to_go_on(stage: Stage) -> None:
    headers = stage.token()
    first = stage.get(f"{SEARCH}?text=LINE 99&limit=2", headers).json()
    assert [(row["text"], row["number"]) for row in first["rows"]] == [("line 99", 100), ("line 990", 991)]
    rest = stage.get(f"{SEARCH}?text=LINE 99&at={first['next']}", headers).json()
    assert [row["number"] for row in rest["rows"]] == list(range(992, 1001))
    assert rest["next"] is None
    assert stage.get(f"{SEARCH}?text=", headers).status_code == 400


def test_the_first_error_is_found(stage: Stage) -> None:
    stage.desk.log("1/test", 1, b"0 errors\nmain.c:3: error: no\nValueError: late\n")
    found = stage.get(f"{SEARCH}?kind=error&limit=1", stage.token()).json()
    assert [row["text"] for row in found["rows"]] == ["main.c:3: error: no"]


def test_rows_are_followed_from_attempt_to_attempt_and_again_from_the_last_event(stage: Stage) -> None:
    stage.desk.store.commit(
        new(
            make_build(3, state=Status.PASSED),
            make_job(3, state=Status.PASSED, attempt=2),
            make_attempt(3, number=1, state=AttemptState.LOST),
            make_attempt(3, number=2, state=AttemptState.PASSED, finished_at=stage.now - 1_000_000),
        )
    )
    stage.desk.log("3/test", 1, b"a\nhalf")
    stage.desk.log("3/test", 2, b"b\n")
    path = "/api/v1/builds/3/jobs/test/log/rows/follow?attempt=1"
    events = events_of(stage.get(path, stage.token()).text)
    bodies = [body for kind, _, body in events if kind == "rows"]
    told = [(body["attempt"], row["at"], row["text"]) for body in bodies for row in body["rows"]]
    assert told == [(1, 0, "a"), (1, 2, "half"), (2, 0, "b")]
    assert [(kind, place) for kind, place, _ in events] == [("rows", "1.2"), ("rows", "2.2"), ("end", "2.2")]
    again = events_of(stage.get(path, {**stage.token(), "last-event-id": "1.2"}).text)
    assert [row["text"] for kind, _, body in again if kind == "rows" for row in body["rows"]] == ["half", "b"]
    only = events_of(stage.get(f"{path}&only=true", stage.token()).text)
    assert {body["attempt"] for kind, _, body in only if kind == "rows"} == {1}
