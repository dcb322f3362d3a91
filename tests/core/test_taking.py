"""Artifacts that jobs take: what the pipeline file may ask for, and whose they are when a job is handed out."""

from __future__ import annotations

import pytest

from surveil.core.builds import taken as taken_now
from surveil.core.events import Carried
from surveil.core.model import Status
from surveil.core.taking import whence
from surveil.frozen import replace
from surveil.protocol import JobSpec, TakenArtifact
from tests.core.test_outputs import begin, finish, orders, spec
from tests.pipeline.test_load import bad, good, said

BUILD = "  build: {artifacts: [{name: wheels, paths: [a]}, {name: docs, paths: [b]}], steps: [{run: make}]}\n"
MATRIX = "  build: {matrix: {v: [a, b]}, artifacts: [dist], steps: [{run: make}]}\n"
WHEELS = TakenArtifact(job="build", name="wheels")
USER = replace(spec("use", needs=("build",), run="deploy"), artifacts_from=(WHEELS,))


def takes(build: str, line: str, needs: str = "[build]") -> list[tuple[str, str]]:
    jobs = good(f"jobs:\n{build}  use: {{needs: {needs}, artifacts_from: {line}, steps: [{{run: x}}]}}\n")
    return [(take.job, take.name) for take in jobs[-1].artifacts_from]


def complaint(line: str, needs: str = "[build]") -> str:
    (sentence,) = said(
        f"jobs:\n{BUILD}  other: {{artifacts: [c], steps: [{{run: x}}]}}\n  bare: {{steps: [{{run: x}}]}}\n"
        f"  use:\n    needs: {needs}\n    artifacts_from: {line}\n    steps: [{{run: x}}]\n"
    )
    return sentence


# ---- what the file may say ----


def test_a_job_is_all_that_it_keeps_and_a_name_behind_it_one_artifact() -> None:
    assert takes(BUILD, "[build]") == [("build", "wheels"), ("build", "docs")]
    assert takes(BUILD, "build/docs") == [("build", "docs")]
    assert takes(BUILD, "[build/docs, build]") == [("build", "docs"), ("build", "wheels")]


def test_a_matrix_is_all_of_its_cells_that_are_needed() -> None:
    both = [("build[v=a]", "files"), ("build[v=b]", "files")]
    assert takes(MATRIX, "[build]") == takes(MATRIX, "build/files") == both
    assert takes(MATRIX, '["build[v=b]"]') == takes(MATRIX, '["build[v=b]/files"]') == both[1:]
    assert takes(MATRIX, "[build]", needs='["build[v=b]"]') == both[1:]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("[biuld]", "7:22 job `use` takes artifacts from `biuld`, which does not exist"),
        ("[other]", "7:22 job `use` takes artifacts from `other`, which it does not need"),
        ("[use]", "7:22 job `use` takes artifacts from `use`, which it does not need"),
        ("[bare]", "7:22 job `use` takes artifacts from `bare`, which it does not need"),
        ('["build[v=a]"]', "7:22 job `use` takes artifacts from `build[v=a]`, which it does not need"),
        ("[build/]", "7:22 job `use` takes artifacts from `build/`, which does not exist"),
        ("[build/wheel]", "7:22 job `use` takes the artifact `wheel` from `build`, which keeps none of this name"),
    ],
)
def test_what_cannot_be_taken_is_one_sentence_with_its_place(line: str, sentence: str) -> None:
    assert complaint(line) == sentence


def test_a_job_that_keeps_nothing_gives_nothing() -> None:
    assert complaint("[bare]", "[bare]") == "7:22 job `use` takes artifacts from `bare`, which keeps none"
    wrong = bad(f"jobs:\n{BUILD}  use: {{needs: [build], artifacts_from: [build/wheel], steps: [{{run: x}}]}}\n")
    assert [each.hint for each in wrong.complaints] == ["did you mean `wheels`?"]


def test_a_circle_is_one_of_needs() -> None:
    text = "jobs:\n  a: {needs: [b], artifacts: [x], artifacts_from: [b], steps: [{run: x}]}\n"
    text += "  b: {needs: [a], artifacts: [x], artifacts_from: [a], steps: [{run: x}]}\n"
    assert said(text) == ["3:15 jobs wait for each other in a circle: `a` needs `b` needs `a`"]


def test_one_job_takes_at_most_so_many() -> None:
    names = ", ".join(f"{{name: n{number}, paths: [x]}}" for number in range(33))
    cells = ", ".join(str(number) for number in range(8))
    build = f"  build: {{matrix: {{v: [{cells}]}}, artifacts: [{names}], steps: [{{run: make}}]}}\n"
    text = f"jobs:\n{build}  use: {{needs: [build], artifacts_from: [build], steps: [{{run: x}}]}}\n"
    assert said(text) == ["3:42 job `use` takes 264 artifacts; at most 256 are allowed"]


# ---- whose they are ----


def taken(job: JobSpec) -> tuple[TakenArtifact, ...]:
    return job.artifacts_from


def test_they_are_those_of_the_attempt_whose_verdict_counts_and_so_they_stay() -> None:
    user = replace(USER, retry=1)
    state = begin(spec("build", retry=1), user)
    assert "1/use" not in orders(state)
    finish(state, "1/build", outcome="failed")
    assert list(orders(state)) == ["1/build"]
    finish(state, "1/build")
    told = taken(orders(state)["1/use"])
    assert told == (replace(WHEELS, attempt=2),)
    assert list(whence(told, 1)) == ["1/build attempt 2"]
    finish(state, "1/use", outcome="failed")
    assert taken(orders(state)["1/use"]) == told
    # What is stored is what the author wrote.
    assert state.jobs["1/use"].spec == user


@pytest.mark.parametrize(("tolerant", "when"), [(False, "always"), (True, "passed")])
def test_what_a_job_kept_that_has_not_passed_need_not_be_there(*, tolerant: bool, when: str) -> None:
    state = begin(spec("build", continue_on_error=tolerant), replace(USER, when=when))
    orders(state)
    finish(state, "1/build", outcome="failed")
    assert taken(orders(state)["1/use"]) == (replace(WHEELS, attempt=1, optional=True),)


def test_nothing_is_taken_where_no_verdict_counts() -> None:
    state = begin(spec("build", on_runner_loss="fail"), replace(USER, when="always"))
    orders(state)
    finish(state, "1/build", outcome="lost")
    assert (state.jobs["1/build"].state, state.jobs["1/use"].state) == (Status.ERRORED, Status.QUEUED)
    assert taken_now(state, state.jobs["1/use"]) == ()


def test_what_a_carried_job_kept_is_taken_from_where_it_ran() -> None:
    again = Carried(reason="it passed", attempt=3)
    state = begin(spec("build"), USER, carried={"build": again}, retry_of=7)
    found = taken(orders(state)["1/use"])
    assert found == (replace(WHEELS, build=7, attempt=3),)
    assert list(whence(found, 1)) == ["7/build attempt 3"]
    # A retry of the retry: what was carried over before comes from where it came from then.
    stored = state.jobs["1/use"].spec
    later = begin(spec("build"), stored, carried={"build": Carried(reason="again")}, retry_of=1)
    assert taken(orders(later)["1/use"]) == found
    # And what runs anew is taken from there.
    anew = begin(spec("build"), stored, retry_of=1)
    orders(anew)
    finish(anew, "1/build")
    assert taken(orders(anew)["1/use"]) == (replace(WHEELS, attempt=1),)


def test_what_a_carried_job_kept_that_had_failed_need_not_be_there() -> None:
    again = Carried(reason="it failed, and may", attempt=1, passed=False)
    state = begin(spec("build"), USER, carried={"build": again}, retry_of=7)
    assert taken(orders(state)["1/use"]) == (replace(WHEELS, build=7, attempt=1, optional=True),)
