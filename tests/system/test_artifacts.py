"""What jobs keep, with real processes: brought to the dispatcher, listed, and fetched as it was."""

import hashlib
from pathlib import Path

import pytest

from surveil.errors import ExitCode
from tests.system.processes import Place, eventually, kill
from tests.system.repository import make_repository

pytestmark = pytest.mark.timeout(300)

PIPELINE = """\
version: 1
jobs:
  build:
    artifacts:
      - {name: wheels, paths: [dist/*.whl], required: true}
      - {name: docs, paths: [html]}
      - {name: nothing, paths: [nowhere/**]}
    steps:
      - run: mkdir -p dist html/css; head -c 3000000 /dev/urandom > dist/a.whl; echo page > html/index.html
      - run: echo style > html/css/x.css; ln -s /etc/passwd html/link; sha256sum dist/a.whl
"""
FORGETFUL = """\
version: 1
jobs:
  build:
    artifacts: [{name: wheels, paths: [dist/*.whl], required: true}]
    steps: [{run: 'true'}]
"""


def test_what_a_job_keeps_is_listed_and_fetched_as_it_was(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=PIPELINE)
    with place.up(str(repo)) as up:
        up.wait_for("passed    build 1: repo main ")
        found = place.ask("artifacts", "ls", "1")
        assert [(each["job"], each["attempt"], each["name"], each["files"]) for each in found] == [
            ("1/build", 1, "docs", 2),
            ("1/build", 1, "wheels", 1),
        ]
        listed = place.typed("artifacts", "ls", "1", "--data", str(place.data)).stdout.splitlines()
        assert [line.split()[:4] for line in listed[1:]] == [["build", "1", "docs", "2"], ["build", "1", "wheels", "1"]]
        to = place.folder / "to"
        (fetched, _) = place.ask("artifacts", "get", "1", "--to", str(to))
        assert Path(fetched["folder"]) == to / "build" / "docs"
        wheel = (to / "build/wheels/dist/a.whl").read_bytes()
        log = place.typed("logs", "1", "-f", "--data", str(place.data)).stdout
        assert log.split()[0] == hashlib.sha256(wheel).hexdigest()
        assert sorted(str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()) == [
            "build/docs/html/css/x.css", "build/docs/html/index.html", "build/wheels/dist/a.whl",
        ]  # fmt: skip
        (job,) = place.ask("show", "1")["jobs"]
        remarks = [remark["text"] for remark in job["attempts"][0]["steps"][-1]["remarks"]]
        assert remarks == [
            "artifact `docs`: left out: 1 that are no files, lie too deep, or are links that lead out of the work tree",
            "artifact `nothing`: no file matches `nowhere/**`",
        ]
        again = place.typed("artifacts", "get", "1", "--to", str(to), "--data", str(place.data))
        assert (again.returncode, "exists already: name another folder with --to" in again.stderr) == (2, True)


def test_a_job_without_what_it_requires_has_not_passed(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=FORGETFUL)
    done = place.run("up", "--once", "--data", str(place.data), str(repo))
    assert done.returncode == ExitCode.BUILD_FAILED, done.stderr
    assert "it requires the artifact `wheels`: no file matches `dist/*.whl`" in done.stderr + done.stdout


def test_a_dispatcher_that_is_killed_while_files_come_loses_none_of_them(place: Place) -> None:
    text = PIPELINE.replace("head -c 3000000", "head -c 60000000")
    repo = make_repository(place.folder / "repo", __surveil__yml=text)
    with place.up(str(repo)) as up:
        blobs = place.data / "blobs"
        assert eventually(lambda: any(blobs.glob("incoming/*.part")) or any(blobs.glob("??/*")))
        kill([place.dispatcher_pid()])
        up.wait_for("passed    build 1: repo main ")
        to = place.folder / "to"
        place.ask("artifacts", "get", "1", "--name", "wheels", "--to", str(to))
        log = place.typed("logs", "1", "-f", "--data", str(place.data)).stdout
        assert log.split()[0] == hashlib.sha256((to / "build/wheels/dist/a.whl").read_bytes()).hexdigest()
