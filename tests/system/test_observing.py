"""An observer among real processes that die, go away and run out of disk: every commit that it sees is built once."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mirror.repositories import serve_git
from tests.net.stage import free_ports
from tests.system.disks import fill, small_disk
from tests.system.processes import Place, Running, eventually, kill
from tests.system.repository import commit, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)

KILLS = 12


@contextmanager
def dispatching(place: Place, port: int) -> Iterator[Running]:
    with place.start("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{port}") as dispatcher:
        dispatcher.wait_for("dispatcher is ready")
        yield dispatcher


def observer(place: Place, *more: str) -> tuple[str, ...]:
    return ("observer", "--interval", "100ms", "--data", str(place.folder / "observer"), *more)


def enrolled(place: Place) -> str:
    done = place.typed("token", "create", "--role", "observer", "--data", str(place.data))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def built(place: Place) -> Counter[str]:
    """How many builds there are of each commit."""
    return Counter(sha for _, sha in builds(place))


def builds(place: Place) -> list[tuple[str, str]]:
    """The ref and the commit of each build."""
    return [(build["ref"], build["sha"]) for build in place.ask("builds", "--limit", "200")]


def test_commits_that_arrive_while_the_dispatcher_is_away_are_built_once(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    port = free_ports()
    with dispatching(place, port) as first:
        token = enrolled(place)
        with place.start(*observer(place, "--join", token, str(repo))) as watching:
            watching.wait_for("commit acknowledged")
            kill([first.process.pid])
            watching.wait_for("the dispatcher is away")
            # Each is seen by a poll of its own; what a ref held in between is not reported once it has moved on.
            branches = {name: [commit_on(repo, name) for _ in range(3)] for name in ("main", "side", "other")}
            with dispatching(place, port):
                newest = {(f"refs/heads/{name}", shas[-1]) for name, shas in branches.items()}
                assert eventually(lambda: newest <= set(builds(place)))
                after = ("refs/heads/main", commit_on(repo, "main"))
                assert eventually(lambda: after in builds(place))
                assert set(Counter(builds(place)).values()) == {1}
                assert not {sha for shas in branches.values() for sha in shas[:-1]} & built(place).keys()
            assert watching.process.poll() is None
    assert place.processes() == []


def commit_on(repo: Path, branch: str) -> str:
    """A commit on a branch that is made if need be, and time for a poll to see it."""
    subprocess.run(
        ["git", "checkout", "-q", "-B", branch, *(["main"] if branch == "main" else [])], cwd=repo, check=True
    )
    sha = commit(repo, f"On {branch} at {time.monotonic()}")
    time.sleep(0.3)
    return sha


def test_an_observer_that_is_killed_at_any_moment_reports_every_commit_and_none_twice(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    dice = random.Random(7)
    with dispatching(place, free_ports()):
        token = enrolled(place)
        with place.start(*observer(place, "--join", token, str(repo))) as watching:
            watching.wait_for("commit acknowledged")
        made = [*built(place)]
        for number in range(KILLS):
            with place.start(*observer(place, str(repo))) as watching:
                watching.wait_for("connected")
                made.append(commit(repo, f"Commit {number}"))
                # From the first notice to the written record it takes some 250 ms.
                time.sleep(dice.uniform(0, 0.3))
                watching.process.send_signal(signal.SIGKILL)
                watching.wait()
            # The next commit would coalesce with this one, were it not built before.
            with place.start(*observer(place, str(repo))):
                assert eventually(lambda: made[-1] in built(place)), f"commit {number} was lost"
        assert built(place) == Counter(made)
    assert place.processes() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give an observer a disk of its own")
def test_an_observer_whose_disk_is_full_says_so_once_and_loses_nothing(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    far = make_repository(place.folder / "far", __surveil__yml=pipeline("echo far"))
    disk = place.folder / "observer"
    disk.mkdir()
    with small_disk(disk), serve_git(place.folder) as server, dispatching(place, free_ports()):
        token = enrolled(place)
        repos = (str(repo), f"{server}/far/.git")
        with place.start(*observer(place, "--join", token, *repos)) as watching:
            watching.wait_for("commit acknowledged", times=2)
            assert eventually(lambda: len(list((disk / "refs").glob("*.json"))) == len(repos))
            filler = fill(disk)
            near_sha, far_sha = commit(repo, "On a full disk"), commit(far, "On a full disk")
            # What needs no room is reported all the same; what needs it is told of and waited for.
            assert eventually(lambda: near_sha in built(place))
            watching.wait_for("what was acknowledged meanwhile may be reported twice, and is built once")
            watching.wait_for("commit cannot be read")
            # It says so itself before it says so to the dispatcher.
            assert eventually(lambda: "Make room on this machine's disk; type `df -h`" in problem_with(place, repos[1]))
            watching.process.send_signal(signal.SIGKILL)
            watching.wait()
        with place.start(*observer(place, *repos)) as watching:
            watching.wait_for("commit acknowledged")
            watching.wait_for("commit cannot be read")
            # Clearing up after the killed one made room: commits are remembered until it is used up again.
            shas = [near_sha]
            while "may be reported twice" not in watching.text:
                fill(disk)
                shas.append(commit(repo, "Still on a full disk"))
                assert eventually(lambda: shas[-1] in built(place)), watching.text
                assert len(shas) < 100, "a disk that is never full"
            # Long enough for several more tries, of which nothing is said.
            last_sha = commit(repo, "On a full disk to the end")
            assert eventually(lambda: last_sha in built(place))
            filler.unlink()
            assert eventually(lambda: far_sha in built(place))
            watching.wait_for("what was acknowledged is written down again")
            assert watching.text.count("may be reported twice") == 1
            assert watching.text.count("commit cannot be read") == 1
        assert set(built(place).values()) == {1}
        with place.start(*observer(place, *repos)) as watching:
            third = commit(repo, "Roomy")
            watching.wait_for("commit acknowledged")
            assert third in built(place)
            assert watching.text.count("commit acknowledged") == 1
    assert place.processes() == []


def problem_with(place: Place, repo: str) -> str:
    """What the dispatcher was told that keeps this repository from being watched; empty where nothing does."""
    return next(each["problem"] or "" for each in place.ask("status")["watching"] if each["repo"] == repo)
