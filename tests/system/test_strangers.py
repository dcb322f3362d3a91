"""A pull request of a fork against an installation of real processes: it waits for a person, runs what the project
says and not what it says itself, and never sees a secret, whatever it changes.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from surveil.client.access import person_here
from tests.system.processes import Place, Running, eventually, kill
from tests.system.repository import commit, git, make_repository

pytestmark = pytest.mark.timeout(300)

SECRET = "tok_Zq7XvT3mLk9sWbe2uH5"
PIPELINE = """
version: 1
on: {push: {branches: [main]}, pull_request: }
jobs:
  test:
    secrets: [TOKEN]
    steps:
      - run: echo "token is ${TOKEN:+there}${TOKEN:-missing}"
      - run: sh build.sh
"""
THEFT = """
version: 1
jobs:
  test:
    secrets: [TOKEN]
    steps: [{run: 'echo STOLEN; printf %s "$TOKEN" | rev; sh build.sh'}]
  more: {when: always, needs: [test], steps: [{run: echo STOLEN too}]}
"""
SNOOP = r"""
env; set
cat /proc/*/environ 2>/dev/null | tr '\0' '\n' || true
printf '%s' "${TOKEN-}" | base64
printf '%s' "${TOKEN-}" | rev
printf '%s' "${TOKEN-}" | fold -w1 | tr '\n' ' '
echo "their script ran"
"""


def project(place: Place) -> tuple[Path, Path]:
    """A repository, and somebody else's clone of it."""
    ours = make_repository(place.folder / "project", __surveil__yml=PIPELINE, build__sh="echo ours\n")
    theirs = place.folder / "fork"
    git(place.folder, "clone", "-q", str(ours), str(theirs))
    return ours, theirs


def request(theirs: Path, message: str, **files: str) -> str:
    """Push a commit to pull request 5, as a forge would show it."""
    sha = commit(theirs, message, **files)
    git(theirs, "push", "-q", "--force", "origin", "HEAD:refs/pull/5/head")
    return sha


def keep_secret(place: Place) -> None:
    command = [sys.executable, "-m", "surveil", "secret", "set", "TOKEN", "--data", str(place.data)]
    done = subprocess.run(
        command, cwd=place.folder, env=place.environment(), input=SECRET.encode(), capture_output=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def watching(place: Place, ours: Path) -> Running:
    refs = ("--ref", "*", "--ref", "refs/pull/*/head")
    return place.up("--interval", "200ms", *refs, "--sandbox", "off", str(ours))


def state_of(place: Place, build: int) -> str:
    known = {each["id"]: each for each in place.ask("builds", "--limit", "20")}
    return str(known[build]["state"]) if build in known else "nowhere"


def log_of(place: Place, build: int) -> str:
    done = place.typed("logs", str(build), "-f", "--data", str(place.data))
    return done.stdout + done.stderr


def leaks(*folders: Path) -> list[str]:
    """The files that hold the secret: as it is, backwards, in hexadecimal digits, apart, and in base64."""
    plain = SECRET.encode()
    forms = [plain, plain[::-1], plain.hex().encode(), " ".join(SECRET).encode()]
    forms += [base64.b64encode(b"x" * at + plain)[4:-4] for at in range(3)]
    paths = (path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in paths if any(form in path.read_bytes() for form in forms)]


def test_a_fork_that_changes_the_pipeline_waits_for_approval_and_runs_ours_without_secrets(place: Place) -> None:
    ours, theirs = project(place)
    with watching(place, ours) as up:
        up.wait_for("build 1: project main ")
        keep_secret(place)
        # The secret came after the first commit, so it is built by the second.
        commit(ours, "Ours", note="1")
        up.wait_for("passed    build 2: project main ")
        assert "token is there" in log_of(place, 2)

        strange = request(theirs, "Theirs", __surveil__yml=THEFT, build__sh=SNOOP)
        assert eventually(lambda: state_of(place, 3) == "held")
        build = place.ask("show", "3")
        assert (build["sha"], build["ref"], build["event"]) == (strange, "refs/pull/5/head", "pull_request")
        assert (build["trusted"], build["base"], build["approved"]) == (False, "refs/heads/main", None)
        assert build["waiting"] == "waits for approval: `surveil approve 3` lets it run"
        assert [job["name"] for job in build["jobs"]] == ["test"], "its own file was read"
        assert [each["build"] for each in place.ask("status")["approvals"]] == [3]

        around = place.typed("unhold", "3", "--data", str(place.data))
        assert (around.returncode, "type `surveil approve 3`" in around.stderr) == (5, True)
        kill([place.dispatcher_pid()])
        assert eventually(lambda: _answers(place) and state_of(place, 3) == "held"), "a restart is no approval"

        assert place.typed("approve", "3", "--data", str(place.data)).returncode == 0
        assert eventually(lambda: state_of(place, 3) == "passed"), place.ask("show", "3")
        log = log_of(place, 3)
        assert "their script ran" in log
        assert "token is missing" in log
        assert "STOLEN" not in log
        assert place.ask("show", "3")["approved"] == f"approved by {person_here()}"

        request(theirs, "Once more", build__sh=SNOOP + "echo again\n")
        assert eventually(lambda: state_of(place, 4) == "held"), "an approval is for one commit"
        newest = request(theirs, "And again", build__sh=SNOOP + "echo and again\n")
        assert eventually(lambda: state_of(place, 5) == "held")
        assert (state_of(place, 4), place.ask("show", "5")["sha"]) == ("cancelled", newest)
        assert all(not job["attempts"] for number in ("4", "5") for job in place.ask("show", number)["jobs"])
    assert leaks(place.folder) == []
    assert "STOLEN" not in up.text


def test_whoever_submits_a_pull_request_cannot_have_it_run_its_own_file(place: Place) -> None:
    ours, theirs = project(place)
    with watching(place, ours) as up:
        up.wait_for("errored   build 1: project main ")
        request(theirs, "Theirs", __surveil__yml=THEFT)
        assert eventually(lambda: state_of(place, 2) == "held")
        submitted = place.typed("submit", "--repo", str(ours), "--ref", "pull/5/head", "--data", str(place.data))
        assert (submitted.returncode, submitted.stdout) == (0, "3\n"), submitted.stderr
        build = place.ask("show", "3")
        assert (build["state"], build["trusted"], build["event"]) == ("held", False, "manual")
        assert [job["name"] for job in build["jobs"]] == ["test"]


def test_what_is_pushed_to_another_branch_is_skipped_and_a_schedule_is_told_of(place: Place) -> None:
    ours = make_repository(
        place.folder / "project",
        __surveil__yml=PIPELINE.replace("pull_request: ", "schedule: [{cron: 30 2 * * *, timezone: Europe/Berlin}]")
        .replace("    secrets: [TOKEN]\n", ""),
        build__sh="echo $SURVEIL_EVENT\n",
    )  # fmt: skip
    with watching(place, ours) as up:
        up.wait_for("passed    build 1: project main ")
        assert "push" in log_of(place, 1)
        git(ours, "branch", "topic")
        assert eventually(lambda: state_of(place, 2) == "skipped")
        assert place.ask("show", "2")["reason"] == "`on.push.branches` does not choose `topic`"
        commit(ours, "Words only [skip ci]")
        assert eventually(lambda: state_of(place, 3) == "skipped")
        (schedule,) = place.ask("status")["schedules"]
        assert (schedule["repo"], schedule["cron"]) == (str(ours), "30 2 * * *")
        assert schedule["next_at"].endswith((":30:00.000Z",))
        refused = place.typed("retry", "3", "--data", str(place.data))
        assert (refused.returncode, "was skipped, because its message says [skip ci]" in refused.stderr) == (5, True)


def _answers(place: Place) -> bool:
    try:
        os.kill(place.dispatcher_pid(), 0)
        place.ask("status")
    except (AssertionError, OSError, ValueError):
        return False
    return True
