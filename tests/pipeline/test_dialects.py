"""The two other formats mean what they say."""

# ruff: noqa: E501  # A table of mistakes is read one case a line.

from __future__ import annotations

import pytest

from surveil.core.declared import REPORTS_USUAL
from surveil.pipeline import Invalid, Pipeline, load
from surveil.protocol import JobSpec, StepSpec

RUNNERCI = """\
version: "1"
jobs:
  lint:
    steps:
      - name: Lint
        run: make lint
  test:
    steps:
      - run: make build
      - name: Tests
        run: make test
"""
NARWHAL = """\
name: Example
env:
  A: "1"
steps:
  - name: Install
    command: make install
  - name: Unit tests
    dependencies: [Install]
    command: make test
"""


def jobs_of(text: str, filename: str) -> tuple[JobSpec, ...]:
    loaded = load(text, filename)
    assert isinstance(loaded, Pipeline), loaded.render()
    return loaded.jobs


def said(text: str, filename: str) -> list[str]:
    loaded = load(text, filename)
    assert isinstance(loaded, Invalid)
    return [f"{c.place.line}:{c.place.column} {c.message}" for c in loaded.complaints]


def spec(name: str, *steps: tuple[str, str], env: dict[str, str], needs: tuple[str, ...] = ()) -> JobSpec:
    return JobSpec(
        name=name,
        needs=needs,
        env=env,
        timeout_ms=3_600_000,
        steps=tuple(StepSpec(name=title, run=run, env={}) for title, run in steps),
        matrix={},
        reports=REPORTS_USUAL,
    )


def test_a_runnerci_file_is_jobs_with_steps() -> None:
    assert jobs_of(RUNNERCI, "x/.runnerci.yml") == (
        spec("lint", ("Lint", "make lint"), env={}),
        spec("test", ("make build", "make build"), ("Tests", "make test"), env={}),
    )


def test_the_steps_of_a_narwhal_file_are_a_graph_of_jobs() -> None:
    assert jobs_of(NARWHAL, "narwhal.yml") == (
        spec("Install", ("Install", "make install"), env={"A": "1"}),
        spec("Unit tests", ("Unit tests", "make test"), env={"A": "1"}, needs=("Install",)),
    )


@pytest.mark.parametrize(
    ("text", "filename", "named"),
    [
        (RUNNERCI.replace("  lint:\n", "  lint:\n    image: python:3\n"), ".runnerci.yml", {"lint": "python:3"}),
        (NARWHAL.replace("env:\n", "image: x\nenv:\n"), "narwhal.yml", {"Install": "x", "Unit tests": "x"}),
    ],
)
def test_an_image_is_that_of_the_jobs_it_is_written_for(text: str, filename: str, named: dict[str, str]) -> None:
    jobs = jobs_of(text, filename)
    assert {job.name: job.image.name for job in jobs if job.image is not None} == named
    assert all(job.image.root for job in jobs if job.image is not None), "whoever wrote them knew nothing else"
    assert {job.name for job in jobs if "containers" in job.labels} == set(named)


@pytest.mark.parametrize(
    ("text", "filename", "sentence"),
    [
        (RUNNERCI.replace("  lint:\n", "  lint:\n    image: Python\n"), ".runnerci.yml", "4:12 `Python` is not the name of an image"),
        (RUNNERCI.replace("run: make lint", "rnu: x\n        run: x"), ".runnerci.yml", "6:9 unknown key `rnu` in `jobs.lint.steps[0]`"),
        (NARWHAL.replace("[Install]", "[Instal]"), "narwhal.yml", "8:20 job `Unit tests` needs `Instal`, which does not exist"),
        (NARWHAL.replace("Unit tests", "Install"), "narwhal.yml", "7:11 the step `Install` exists twice, first in line 5"),
        (NARWHAL.replace("Unit tests", "a/b"), "narwhal.yml", "7:11 `a/b` cannot be a job's name: use printable text without `/`, `,`, `[` and `]` that starts with neither `-` nor `.`"),
        (NARWHAL.replace("command: make test", "run: x"), "narwhal.yml", "7:5 `steps[1].command` is missing"),
        ("name: x\nsteps: []", "narwhal.yml", "1:1 the pipeline has no jobs"),
    ],
)  # fmt: skip
def test_their_mistakes_are_explained_at_their_place(text: str, filename: str, sentence: str) -> None:
    assert said(text, filename)[0] == sentence
