"""Which jobs of a build a page shows, and that a page stays light however many there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from surveil.core.model import AttemptState, Status
from surveil.frozen import replace
from surveil.screen.words import person
from surveil.web.pages import choosing, pictures
from tests.store.records import make_artifact, new
from tests.web import world
from tests.web.stage import Stage
from tests.web.test_pages import cookie

JOBS = 1000
WEIGHT_MAX = 100_000
"""Bytes on the wire of a page with all that it loads, the first time."""


def job(name: str, state: str = "passed") -> dict[str, Any]:
    return {"name": name, "state": state, "needs": []}


def names(choice: choosing.Choice) -> list[str]:
    return [each["name"] for each in choice.jobs]


def test_what_went_wrong_is_shown_first_and_the_rest_page_by_page() -> None:
    jobs = [job(f"job-{number}", "failed" if number in {300, 700} else "passed") for number in range(JOBS)]
    jobs[500]["state"] = "running"
    first = choosing.first(pictures.groups(jobs), len(jobs))
    shown = [f"job-{number}" for number in range(choosing.JOBS_SHOWN - 3)]
    assert names(first) == [*shown, "job-300", "job-500", "job-700"]
    assert (first.count, first.following) == (JOBS, None)
    assert choosing.counts(jobs) == [("failed", 2), ("running", 1), ("passed", 997)]
    at: int | None = 0
    found: list[str] = []
    while at is not None:
        page = choosing.page(jobs, at)
        assert len(page.jobs) <= choosing.JOBS_SHOWN
        found += names(page)
        at = page.following
    assert found == [each["name"] for each in jobs]


def test_of_many_cells_few_are_shown_and_all_of_few() -> None:
    cells = [job(f"unit[n={number}]") for number in range(30)]
    cells[20]["state"] = "failed"
    first = choosing.first(pictures.groups([*cells, job("lint")]), 31)
    assert [part.group.name for part in first.parts] == ["unit", "lint"]
    assert names(first)[0] == "unit[n=20]"
    assert len(first.parts[0].jobs) == choosing.CELLS_SHOWN
    few = choosing.first(pictures.groups(cells[: choosing.CELLS_SHOWN]), choosing.CELLS_SHOWN)
    assert names(few) == [each["name"] for each in cells[: choosing.CELLS_SHOWN]]


@pytest.fixture
def large(tmp_path: Path) -> Stage:
    """A build of 1000 jobs that differ, each tried five times, of which every third failed."""
    stage = Stage(tmp_path)
    made = world.build(1, Status.FAILED, 30)
    jobs, tries = [], []
    for number in range(JOBS):
        state = Status.FAILED if number % 3 == 0 else Status.PASSED
        name = f"integration-tests-of-component-{number}"
        each = replace(world.job(made, name, number, state, "build-everything"), attempt=5)
        jobs.append(each)
        tries += [
            world.attempt(each, at, f"runner-{number % 50}", AttemptState.LOST, begin=made.created_at + at, end=None)
            for at in range(1, 5)
        ]
        tries.append(
            world.attempt(each, 5, "green", AttemptState(state.value), begin=made.created_at + 9, end=made.finished_at)
        )
    stage.desk.store.commit(new(made, *jobs, *tries))
    for number in range(70):
        stage.desk.keep(make_artifact(job=f"1/{jobs[number].spec.name}", attempt=5, name=f"wheel-{number}"))
    stage.now = stage.desk.now
    return stage


def weight(stage: Stage, text: str) -> int:
    """What a browser without anything of ours is sent."""
    files = {*re.findall(r'(?:src|href)="(/static/[^"]+)"', text)}
    assert len(files) >= 5
    lengths = [stage.get(name, {"accept-encoding": "gzip"}).headers["content-length"] for name in files]
    return len(text.encode()) + sum(map(int, lengths))


def test_the_page_of_a_large_build_is_light_and_leads_to_all_of_it(large: Stage) -> None:
    session = cookie(large.session())
    texts = {path: large.get(f"/builds/1{path}", session).text for path in ("", "?at=0", "?state=failed&at=280")}
    for path, text in texts.items():
        assert weight(large, text) <= WEIGHT_MAX, path
        assert text.count("<tr id=") == choosing.JOBS_SHOWN, path
    assert re.findall(r'href="([?]state=[a-z]+)">(\d+)', texts[""]) == [
        ("?state=failed", "334"),
        ("?state=passed", "666"),
    ]
    assert "40 of 1000 jobs are shown here" in texts[""]
    assert 'href="?at=0">all 1000</a>' in texts[""]
    assert 'rel="next" href="?at=40"' in texts["?at=0"]
    assert 'rel="next" href="?at=320&amp;state=failed"' in texts["?state=failed&at=280"]
    last = large.get("/builds/1?state=failed&at=320", session).text
    assert (last.count("<tr id="), 'rel="next"' in last) == (14, False)
    assert '<ol class="attempts" start="2">' in last
    assert '<small>3 earlier</small><ol class="attempts" start="4">' in texts[""]


def test_artifacts_are_shown_by_build_and_of_many_a_part(large: Stage) -> None:
    session = cookie(large.session())
    build = large.get("/builds/1", session).text
    assert '<a href="/builds/1/artifacts">All 70 artifacts</a>' in build
    assert build.count(" download=") == 10
    all_builds = large.get("/artifacts?repo=site", session).text
    assert (all_builds.count(" download="), 'href="?repo=site&amp;before=1">Older' in all_builds) == (50, True)
    assert "No older artifacts" in large.get("/artifacts?before=1", session).text
    assert large.get("/artifacts?repo=other", session).text.count(" download=") == 0
    first, second = (large.get(f"/builds/1/artifacts?at={at}", session).text for at in (0, 50))
    assert (first.count(" download="), 'rel="next" href="?at=50"' in first) == (50, True)
    assert (second.count(" download="), 'rel="next"' in second) == (20, False)
    assert {weight(large, text) <= WEIGHT_MAX for text in (all_builds, first)} == {True}
    found = large.get("/api/v1/artifacts?limit=2", large.token()).json()
    assert ([each["job"] for each in found["artifacts"]], found["next"]) == (
        ["1/integration-tests-of-component-0", "1/integration-tests-of-component-1"], 1,
    )  # fmt: skip


def test_a_list_names_authors_and_what_comes_before_a_job_is_named_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    world.sample(stage.desk)
    stage.now = stage.desk.now
    session = cookie(stage.session())
    listed = stage.get("/builds", session).text
    assert '<small class="who" title="Ada Example &lt;ada@example.org&gt;"><bdi>Ada Example</bdi></small>' in listed
    build = stage.get("/builds/14", session).text
    assert "<small>after <bdi>unit</bdi></small>" in build
    assert 'href="/builds" data-key="b" aria-current="page"' in build
    assert build.count('aria-current="page"') == 1


@pytest.mark.parametrize(
    ("author", "name"), [("Ada <a@b.c>", "Ada"), ("<a@b.c>", "<a@b.c>"), ("", ""), (" <x>", " <x>"), ("bot", "bot")]
)
def test_an_author_is_named_without_an_address(author: str, name: str) -> None:
    assert person(author) == name
