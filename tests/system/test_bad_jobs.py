"""Jobs that cannot do what they ask for, with real processes and a real engine: each is told one sentence.

What is wrong in the pipeline file itself is told before any build; `tests.pipeline` and `test_bad_input` ask for that.
"""

import time
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.engines.images import PROBE
from tests.system.processes import PATIENCE_S, Place
from tests.system.repository import make_repository, pipeline

pytestmark = pytest.mark.timeout(180)

BOMB = r"""
          printf '<!DOCTYPE x [<!ENTITY a0 "ha">' > report.xml
          for each in 01 12 23 34 45 56 67 78 89; do
            printf '<!ENTITY a%s "' ${each#?}
            for i in 1 2 3 4 5 6 7 8 9 10; do printf '&a%s;' ${each%?}; done
            printf '">'
          done >> report.xml
          printf ']><testsuite><testcase name="&a9;"/></testsuite>' >> report.xml
"""
JOBS = f"""\
jobs:
  missing: {{image: {{name: "nowhere:1", pull: never}}, steps: [{{run: "true"}}]}}
  down: {{image: "127.0.0.1:1/down:1", steps: [{{run: "true"}}]}}
  memory:
    image: {{name: "{PROBE}", memory: 32MiB}}
    steps: [{{name: Eat, run: "x=xxxxxxxx; while :; do x=$x$x; done"}}]
  secret: {{secrets: [NOT_KEPT], steps: [{{run: "true"}}]}}
  large: {{artifacts: [{{name: all, paths: [big], required: true}}], steps: [{{run: "truncate -s 5G big"}}]}}
  broken: {{steps: [{{run: "echo '<testsuite><testcase name=\\"half\\"/>' > report.xml"}}]}}
  bomb:
    steps:
      - run: |{BOMB}
"""
SAID = {
    "missing": "image nowhere:1 is not on this machine, and `pull: never` forbids to fetch it; "
    "type `docker pull nowhere:1` there",
    "down": 'image 127.0.0.1:1/down:1 cannot be fetched: Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: '
    "connect: connection refused; does its registry run, and can the runner's machine reach it?",
    "memory": "step 'Eat' was killed because it went over its memory limit of 32 MiB",
    "secret": ".surveil.yml:7:22: there is no secret NOT_KEPT: "
    "type `surveil secret set NOT_KEPT` where the dispatcher is known",
    "large": "it requires the artifact `all`: it is not kept: there is more than 4096 MiB",
    "broken": "",
    "bomb": "",
}


def first_ends(place: Place) -> dict[str, dict[str, Any]]:
    """How the first attempts of all jobs ended, or the jobs that have none: what is errored is tried again later."""
    until = time.monotonic() + PATIENCE_S
    while True:
        found = {}
        for job in place.ask("show", "1")["jobs"]:
            first = job["attempts"][0] if job["attempts"] else job
            if first["finished_at"] is not None or first["state"] == "errored":
                found[job["name"]] = first
        if len(found) == len(SAID) or time.monotonic() >= until:
            return found
        time.sleep(0.3)


def test_each_job_that_cannot_do_what_it_asks_for_says_so_in_a_sentence(place: Place, docker_engine: Docker) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=JOBS)
    with place.up("--engine", docker_engine.address, "--slots", "3", str(repo)) as up:
        up.wait_for("build 1: repo main ")
        ended = first_ends(place)
        tests = {job["job"]: job["problems"] for job in place.ask("tests", "1")["jobs"]}
    assert {name: one["reason"] or "" for name, one in ended.items()} == SAID
    states = {name: one["state"] for name, one in ended.items()}
    assert states == {
        "missing": "errored", "down": "errored", "memory": "failed", "secret": "errored", "large": "failed",
        "broken": "passed", "bomb": "passed",
    }  # fmt: skip
    assert tests["1/broken"] == [
        "report.xml:2: it ends in the middle, as if whoever wrote it was ended; what stands before was read"
    ]
    assert tests["1/bomb"] == [
        "report.xml:1: it declares the entity `a0`, which no report needs; it was not read further"
    ]
    assert place.processes() == []


def test_a_job_with_an_image_waits_and_says_why_where_no_runner_offers_containers(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true", more="    image: busybox\n"))
    with place.up("--engine", "off", str(repo)) as up:
        said = up.wait_for("no online runner offers containers: 1 runner checked")
        (job,) = place.ask("show", "1")["jobs"]
    assert job["state"] == "queued"
    assert job["waiting"].startswith("no online runner offers containers: 1 runner checked")
    assert "test" in said
