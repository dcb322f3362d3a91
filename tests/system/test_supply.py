"""A runner whose machine does not have the repository: it gets each commit through the dispatcher."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.processes import Place, Running, eventually, kill
from tests.system.repository import commit, git, make_repository, pipeline

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a folder from one process alone"),
]

FOR_SPARE = "    labels: [spare]\n"


def start_where_hidden(place: Place, hidden: str, *words: str) -> Running:
    """A command for which the folder `hidden` is empty, as on another machine."""
    script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
    return Running(
        subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", hidden, sys.executable, "-m", "surveil", *words],
            cwd=place.folder,
            env=place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    )


def test_a_spare_machine_tests_commits_of_a_repository_that_it_does_not_have(place: Place) -> None:
    hidden = place.folder / "elsewhere"
    repo = make_repository(hidden / "repo", __surveil__yml=pipeline("cat noise | wc -c", more=FOR_SPARE))
    first = commit(repo, "Noise", noise="".join(f"{number * 7919 % 1000003}\n" for number in range(200_000)))
    git(repo, "tag", "--annotate", "--message=One", "v1")
    size = (repo / "noise").stat().st_size
    with place.up(str(repo)) as up:
        up.wait_for("build 1: repo main ")
        token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
        spare = ("runner", "--name", "spare", "--label", "spare", "--data", str(place.folder / "spare"))
        with start_where_hidden(place, str(hidden), *spare, "--join", token) as runner:
            up.wait_for("passed    build 1: repo main ")
            assert place.typed("logs", "1", "test", "-f", "--data", str(place.data)).stdout.strip() == str(size)
            runner.wait_for(f"commit was supplied through the dispatcher sha={first}")
            second = commit(repo, "Describe", __surveil__yml=pipeline("git describe; git log -1", more=FOR_SPARE))
            up.wait_for("passed    build 2: repo main ")
            log = place.typed("logs", "2", "test", "-f", "--data", str(place.data)).stdout
            assert log.splitlines()[:2] == [f"v1-1-g{second[:7]}", f"commit {second}"]
            (job,) = place.ask("show", "2")["jobs"]
            assert [attempt["runner"] for attempt in job["attempts"]] == ["spare"]
            packs = sorted((place.folder / "spare" / "mirrors").glob("*.git/objects/pack/*.pack"), key=_bytes)
            assert len(packs) == 2
            # The second one builds on the first.
            assert _bytes(packs[0]) < 10_000
            assert _bytes(packs[1]) > 500_000
            commit(repo, "Break", __surveil__yml=pipeline("false", more=FOR_SPARE))
            up.wait_for("failed    build 3: repo main ")
            assert eventually(lambda: not list((place.folder / "spare" / "workspaces").iterdir()))
    assert place.processes() == []


def test_a_supply_outlives_the_observer_and_the_dispatcher(place: Place) -> None:
    hidden = place.folder / "elsewhere"
    repo = make_repository(hidden / "repo", __surveil__yml=pipeline("echo here it is", more=FOR_SPARE))
    with place.up(str(repo)) as up:
        up.wait_for("build 1: repo main ")
        token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
        (observer,) = place.processes("surveil observer")
        os.kill(observer, signal.SIGSTOP)
        spare = ("runner", "--name", "spare", "--label", "spare", "--data", str(place.folder / "spare"))
        with start_where_hidden(place, str(hidden), *spare, "--join", token) as runner:
            runner.wait_for("is asked for through the dispatcher")
            kill([place.dispatcher_pid(), observer])
            up.wait_for("passed    build 1: repo main ")
            (job,) = place.ask("show", "1")["jobs"]
            assert [attempt["state"] for attempt in job["attempts"]] == ["passed"]
    assert place.processes() == []


def _bytes(path: Path) -> int:
    return path.stat().st_size
