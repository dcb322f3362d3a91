"""The expanded graph as people and scripts read it."""

from __future__ import annotations

import json

from surveil.core.declared import REPORTS_USUAL
from surveil.pipeline import Pipeline, load
from surveil.pipeline.explain import as_json, explain

TEXT = """\
jobs:
  report: {needs: [test], when: always, steps: [{run: make report}]}
  test:
    needs: [build]
    labels: [linux]
    matrix: {python: ["3.11", "3.12"]}
    retry: 1
    timeout: 10m
    steps: [{name: Tests, run: pytest, shell: bash, timeout: 90s, continue_on_error: true}]
  build: {steps: [{run: make}]}
"""


def loaded() -> Pipeline:
    pipeline = load(TEXT, ".surveil.yml")
    assert isinstance(pipeline, Pipeline)
    return pipeline


def test_the_text_shows_jobs_in_the_order_in_which_they_can_run() -> None:
    assert (
        explain(loaded())
        == """\
.surveil.yml: 4 jobs, 4 steps

1. first
   build
     attempts  at most 1h each; a lost runner: retry
      1. make  (sh -eu)

2. then
   test[python=3.11]
     needs     build (passed)
     on        runners with linux
     env       MATRIX_PYTHON
     attempts  at most 10m each, 1 more after a failure; a lost runner: retry
      1. Tests  (bash, at most 90s, may fail)
         | pytest
   test[python=3.12]
     needs     build (passed)
     on        runners with linux
     env       MATRIX_PYTHON
     attempts  at most 10m each, 1 more after a failure; a lost runner: retry
      1. Tests  (bash, at most 90s, may fail)
         | pytest

3. then
   report
     needs     test[python=3.11], test[python=3.12] (however they end)
     attempts  at most 1h each; a lost runner: retry
      1. make report  (sh -eu)"""
    )


def test_a_step_shows_all_its_commands_unless_its_name_is_its_only_one() -> None:
    pipeline = load("jobs: {a: {steps: [{run: make}, {run: 'make\\nmake test'}]}}".replace("'", '"'), ".surveil.yml")
    assert isinstance(pipeline, Pipeline)
    assert explain(pipeline).splitlines()[-4:] == [
        "      1. make  (sh -eu)",
        "      2. make  (sh -eu)",
        "         | make",
        "         | make test",
    ]


def test_an_image_is_shown_with_what_its_container_may_take() -> None:
    image = '{name: "python:3", pull: always, cpus: 1.5, memory: 2GiB, pids: 99, disk: 5GiB, user: root}'
    pipeline = load(f"jobs: {{a: {{image: {image}, steps: [{{run: make}}]}}}}", ".surveil.yml")
    assert isinstance(pipeline, Pipeline)
    assert (
        "     in        a container of python:3 (pull: always, as root, 1.5 processors, 2GiB of memory, 99 processes, "
        "5GiB of disk)" in explain(pipeline).splitlines()
    )
    (job,) = as_json(pipeline)["jobs"]
    assert job["image"] == {
        "name": "python:3", "pull": "always", "cpus": 1.5, "memory_bytes": 2 << 30, "pids": 99,
        "disk_bytes": 5 << 30, "user": "root",
    }  # fmt: skip
    assert job["labels"] == ["containers"]


def test_shards_and_reports_are_shown() -> None:
    text = """\
jobs:
  a: {shards: 2, matrix: {v: [x], include: [{more: given to it}]}, reports: [out/*.xml], steps: [{run: make}]}
  b: {shards: {target: 5m, most: 3}, reports: [], steps: [{run: make}]}
"""
    pipeline = load(text, ".surveil.yml")
    assert isinstance(pipeline, Pipeline)
    shown = [line.strip() for line in explain(pipeline).splitlines() if line.split()[:1] in (["shard"], ["reports"])]
    assert shown == [
        "shard     1 of 2, which share the tests of `a[v=x]`",
        "reports   out/*.xml",
        "shard     2 of 2, which share the tests of `a[v=x]`",
        "reports   out/*.xml",
        "shard     as many as bring the tests of `b` below 5m, at most 3; one until a build told how long they take",
        "reports   none are read",
    ]
    documents = as_json(pipeline)["jobs"]
    assert [job["shards"] for job in documents] == [
        {"count": 2, "target_ms": None, "most": None},
        {"count": 2, "target_ms": None, "most": None},
        {"count": None, "target_ms": 300_000, "most": 3},
    ]
    assert documents[2]["reports"] == []


def test_services_are_shown_with_what_they_are_and_when_they_are_ready() -> None:
    text = """
jobs:
  a:
    image: "python:3"
    secrets: [PASSWORD]
    services:
      db: {image: {name: "db:1", memory: 1GiB}, env: {USER: app}, secrets: [PASSWORD], health: is ready}
      web: {image: "web:1", command: serve 'all of it', health: {port: 80, interval: 2s, timeout: 30s}}
      redis: "redis:7"
    steps: [{run: make}]
"""
    pipeline = load(text, ".surveil.yml")
    assert isinstance(pipeline, Pipeline)
    assert [line.strip() for line in explain(pipeline).splitlines() if "beside it" in line] == [
        "beside it db: db:1 (1GiB of memory); ready within 2m, when `is ready` passes, env PASSWORD, USER",
        "beside it web: web:1; ready within 30s, when port 80 is open, runs `serve 'all of it'`",
        "beside it redis: redis:7; ready within 2m",
    ]
    db, web, _ = as_json(pipeline)["jobs"][0]["services"]
    assert (db["env"], db["secrets"], db["command"]) == ({"USER": "app"}, ["PASSWORD"], None)
    assert db["health"]["command"] == ["/bin/sh", "-c", "is ready"]
    assert web["command"] == ["serve", "all of it"]
    assert web["health"] == {"command": None, "port": 80, "interval_ms": 2000, "timeout_ms": 30_000}


def test_the_json_holds_every_field_of_every_job() -> None:
    document = json.loads(json.dumps(as_json(loaded())))
    assert document["file"] == ".surveil.yml"
    assert [job["name"] for job in document["jobs"]] == ["report", "test[python=3.11]", "test[python=3.12]", "build"]
    assert document["jobs"][1] == {
        "name": "test[python=3.11]",
        "needs": ["build"],
        "when": "passed",
        "labels": ["linux"],
        "image": None,
        "services": [],
        "matrix": {"python": "3.11"},
        "env": {"MATRIX_PYTHON": "3.11"},
        "secrets": [],
        "artifacts": [],
        "artifacts_from": [],
        "timeout_ms": 600_000,
        "retry": 1,
        "on_runner_loss": "retry",
        "continue_on_error": False,
        "fail_fast": False,
        "priority": 0,
        "concurrency": None,
        "shards": None,
        "reports": list(REPORTS_USUAL),
        "cache": [],
        "steps": [
            {
                "name": "Tests",
                "run": "pytest",
                "shell": "bash",
                "timeout_ms": 90_000,
                "continue_on_error": True,
                "when": "passed",
                "env": {},
            }
        ],
    }
    assert document["jobs"][3]["steps"][0]["shell"] is None
    assert document["jobs"][3]["steps"][0]["timeout_ms"] is None


def test_what_decides_over_a_job_is_shown() -> None:
    text = """\
jobs:
  a: {when: branch == 'main' && "x" != tag, priority: -2, continue_on_error: true, steps: [{run: make}]}
  b:
    needs: [a]
    when: failed
    fail_fast: true
    matrix: {v: ["1"]}
    concurrency: {group: "deploy ${{ branch }}", cancel_superseded: true}
    steps: [{run: make}]
  c: {needs: [a], when: needs.a.state == 'failed', concurrency: lock, steps: [{run: make, when: failed}]}
"""
    pipeline = load(text, ".surveil.yml")
    assert isinstance(pipeline, Pipeline)
    assert [line for line in explain(pipeline).splitlines() if line.startswith("   ") and "attempts" not in line] == [
        "   a",
        "     when      branch == 'main' && \"x\" != tag",
        "     besides   may fail, priority -2",
        "      1. make  (sh -eu)",
        "   b[v=1]",
        "     needs     a (one failed)",
        "     env       MATRIX_V",
        "     alone in  the group `deploy ${{ branch }}`, where a newer job cancels older ones",
        "     besides   a failure cancels the other cells",
        "      1. make  (sh -eu)",
        "   c",
        "     needs     a",
        "     when      needs.a.state == 'failed'",
        "     alone in  the group `lock`",
        "      1. make  (sh -eu, when failed)",
    ]
    assert as_json(pipeline)["jobs"][1]["concurrency"] == {"group": "deploy ${{ branch }}", "cancel_superseded": True}
