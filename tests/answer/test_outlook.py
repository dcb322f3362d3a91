"""What is answered about how things have been going."""

from __future__ import annotations

from typing import Any

import pytest

from surveil.answer import outlook
from surveil.answer.outlook import median_ms
from surveil.core.model import Status
from surveil.frozen import replace
from surveil.protocol import Case, Tally
from surveil.store import Outline
from tests.answer.desk import Desk
from tests.store.records import make_build, make_job, make_note, make_runner, new


def desk_of(*builds: tuple[str, Status], **fields: Any) -> Desk:
    """Builds of branches, the oldest first; each took as many seconds as its number."""
    desk = Desk()
    for number, (branch, state) in enumerate(builds, 1):
        took = {"started_at": 0, "finished_at": number * 1000}
        made = make_build(number, jobs=(), ref=f"refs/heads/{branch}", state=state, **took, **fields)
        desk.store.commit(new(made))
    return desk


def test_a_repository_says_how_each_branch_stands_and_since_when_it_is_broken() -> None:
    passed, failed = Status.PASSED, Status.FAILED
    desk = desk_of(
        ("main", passed), ("main", failed), ("old", passed), ("main", Status.CANCELLED), ("main", Status.ERRORED),
        ("main", Status.RUNNING),
    )  # fmt: skip
    (found,) = desk.ask("repositories")
    assert found["repo"] == "/srv/repo"
    assert [each["id"] for each in found["lately"]] == [6, 5, 4, 3, 2, 1]
    main, old = found["refs"]
    assert (main["ref"], main["build"], main["state"]) == ("refs/heads/main", 6, "running")
    assert main["broken_since"]["build"] == 2
    assert (old["build"], old["broken_since"]) == (3, None)
    assert main["verdict"] == {"build": 5, "state": "errored", "at": "1970-01-01T00:00:05.000Z"}
    assert found["median_ms"] is None
    assert desk.ask("repositories", repo="/srv/repo") == [found]
    assert desk.ask("repositories", repo="/srv/none")[0]["refs"] == []


def test_a_branch_that_passed_since_is_not_broken() -> None:
    (found,) = desk_of(("main", Status.FAILED), ("main", Status.PASSED)).ask("repositories")
    assert found["refs"][0]["broken_since"] is None


def test_how_long_a_build_usually_takes_is_told_by_those_that_passed() -> None:
    one = Outline(id=1, ref="r", state=Status.PASSED, created_at=0, started_at=5, finished_at=15)
    assert median_ms([]) is None
    assert median_ms([replace(one, state=Status.FAILED), replace(one, started_at=None)]) is None
    three = [one, replace(one, finished_at=105), replace(one, finished_at=25)]
    assert median_ms(three) == 20
    assert median_ms([*three[1:], replace(one, state=Status.FAILED)]) is None, "of two nobody knows what is usual"


def test_a_name_means_so_many_authors_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    for number in range(1, 5):
        desk.store.commit(new(make_build(number, jobs=(), author=f"Ada <ada@{number}.example.org>")))
    assert [each["id"] for each in desk.ask("builds", author="ada")] == [4, 3, 2, 1]
    monkeypatch.setattr(outlook, "AUTHORS_MEANT_MAX", 2)
    assert len(desk.ask("builds", author="ada")) == 2


def test_the_history_of_a_test_names_builds_jobs_and_attempts() -> None:
    desk = Desk()
    tally = Tally(passed=0, failed=1, errored=0, skipped=0, duration_ms=5)
    for number in (1, 2):
        desk.store.commit(new(make_build(number), make_job(number)))
        case = Case(suite="s", name="n", state="failed", duration_ms=number, message="m" * 5000)
        desk.store.add_cases((f"{number}/test", 1), 0, [case], tally)
    found = desk.ask("history", build=2, suite="s", name="n")
    assert [(one["build"], one["job"], one["state"], one["duration_ms"]) for one in found["results"]] == [
        (2, "2/test", "failed", 2), (1, "1/test", "failed", 1),
    ]  # fmt: skip
    assert len(found["results"][0]["message"]) == 1000


def test_incidents_have_the_names_of_their_runners() -> None:
    desk = Desk()
    runner = make_runner("spare")
    desk.store.commit(new(runner, notes=(make_note("runner", runner.id, build=None, state="lost"),)))
    (found,) = desk.ask("incidents")
    assert (found["name"], found["state"], found["position"]) == ("spare", "lost", 1)
