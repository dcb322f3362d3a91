"""Pipeline files of two other systems run as they are, in the containers that they name."""

import pytest

from tests.engines.docker import Docker
from tests.engines.images import BASH, PROBE
from tests.system.processes import Place
from tests.system.repository import make_repository

pytestmark = pytest.mark.timeout(180)

RUNNERCI = f"""\
version: 1.0

jobs:
  build:
    image: {PROBE}
    steps:
      - name: Install dependencies
        run: echo installed > /opt-of-the-image

      - name: Run main script
        run: cat /opt-of-the-image main.txt

  lint:
    image: {BASH}
    steps:
      - name: Lint
        run: test -e main.txt && exit 4
"""
NARWHAL = f"""\
name: Example
image: {PROBE}
env:
  GREETING: hello
steps:
  - name: deploy
    dependencies: [test]
    command: echo deployed
  - name: test
    dependencies:
      - build
    command: test "$GREETING" = hello && ls /bin/busybox
  - name: build
    command: echo built in $FROM_IMAGE
"""


def test_files_of_other_systems_run_unchanged_in_their_images(place: Place, docker_engine: Docker) -> None:
    argon = make_repository(place.folder / "argon", __runnerci__yml=RUNNERCI, main__txt="the main script\n")
    narwhal = make_repository(place.folder / "narwhal", narwhal__yml=NARWHAL)
    done = place.run("up", "--once", "--engine", docker_engine.address, str(argon), str(narwhal))
    assert done.returncode == 1, done.stderr
    said = done.stdout + done.stderr
    ended = [line for line in done.stdout.splitlines() if line.startswith(("passed ", "failed "))]
    assert len(ended) == 2
    assert any(line.startswith("failed ") and "argon main" in line and "exit code 4" in line for line in ended)
    assert any(line.startswith("passed ") and "narwhal main" in line for line in ended)
    for line in ("installed", "the main script", "built in yes", "/bin/busybox", "deployed"):
        assert any(each.endswith(f" | {line}") for each in said.splitlines()), line
    assert docker_engine.names() == []
    assert place.processes() == []
