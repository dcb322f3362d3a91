"""Parts of a runner killed and stopped in the midst of a job, with real processes: the verdict stays true, and nothing
is left running.
"""

import contextlib
import fcntl
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.net.stage import free_ports
from tests.system.processes import Place, Running, children, eventually, signal_process
from tests.system.repository import make_repository, pipeline

pytestmark = pytest.mark.timeout(300)
AGENT, KEEPER = "surveil runner", "surveil.execute.keeper.zygote"
"""What the command lines name; a keeper is a fork of the zygote."""
LEASE_S = 6
"""Short, and longer than any process gets no processor where there are many tests."""
LEASE = {"SURVEIL_POLICY_HEARTBEAT": "500ms", "SURVEIL_POLICY_LEASE": f"{LEASE_S}s", "SURVEIL_POLICY_MARGIN": "500ms"}


class Pool:
    """A dispatcher with a short lease, and runners."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.folder
        """Where the repository is, and the marks of its jobs."""
        self.runners: dict[str, Running] = {}

    def data(self, runner: str) -> Path:
        return self.place.folder / runner

    def submit(self, *commands: str) -> str:
        repo = self.folder / "repo"
        if not repo.exists():
            make_repository(repo, __surveil__yml=pipeline(*commands))
        done = self.place.typed("submit", "--repo", str(repo), "--data", str(self.place.data))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def job(self, build: str) -> Any:
        (job,) = self.place.ask("show", build)["jobs"]
        return job

    def runner_of(self, build: str, attempt: int = 1) -> str:
        return str(self.job(build)["attempts"][attempt - 1]["runner"])

    def log(self, build: str) -> str:
        return self.place.typed("logs", build, "-f", "--data", str(self.place.data)).stdout

    def agent(self, runner: str) -> int:
        return self.runners[runner].process.pid

    def zygote(self, runner: str) -> int:
        """The one child of the agent that starts keepers; there may be a git for a moment."""
        (pid,) = self._zygotes(runner)
        return pid

    def has_zygote(self, runner: str) -> bool:
        return bool(self._zygotes(runner))

    def _zygotes(self, runner: str) -> list[int]:
        return [pid for pid in children(self.agent(runner)) if pid in self.place.processes(KEEPER)]

    def keepers(self, runner: str) -> list[int]:
        """Those who hold the locks of the runner's attempts."""
        found = []
        for path in (self.data(runner) / "attempts").glob("*/lock"):
            with path.open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(int(lock.read()))
        return found

    def is_at_rest(self, runner: str) -> bool:
        return not self.keepers(runner) and not self.steps(runner)

    def has_state(self, build: str, state: str) -> bool:
        return str(self.place.ask("show", build)["state"]) == state

    def steps(self, runner: str) -> list[int]:
        """All that works in the runner's workspaces."""
        return self.place.processes(str(self.data(runner) / "workspaces"))


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def started(place: Place) -> Iterator[Pool]:
    here = Pool(place)
    # Steps tell by marks outside of their workspaces how far they are.
    place.settings["SURVEIL_SANDBOX"] = "off"
    words = ("dispatcher", "--data", str(place.data), "--listen", f"tcp://127.0.0.1:{free_ports()}")
    with contextlib.ExitStack() as running:
        running.enter_context(place.start(*words, **LEASE)).wait_for("dispatcher is ready")
        for name in ("one", "two"):
            token = place.typed("token", "create", "--data", str(place.data)).stdout.strip()
            how = ("--data", str(here.data(name)), "--name", name, "--slots", "2")
            here.runners[name] = running.enter_context(place.start("runner", "--join", token, *how))
        yield here


@contextlib.contextmanager
def used(pool: Pool) -> Iterator[Pool]:
    """All is there at the beginning, and nothing is left running at the end."""
    assert eventually(lambda: [one["state"] for one in pool.place.ask("runners")] == ["online", "online"])
    yield pool
    for name in pool.runners:
        assert eventually(partial(pool.is_at_rest, name)), f"{name} has {pool.keepers(name)} {pool.steps(name)}"


@pytest.fixture
def own_pool(place: Place) -> Iterator[Pool]:
    with started(place) as here, used(here):
        yield here


@pytest.fixture(scope="module")
def common_pool(common_place: Place) -> Iterator[Pool]:
    with started(common_place) as here:
        yield here


@pytest.fixture
def pool(common_pool: Pool) -> Iterator[Pool]:
    """For those who leave it as it was: the common one, with a folder of the test's own for repository and marks."""
    common_pool.folder = Path(tempfile.mkdtemp(dir=common_pool.place.folder))
    try:
        with used(common_pool):
            yield common_pool
    finally:
        for pid in common_pool.place.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def waiting(pool: Pool, first: str = "") -> str:
    """A step that says that it began, and ends when it is told to; after what the first attempt does, if anything."""
    first = f'[ "$SURVEIL_ATTEMPT" != 1 ] || {{ {first} }}; ' if first else ""
    begin = f"echo begun; touch {pool.folder}/begun-$SURVEIL_BUILD-$SURVEIL_ATTEMPT; "
    return f"{begin}{first}while [ ! -e {pool.folder}/go ]; do sleep 0.1; done; echo done"


def begun(pool: Pool, build: str, attempt: int = 1) -> bool:
    return eventually((pool.folder / f"begun-{build}-{attempt}").exists)


def test_a_killed_zygote_takes_no_job_along_and_another_one_comes(own_pool: Pool) -> None:
    builds = [own_pool.submit(waiting(own_pool)) for _ in range(2)]
    assert all(begun(own_pool, build) for build in builds)
    zygotes = {name: own_pool.zygote(name) for name in own_pool.runners}
    keepers = {name: own_pool.keepers(name) for name in own_pool.runners}
    assert sum(len(found) for found in keepers.values()) == 2
    for pid in zygotes.values():
        signal_process(pid, signal.SIGKILL, KEEPER)
    assert eventually(lambda: not any(alive(pid) for pid in zygotes.values()))
    builds += [own_pool.submit() for _ in range(2)]
    assert all(begun(own_pool, build) for build in builds), "keepers are started by a new zygote"
    (own_pool.folder / "go").touch()
    for build in builds:
        assert eventually(partial(own_pool.has_state, build, "passed"))
        assert [attempt["state"] for attempt in own_pool.job(build)["attempts"]] == ["passed"]
        assert own_pool.log(build) == "begun\ndone\n"
    for name in {own_pool.runner_of(build) for build in builds[2:]}:
        assert own_pool.zygote(name) != zygotes[name]


def test_a_zygote_that_hangs_is_replaced_and_the_job_starts_once(pool: Pool) -> None:
    for name in pool.runners:
        assert eventually(partial(pool.has_zygote, name))
    zygotes = {name: pool.zygote(name) for name in pool.runners}
    for pid in zygotes.values():
        signal_process(pid, signal.SIGSTOP, KEEPER)
    build = pool.submit(f"echo $SURVEIL_ATTEMPT >> {pool.folder}/started")
    assert eventually(partial(pool.has_state, build, "passed"))
    assert [attempt["state"] for attempt in pool.job(build)["attempts"]] == ["passed"]
    hung = zygotes[pool.runner_of(build)]
    assert not alive(hung)
    assert (pool.folder / "started").read_text() == "1\n"


def test_a_keeper_that_stands_still_for_a_while_loses_nothing(pool: Pool) -> None:
    build = pool.submit(waiting(pool))
    assert begun(pool, build)
    (keeper,) = pool.keepers(pool.runner_of(build))
    signal_process(keeper, signal.SIGSTOP, KEEPER)
    (pool.folder / "go").touch()
    time.sleep(LEASE_S + 1)  # Longer than any lease: nobody but its agent speaks for it meanwhile.
    assert pool.has_state(build, "running")
    signal_process(keeper, signal.SIGCONT, KEEPER)
    assert eventually(partial(pool.has_state, build, "passed"))
    assert [attempt["state"] for attempt in pool.job(build)["attempts"]] == ["passed"]
    assert pool.log(build) == "begun\ndone\n"


@pytest.mark.parametrize("meanwhile", ["it runs on", "it ends", "all stands still"])
def test_an_agent_that_comes_back_after_its_lease_has_no_say_any_more(pool: Pool, meanwhile: str) -> None:
    # What the first attempt says is false: if it counted, the build would fail.
    build = pool.submit(waiting(pool, first=f"while [ ! -e {pool.folder}/fail ]; do sleep 0.1; done; exit 3;"))
    assert begun(pool, build)
    zombie = pool.runner_of(build)
    (keeper,) = pool.keepers(zombie)
    steps = pool.steps(zombie)
    assert steps != []
    stopped = [(pool.agent(zombie), AGENT)]
    if meanwhile == "all stands still":
        stopped += [(keeper, KEEPER), (pool.zygote(zombie), KEEPER)]
    for pid, mark in stopped:
        signal_process(pid, signal.SIGSTOP, mark)
    assert begun(pool, build, 2), "the job was not given to the other runner"
    if meanwhile != "it runs on":
        (pool.folder / "fail").touch()
    if meanwhile == "it ends":
        assert eventually(lambda: not alive(keeper))
    for pid, mark in stopped:
        signal_process(pid, signal.SIGCONT, mark)
    assert eventually(lambda: not any(alive(pid) for pid in (keeper, *steps))), "what the zombie runs has to end"
    assert eventually(lambda: list((pool.data(zombie) / "attempts").iterdir()) == [])
    (pool.folder / "go").touch()
    assert eventually(partial(pool.has_state, build, "passed"))
    attempts = pool.job(build)["attempts"]
    assert [(attempt["number"], attempt["state"]) for attempt in attempts] == [(1, "lost"), (2, "passed")]
    assert attempts[0]["exit_code"] is None
    assert attempts[1]["runner"] != zombie
    assert attempts[1]["reason"].startswith(f"in place of attempt 1: runner {zombie} stopped answering ")
    story = pool.place.typed("story", f"{build}/test", "--data", str(pool.place.data)).stdout
    # Whether its result or its heartbeat comes first is chance, but the result comes.
    late = "its result, failed, came " if meanwhile == "it ends" else f"runner {zombie} came back with it "
    assert late in attempts[0]["reason"]
    assert f"  attempt 1: {late}" in story
    assert f"runner {zombie} counts as gone: nothing was heard of it for " in story
    assert f"runner {zombie} delivers the rest of its log, which has " in story
    assert eventually(lambda: {one["state"] for one in pool.place.ask("runners")} == {"online"})
