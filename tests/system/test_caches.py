"""What jobs leave for others to find, with real processes: restored before the first step, and a miss when damaged."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Place, eventually
from tests.system.repository import commit, git, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)

ANY_KEY = re.compile("`lib-[0-9a-f]+…`")
PIPELINE = """\
version: 1
jobs:
  test:
    cache:
      - {key: "lib-${{ hash('lock*') }}", restore_keys: [lib-], paths: [lib, ~/.cache/tool]}
    steps:
      - run: cat lib/made ~/.cache/tool/made 2>&1 || true
      - run: mkdir -p lib ~/.cache/tool; cat lock > lib/made; cat lock > ~/.cache/tool/made; ln -sf /etc/passwd lib/link
"""


def printed(place: Place, build: int) -> str:
    return place.typed("logs", str(build), "-f", "--data", str(place.data)).stdout


def remarks(place: Place, build: int) -> list[str]:
    (job,) = place.ask("show", str(build))["jobs"]
    return [remark["text"] for step in job["attempts"][-1]["steps"] for remark in step["remarks"]]


def blobs(place: Place) -> list[Path]:
    return sorted((place.data / "blobs").glob("??/*"))


def test_a_cache_comes_back_by_its_key_or_by_its_beginning_and_is_a_miss_when_damaged(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=PIPELINE, lock="one\n")
    with place.up(str(repo)) as up:
        up.wait_for("passed    build 1: repo main ")
        assert "No such file" in printed(place, 1)
        assert len(blobs(place)) == 1
        commit(repo, "The same lock", other="x")
        up.wait_for("passed    build 2: repo main ")
        assert printed(place, 2) == "one\none\n"
        assert len(blobs(place)) == 1  # Found under its very key, so there is nothing new to keep.
        commit(repo, "Another lock", lock="two\n")
        up.wait_for("passed    build 3: repo main ")
        assert printed(place, 3) == "one\none\n"
        assert len(blobs(place)) == 2
        git(repo, "commit", "-q", "--allow-empty", "-m", "Again")
        up.wait_for("passed    build 4: repo main ")
        assert printed(place, 4) == "two\ntwo\n"
        told = [ANY_KEY.sub("KEY", each) for build in (1, 2, 3, 4) for each in remarks(place, build)]
        assert told == [
            "cache KEY: it was not there; it is kept, 2 files",
            "cache KEY: what was there is of KEY; it is kept, 2 files",
        ]
        for blob in blobs(place):
            content = bytearray(blob.read_bytes())
            content[600] ^= 1
            blob.write_bytes(content)
        git(repo, "commit", "-q", "--allow-empty", "-m", "Damaged")
        up.wait_for("passed    build 5: repo main ")
        assert "No such file" in printed(place, 5)
        (said,) = remarks(place, 5)
        assert said.startswith("cache `lib-")
        assert "` is damaged; it is kept" in said
        git(repo, "commit", "-q", "--allow-empty", "-m", "Healed")
        up.wait_for("passed    build 6: repo main ")
        assert printed(place, 6) == "two\ntwo\n"


NOTHING = pipeline("true", more="    cache: [{key: k, paths: [lib, ~/.cache]}]\n")
FAILED = PIPELINE + "      - run: exit 3\n"


@pytest.fixture(scope="module")
def kept_nothing(common_place: Place) -> Iterator[Place]:
    """Where one job had nothing to keep, in the repository `nothing`, and one failed that had, in `failed`."""
    nothing = make_repository(common_place.folder / "nothing", __surveil__yml=NOTHING)
    failed = make_repository(common_place.folder / "failed", __surveil__yml=FAILED, lock="one\n")
    with common_place.up(str(nothing), str(failed)) as up:
        up.wait_for(": nothing main ")
        up.wait_for(": failed main ")
        assert eventually(lambda: {each["state"] for each in common_place.ask("builds")} == {"passed", "failed"})
        yield common_place


def test_a_cache_of_nothing_is_said(kept_nothing: Place) -> None:
    (build,) = [each["id"] for each in kept_nothing.ask("builds") if each["state"] == "passed"]
    nothing = "cache `k`: it was not there; it is not kept: there is nothing at `lib`, `~/.cache`"
    assert remarks(kept_nothing, build) == [nothing]


def test_a_job_that_failed_leaves_nothing(kept_nothing: Place) -> None:
    assert blobs(kept_nothing) == []
