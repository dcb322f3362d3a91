"""Services as people meet them: a job whose database is there, one whose is not, and what each of them is shown."""

import time
from typing import Any

import pytest

from tests.engines.docker import Docker
from tests.engines.images import PROBE
from tests.engines.servers import DATABASE
from tests.system.processes import PATIENCE_S, Place
from tests.system.repository import make_repository

pytestmark = pytest.mark.timeout(180)

JOBS = f"""\
jobs:
  good:
    image: "{PROBE}"
    services:
      db: {{image: "{DATABASE}", env: {{DB_PASSWORD: "${{{{ matrix.word }}}}"}}, health: {{interval: 100ms}}}}
    matrix: {{word: [hush]}}
    steps: [{{name: Ask, run: "wget -qO- http://db:5432/page"}}]
  bad:
    image: "{PROBE}"
    services: {{db: "{DATABASE}"}}
    steps: [{{name: Ask, run: "wget -qO- http://db:5432/page"}}]
"""


def first_end(place: Place, name: str) -> dict[str, Any]:
    """How the first attempt of a job ended: what is errored is tried again later."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        attempts = next(job["attempts"] for job in place.ask("show", "1")["jobs"] if job["name"] == name)
        if attempts and attempts[0]["finished_at"] is not None:
            return dict(attempts[0])
        time.sleep(0.2)
    raise AssertionError(f"{name} does not end: {place.ask('show', '1')}")


def test_people_see_what_became_of_services_in_show_and_logs(place: Place, serving: Docker) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=JOBS)
    with place.up("--engine", serving.address, "--slots", "2", str(repo)) as up:
        up.wait_for("build 1: repo main ")
        good = first_end(place, "good[word=hush]")
        assert good["state"] == "passed", good["reason"]
        steps = [(step["name"], step["state"]) for step in good["steps"]]
        assert steps == [("Ask", "passed"), ("service db", "passed")]
        log = place.typed("logs", "1", "good[word=hush]", "-f", "--data", str(place.data))
        assert log.stdout == "the page of its own words\nbeginning as root with hush\nserving as db\n"
        assert "step 2 of 2: service db, passed" in log.stderr
        bad = first_end(place, "bad")
        assert (bad["state"], bad["reason"]) == (
            "errored",
            "service 'db' ended with exit code 3 before it was ready; its log ends with: error: no DB_PASSWORD is set",
        )
        assert bad["steps"][0]["state"] == "skipped"
    assert serving.names() == []
    assert place.processes() == []
