"""Buildbot beside surveil: the same one-step builds of the same repository, in the same run.

What belongs here: a master and its workers as Buildbot's manual sets them up, and their builds counted. What does not:
installing it; whoever wants the comparison makes a virtual environment with `buildbot` and `buildbot-worker`.

The master's own database says how many builds are done, so that both sides are counted at their own disk.
"""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

WORKERS: Final = 2
START_S: Final = 60.0
STOP_S: Final = 10.0
LOOK_S: Final = 0.02
PATIENCE_S: Final = 600.0

_MASTER: Final = """
from buildbot.plugins import steps, util, worker
from buildbot.schedulers.base import BaseScheduler
from twisted.internet import defer


class AllAtOnce(BaseScheduler):
    # Asks for every build as soon as the master is up; they wait for the workers.

    @defer.inlineCallbacks
    def activate(self):
        yield super().activate()
        stamp = dict(codebase="", repository={repository!r}, branch="main", revision={sha!r}, project="")
        for _ in range({builds}):
            yield self.addBuildsetForSourceStamps(sourcestamps=[stamp], reason="benchmark")


names = ["worker-%d" % number for number in range({workers})]
steps_of_it = util.BuildFactory([
    steps.Git(repourl={repository!r}, mode="full", method="fresh", branch="main"),
    steps.ShellCommand(command=["sh", "-eu", "-c", "true"]),
])
BuildmasterConfig = dict(
    title="benchmark",
    buildbotURL="http://localhost/",
    buildbotNetUsageData=None,
    collapseRequests=False,
    db=dict(db_url="sqlite:///state.sqlite"),
    protocols=dict(pb=dict(port="tcp:{port}:interface=127.0.0.1")),
    workers=[worker.Worker(name, "secret", max_builds=1) for name in names],
    builders=[util.BuilderConfig(name="true", workernames=names, factory=steps_of_it)],
    schedulers=[AllAtOnce(name="sprint", builderNames=["true"])],
)
"""


def builds_per_s(folder: Path, programs: Path, repository: Path, sha: str, *, builds: int) -> float:
    """How many builds a second Buildbot does with two workers, from the first one's start to the last one's end.

    Args:
        folder: where master and workers live meanwhile.
        programs: the `bin` folder in which `buildbot` and `buildbot-worker` are.
        repository: what is built, at commit `sha`.
    """
    master = folder / "master"
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        port = _make_master(programs, master, repository, sha, builds)
        stack.enter_context(_running(programs / "buildbot", master))
        _wait(master, "SELECT count(*) FROM buildrequests", builds, START_S)
        for number in range(WORKERS):
            worker = folder / f"worker-{number}"
            address = (f"127.0.0.1:{port}", worker.name, "secret")
            _call(programs / "buildbot-worker", "create-worker", str(worker), *address)
            stack.enter_context(_running(programs / "buildbot-worker", worker))
        _wait(master, "SELECT count(*) FROM builds", 1, START_S)
        begun = time.monotonic()
        _wait(master, "SELECT count(*) FROM builds WHERE complete_at IS NOT NULL", builds, PATIENCE_S)
        took_s = time.monotonic() - begun
        _check(master, builds)
    return builds / took_s


def _make_master(programs: Path, master: Path, repository: Path, sha: str, builds: int) -> int:
    """Make the master's folder; returns the port for its workers."""
    port = _free_port()
    _call(programs / "buildbot", "create-master", str(master))
    text = _MASTER.format(repository=str(repository), sha=sha, builds=builds, workers=WORKERS, port=port)
    (master / "master.cfg").write_text(text)
    return port


def _free_port() -> int:
    """A port that nobody has now; Buildbot's workers must know it before the master says it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def _call(program: Path, *arguments: str) -> None:
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise SystemExit(f"{program.name} {arguments[0]} failed; its last words: {(done.stderr + done.stdout)[-500:]}")


@contextlib.contextmanager
def _running(program: Path, folder: Path) -> Iterator[None]:
    """Run a master or a worker in the foreground until the end of the block."""
    with (folder / "words.log").open("wb") as words:
        process = subprocess.Popen(
            [program, "start", "--nodaemon", str(folder)], stdin=subprocess.DEVNULL, stdout=words, stderr=words
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(master: Path, question: str, count: int, patience_s: float) -> None:
    until = time.monotonic() + patience_s
    while (found := _ask(master, question)) < count:
        if time.monotonic() > until:
            words = (master / "words.log").read_text(errors="replace")[-500:]
            raise SystemExit(f"Buildbot has {found} of {count} after {patience_s:.0f} s; its last words: {words}")
        time.sleep(LOOK_S)


def _check(master: Path, builds: int) -> None:
    """See that all passed: failures are quick."""
    passed = _ask(master, "SELECT count(*) FROM builds WHERE results = 0")
    if passed != builds:
        raise SystemExit(f"only {passed} of Buildbot's {builds} builds passed; see {master / 'words.log'}")


def _ask(master: Path, question: str) -> int:
    """One number from the master's database, read beside it."""
    with contextlib.closing(
        sqlite3.connect(f"file:{master / 'state.sqlite'}?mode=ro", uri=True, timeout=5)
    ) as database:
        try:
            number: int = database.execute(question).fetchone()[0]
        except sqlite3.OperationalError:
            # The master has not made its tables yet, or is writing.
            return 0
    return number
