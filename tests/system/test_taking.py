"""A job gets what those made that it needs, with real processes: in its own build, in a retry, and in a replay."""

import pytest

from surveil.errors import ExitCode
from tests.system.processes import Place
from tests.system.repository import make_repository

pytestmark = pytest.mark.timeout(300)

PIPELINE = """\
version: 1
jobs:
  build:
    matrix: {arch: [amd64, arm64]}
    artifacts: ["out/**"]
    steps:
      - run: mkdir -p out/$MATRIX_ARCH; head -c 3000000 /dev/urandom > out/$MATRIX_ARCH/app; sha256sum out/*/app
  release:
    needs: [build]
    artifacts_from: [build]
    steps: [{run: 'sha256sum out/*/app; test "$SURVEIL_BUILD" = 2'}]
"""


def sums(place: Place, build: int, job: str) -> list[str]:
    return place.typed("logs", str(build), job, "-f", "--data", str(place.data)).stdout.splitlines()


def test_a_job_gets_what_was_kept_and_so_do_its_retry_and_its_replay(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=PIPELINE)
    with place.up(str(repo)) as up:
        up.wait_for("failed    build 1: repo main ")
        made = sums(place, 1, "build[arch=amd64]") + sums(place, 1, "build[arch=arm64]")
        assert len(made) == 2
        assert sums(place, 1, "release") == made
        jobs = {job["name"]: job for job in place.ask("show", "1")["jobs"]}
        assert jobs["release"]["artifacts_from"] == ["build[arch=amd64]/files", "build[arch=arm64]/files"]
        story = place.typed("story", "1/release", "--data", str(place.data)).stdout
        assert "it takes the artifacts of 1/build[arch=amd64] attempt 1, 1/build[arch=arm64] attempt 1" in story
        replayed = place.run("replay", "1/release", "--data", str(place.data))
        assert (replayed.returncode, replayed.stdout.splitlines()) == (ExitCode.BUILD_FAILED, made), replayed.stderr
        # What the retry carries over gives what it kept where it ran.
        assert place.typed("retry", "1", "release", "--wait", "--data", str(place.data)).returncode == 0
        assert sums(place, 2, "release") == made
