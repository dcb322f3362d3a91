"""What jobs keep in a bucket, with real processes and a real server: there as it was, whoever dies in the middle."""

import hashlib
import signal
from pathlib import Path

import pytest

from tests.store.buckets import NAME, rclone
from tests.system.processes import Place, eventually, kill
from tests.system.repository import git, make_repository

pytestmark = pytest.mark.timeout(300)

PIPELINE = """\
version: 1
jobs:
  build:
    artifacts: [{name: disk, paths: [disk], required: true}]
    cache: [{key: lib, paths: [lib]}]
    steps:
      - run: cat lib/made || true
      - run: mkdir -p lib; echo made > lib/made; head -c 9000000 /dev/urandom > disk; sha256sum disk
"""


def fetched(place: Place, build: int, folder: str) -> tuple[str, str]:
    """The digest that the job printed, and that of what is fetched now."""
    to = place.folder / folder
    place.ask("artifacts", "get", str(build), "--to", str(to))
    log = place.typed("logs", str(build), "-f", "--data", str(place.data)).stdout
    return log.split()[-2], hashlib.sha256((to / "build/disk/disk").read_bytes()).hexdigest()


def test_files_come_to_the_bucket_whoever_dies_and_are_read_from_there(place: Place) -> None:
    (place.folder / "s3").mkdir()
    repo = make_repository(place.folder / "repo", __surveil__yml=PIPELINE)
    blobs = place.data / "blobs"

    def waiting() -> list[Path]:
        return sorted(blobs.glob("??/*"))

    with rclone(place.folder / "s3") as server:
        kept = place.folder / "s3" / "kept" / NAME
        place.settings |= {
            "SURVEIL_BLOBS": f"s3://{NAME}", "SURVEIL_BLOBS_ENDPOINT": server.endpoint,
            "SURVEIL_BLOBS_CREDENTIALS": str(server.keys),
        }  # fmt: skip
        with place.up(str(repo)) as up:
            up.wait_for("passed    build 1: repo main ")
            assert eventually(lambda: not waiting() and len(list(kept.glob("??/*"))) == 2)
            server.kill(signal.SIGSTOP)  # It takes what comes, and answers nothing more.
            git(repo, "commit", "-q", "--allow-empty", "-m", "Without a bucket")
            up.wait_for("passed    build 2: repo main ")
            server.kill()
            assert len(waiting()) == 1  # The cache was found in a copy here.
            said, found = fetched(place, 2, "two")
            assert said == found
            kill([place.dispatcher_pid()])
            server.start()
            assert eventually(lambda: not waiting())
            for copy in (blobs / "copies").glob("??/*"):
                copy.unlink()
            for build in (1, 2):
                said, found = fetched(place, build, f"again-{build}")
                assert said == found
            git(repo, "commit", "-q", "--allow-empty", "-m", "With a bucket again")
            up.wait_for("passed    build 3: repo main ")
            logs = [place.typed("logs", str(build), "-f", "--data", str(place.data)).stdout for build in (1, 2, 3)]
            assert [log.startswith("made\n") for log in logs] == [False, True, True]
