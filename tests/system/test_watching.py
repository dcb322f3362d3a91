"""`up` with real processes: commits get verdicts, whatever is killed meanwhile."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.processes import Place, Running, eventually, kill, with_descendants
from tests.system.repository import commit, make_repository, pipeline

pytestmark = pytest.mark.timeout(300)

LINES = 60
# Prints its numbers slowly, and shows by a file that it has begun.
SLOW = f"i=1; while [ $i -le {LINES} ]; do echo line $i; i=$((i+1)); sleep 0.1; done"
NUMBERS = "".join(f"line {number}\n" for number in range(1, LINES + 1))


def agent_pid(place: Place) -> int:
    (agent,) = place.processes("surveil runner --data")
    return agent


def assert_passed_whole(place: Place, up: Running, build: int, attempts: list[str]) -> None:
    """The build passed, with these attempts, and the log of the last one is complete."""
    up.wait_for(f"passed    build {build}: ")
    (job,) = place.ask("show", str(build))["jobs"]
    assert [attempt["state"] for attempt in job["attempts"]] == attempts
    logs = place.typed("logs", str(build), "test", "-f", "--data", str(place.data))
    assert logs.stdout == NUMBERS


class Common:
    """An `up` that several tests look at, one after the other: what they hurt it starts again by itself."""

    def __init__(self, place: Place, up: Running, repo: Path) -> None:
        self.place = place
        self.up = up
        self.repo = repo

    def push(self, script: str, more: str = "") -> int:
        """Commit another pipeline; the number of its build. From here on `up` is listened to anew."""
        (newest, *_) = self.place.ask("builds")
        self.up.forget()
        commit(self.repo, "Go on", __surveil__yml=pipeline(script, more=more))
        return int(newest["id"]) + 1

    def is_at_rest(self) -> bool:
        """Whether nothing of a job is left."""
        return not self.place.processes(str(self.place.data / "runners" / "local-1" / "workspaces"))


@pytest.fixture(scope="module")
def common(common_place: Place) -> Iterator[Common]:
    repo = make_repository(common_place.folder / "repo", __surveil__yml=pipeline("true"))
    with common_place.up(str(repo)) as up:
        up.wait_for("passed    build 1: ")
        yield Common(common_place, up, repo)
    assert common_place.processes() == []


def test_each_commit_is_tested_and_nothing_is_left_at_the_end(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("echo first"))
    with place.up(str(repo)) as up:
        up.wait_for("passed    build 1: repo main ")
        commit(repo, "Break it", __surveil__yml=pipeline("echo second", "false"))
        up.wait_for("failed    build 2: repo main ")
        commit(repo, "Repair it", __surveil__yml=pipeline("echo third"))
        up.wait_for("passed    build 3: repo main ")
        builds = place.ask("builds")
        assert [(build["id"], build["state"], build["message"]) for build in builds] == [
            (3, "passed", "Repair it"),
            (2, "failed", "Break it"),
            (1, "passed", "First"),
        ]
        assert up.interrupt() == 0, up.text
    printed = [line for line in up.lines if line in {"first", "second", "third"}]
    assert printed == ["first", "second", "third"]
    assert place.processes() == []


def test_a_second_up_on_the_same_folder_is_told_so(common: Common) -> None:
    place = common.place
    second = place.run("up", "--data", str(place.data), str(common.repo))
    assert second.returncode == 7
    assert f"Another `surveil up` (process {common.up.process.pid}) runs on {place.data} already" in second.stderr
    # A dispatcher that is started by other means is kept out as well.
    lone = place.run("dispatcher", "--data", str(place.data), "--listen", "tcp://127.0.0.1:0")
    assert lone.returncode != 0
    assert common.up.process.poll() is None


def test_a_job_does_not_notice_that_the_dispatcher_is_killed(common: Common) -> None:
    place, up, build = common.place, common.up, common.push(SLOW)
    up.wait_for("line 5")
    first = place.dispatcher_pid()
    kill([first])
    up.wait_for("dispatcher was ended by SIGKILL; it is started again")
    up.wait_for("dispatcher runs again")
    assert_passed_whole(place, up, build, ["passed"])
    assert place.dispatcher_pid() != first
    # What the terminal showed is complete as well, and nothing was shown twice.
    assert [line for line in up.lines if line.startswith("line ")] == NUMBERS.splitlines()


def test_a_job_does_not_notice_that_its_runners_agent_is_killed(common: Common) -> None:
    place, up, build = common.place, common.up, common.push(SLOW)
    up.wait_for("line 5")
    first = agent_pid(place)
    kill([first])
    up.wait_for("local-1 runs again")
    assert_passed_whole(place, up, build, ["passed"])
    assert agent_pid(place) != first
    assert eventually(common.is_at_rest)


def test_a_job_survives_the_sudden_end_of_up_itself(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(SLOW))
    with place.up(str(repo)) as up:
        up.wait_for("line 5")
        kill([up.process.pid])
        up.wait()
    # Its parts end with it, and only the job's keeper stays.
    assert eventually(lambda: place.processes("-m surveil dispatcher") + place.processes("-m surveil runner") == [])
    assert eventually(lambda: place.processes("-m surveil observer") == [])
    with place.up(str(repo)) as up:
        assert_passed_whole(place, up, 1, ["passed"])
    assert place.processes() == []


def test_a_job_whose_runner_is_killed_with_everything_runs_again(common: Common) -> None:
    script = f"if [ $SURVEIL_ATTEMPT = 1 ]; then echo begun; sleep 600; fi; {SLOW}"
    place, up, build = common.place, common.up, common.push(script)
    up.wait_for("begun")
    kill(with_descendants(agent_pid(place)))
    up.wait_for("attempt 1 lost")
    assert_passed_whole(place, up, build, ["lost", "passed"])
    assert eventually(common.is_at_rest)


def test_what_ctrl_c_cut_short_is_told_and_runs_again(place: Place) -> None:
    script = f"if [ $SURVEIL_ATTEMPT = 1 ]; then echo begun; sleep 600; fi; {SLOW}"
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline(script))
    with place.up(str(repo)) as up:
        up.wait_for("begun")
        assert up.interrupt() == 0, up.text
        assert "cut short: build 1: repo main " in up.text
        assert "`surveil cancel BUILD` then ends it for good" in up.text
    assert place.processes() == []
    with place.up(str(repo)) as up:
        up.wait_for("passed    build 1: ")
        (job,) = place.ask("show", "1")["jobs"]
        assert job["attempts"][-1]["state"] == "passed"
        assert len(job["attempts"]) == 2
        assert [build["id"] for build in place.ask("builds")] == [1]


def test_a_second_ctrl_c_stops_at_once(place: Place) -> None:
    repo = make_repository(place.folder / "repo", __surveil__yml=pipeline("trap '' TERM INT; echo begun; sleep 600"))
    with place.up(str(repo)) as up:
        up.wait_for("begun")
        up.process.send_signal(signal.SIGINT)
        up.wait_for("Stopping; Ctrl-C again stops at once.")
        up.process.send_signal(signal.SIGINT)
        assert up.wait() == 130, up.text
    assert place.processes() == []


def test_a_spare_machine_joins_with_a_token_that_is_good_once(common: Common) -> None:
    place, up = common.place, common.up
    token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
    spare = ("runner", "--name", "spare", "--label", "spare", "--data", str(place.folder / "spare"))
    with place.start(*spare, "--join", token) as runner:
        assert eventually(lambda: "spare" in [each["name"] for each in place.ask("runners")])
        build = common.push("echo there", more="    labels: [spare]\n")
        up.wait_for(f"passed    build {build}: ")
        (job,) = place.ask("show", str(build))["jobs"]
        assert [attempt["runner"] for attempt in job["attempts"]] == ["spare"]
        runner.process.send_signal(signal.SIGTERM)
        assert runner.wait() == 0, runner.text
    again = place.run("runner", "--name", "thief", "--data", str(place.folder / "thief"), "--join", token)
    assert again.returncode == 5
    assert "token" in again.stderr
    # The key that the first one kept is enough from now on.
    with place.start(*spare) as runner:
        build = common.push("echo again", more="    labels: [spare]\n")
        up.wait_for(f"passed    build {build}: ")
        assert runner.process.poll() is None, runner.text
