"""A dispatcher whose disk is full, with real processes on a disk of a few mebibytes."""

from __future__ import annotations

import errno
import os
import re
import subprocess

import pytest

from surveil.errors import ExitCode
from surveil.store.log_live import INDEX
from tests.disks.mounted import mounted
from tests.disks.needs import ON_A_DISK_OF_OURS
from tests.net.stage import free_ports
from tests.system.disks import fill, small_disk
from tests.system.processes import Place, eventually
from tests.system.repository import make_repository, pipeline

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("marking")]


LINES = 20_000
REFUSED = {ExitCode.INFRASTRUCTURE, ExitCode.UNREACHABLE}
"""What whoever submits is told: that the disk is full; or that nobody is there, where something else had to be written
before, like that the machine stood still, and the dispatcher is already trying to open its database again.
"""


def submitted(place: Place, repo: str) -> subprocess.CompletedProcess[str]:
    return place.typed("submit", "--repo", repo, "--data", str(place.data))


def runner_of(place: Place) -> tuple[str, ...]:
    """The command that brings a runner to the dispatcher of this place."""
    token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
    return ("runner", "--data", str(place.folder / "runner"), "--slots", "1", "--join", token)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a dispatcher a disk of its own")
def test_a_dispatcher_on_a_full_disk_refuses_answers_and_goes_on_by_itself(place: Place) -> None:
    mark = place.folder / "runs"
    # It says more at its end than there is room for inside of the files that are there.
    script = f"echo run >> {mark}; while [ ! -e {place.folder}/go ]; do sleep 0.1; done; seq {LINES}"
    all_of_it = "".join(f"{number}\n" for number in range(1, LINES + 1))
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(script))
    listen = f"tcp://127.0.0.1:{free_ports()}"
    place.data.mkdir()
    with (
        small_disk(place.data),
        place.start("dispatcher", "--data", str(place.data), "--listen", listen) as dispatcher,
    ):
        dispatcher.wait_for("dispatcher is ready")
        with place.start(*runner_of(place)) as runner:
            runner.wait_for("connected")
            assert submitted(place, str(repo)).stdout == "1\n"
            assert eventually(mark.exists)
            acknowledged = {1}
            filler = fill(place.data)
            # The database has some room inside of its files; what is acknowledged until it is used up, counts.
            while (done := submitted(place, str(repo))).returncode == ExitCode.OK:
                acknowledged.add(int(done.stdout))
                assert len(acknowledged) < 1_000, "a disk that was never full"
            assert done.returncode == ExitCode.INFRASTRUCTURE, done.stderr
            assert "the dispatcher's disk is full" in done.stderr
            assert str(place.data) in done.stderr

            for _ in range(3):
                again = submitted(place, str(repo))
                assert again.returncode == ExitCode.INFRASTRUCTURE, again.stderr
                assert "the dispatcher's disk is full" in again.stderr
            # Whoever only asks is answered, from what is on disk.
            assert {build["id"] for build in place.ask("builds", "--limit", "1000")} == acknowledged
            assert place.ask("show", "1")["state"] == "running"
            assert place.ask("status")["dispatcher"]["epoch"] == 1
            # The job ends while nobody can write that down.
            (place.folder / "go").touch()
            dispatcher.wait_for("disk is full, so it takes nothing new")

            filler.unlink()
            dispatcher.wait_for("there is room again")
            assert eventually(lambda: place.ask("show", "1")["state"] == "passed"), dispatcher.text
            assert dispatcher.process.poll() is None
            assert place.ask("status")["dispatcher"]["epoch"] == 2
            newest = submitted(place, str(repo))
            assert newest.returncode == ExitCode.OK, newest.stderr
            acknowledged.add(int(newest.stdout))
            builds = place.ask("builds", "--limit", "1000")
            assert {build["id"] for build in builds} == acknowledged
            assert eventually(
                lambda: {build["state"] for build in place.ask("builds", "--limit", "1000")} == {"passed"}
            ), dispatcher.text
            # Each build was run once, and each by one attempt.
            assert len(mark.read_text().splitlines()) == len(acknowledged)
            for build in acknowledged:
                (job,) = place.ask("show", str(build))["jobs"]
                assert [attempt["state"] for attempt in job["attempts"]] == ["passed"]
            assert place.typed("logs", "1", "-f", "--data", str(place.data)).stdout == all_of_it
        assert dispatcher.text.count("disk is full, so it takes nothing new") == 1
    assert eventually(lambda: place.processes() == [])


@ON_A_DISK_OF_OURS
def test_a_disk_that_is_full_again_while_a_dispatcher_starts_anew_is_waited_for(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("true"))
    with mounted(place.data) as disk:
        words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}")
        with place.start(*words) as dispatcher:
            dispatcher.wait_for("dispatcher is ready")
            # The disk shows room, and the database has none: only opening it tells.
            disk.fail("write", number=errno.ENOSPC, path="surveil.db(-wal)?$")
            assert submitted(place, str(repo)).returncode in REFUSED
            dispatcher.wait_for("there is room again")
            dispatcher.wait_for("full again at once", times=2)
            assert dispatcher.process.poll() is None
            disk.work()
            dispatcher.wait_for("dispatcher is ready", times=2)
            assert submitted(place, str(repo)).stdout == "1\n"
            disk.fail("write", number=errno.ENOSPC, path="surveil.db(-wal)?$")
            assert submitted(place, str(repo)).returncode in REFUSED
            dispatcher.wait_for("full again at once", times=3)
            assert dispatcher.interrupt() == ExitCode.OK, "whoever waits for room can be stopped"
        with place.start(*words) as dispatcher:
            assert dispatcher.wait() == ExitCode.INFRASTRUCTURE
            assert "the disk is full: make room" in dispatcher.text
    assert eventually(lambda: place.processes() == [])


@ON_A_DISK_OF_OURS
def test_a_disk_without_room_for_the_books_of_a_log_is_waited_for_as_any_full_one(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo all of it"))
    with mounted(place.data) as disk:
        words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}")
        with place.start(*words) as dispatcher:
            dispatcher.wait_for("dispatcher is ready")
            disk.fail("write", number=errno.ENOSPC, path=f"logs/.*{re.escape(INDEX)}$")
            with place.start(*runner_of(place)):
                assert submitted(place, str(repo)).stdout == "1\n"
                dispatcher.wait_for("disk is full, so it takes nothing new")
                disk.work()
                dispatcher.wait_for("dispatcher is ready", times=2)
                assert eventually(lambda: place.ask("show", "1")["state"] == "passed"), dispatcher.text
                assert eventually(lambda: place.typed("logs", "1", "--data", str(place.data)).stdout == "all of it\n")
            assert dispatcher.process.poll() is None
    assert eventually(lambda: place.processes() == [])
