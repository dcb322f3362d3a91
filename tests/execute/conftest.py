"""Real keepers in folders of their own, and the promise that no test leaves a process behind."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from surveil.clock import boot_ms
from surveil.execute import files, processes
from surveil.execute.environment import job_environment, step_orders
from surveil.execute.isolation.isolating import UNKEPT, Isolation, find
from surveil.execute.keeper.entrusted import NOTHING, Entrusted, folder_for
from surveil.execute.logs.spool import SpoolReader
from surveil.execute.nursery import Nursery, launch
from surveil.execute.workspace import Workspace
from surveil.protocol import JobSpec, StepSpec
from tests.engines.fixtures import docker_engine, serving

PATIENCE_S = 60.0
__all__ = ["docker_engine", "serving"]
"""Fixtures of others that tests here use as well."""


def job(
    *runs: str,
    timeout_ms: int = 60_000,
    step_timeout_ms: int = 0,
    shell: str = "",
    env: dict[str, str] | None = None,
    continue_on_error: bool = False,
) -> JobSpec:
    """A job of steps called s0, s1 and so on, all of one kind."""
    steps = tuple(
        StepSpec(
            name=f"s{index}", run=run, shell=shell, timeout_ms=step_timeout_ms, continue_on_error=continue_on_error,
            env=env or {},
        )
        for index, run in enumerate(runs)
    )  # fmt: skip
    return JobSpec(name="job", env={"FROM_JOB": "1"}, timeout_ms=timeout_ms, steps=steps, matrix={})


def make_repository(path: Path) -> str:
    """A repository with one commit that holds the file `hello`; return the commit."""
    path.mkdir()
    env = {
        **os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
    }  # fmt: skip
    (path / "hello").write_text("hello\n")
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "One"]):
        subprocess.run(["git", *words], cwd=path, env=env, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=path, env=env, check=True, capture_output=True, text=True)
    return head.stdout.strip()


@dataclass
class Kept:
    """One attempt under a real keeper."""

    root: Path
    nursery: Nursery
    isolation: Isolation = UNKEPT
    folder: Path = field(init=False)
    workspace: Workspace = field(init=False)
    bell: int = field(init=False)
    control: int = field(init=False)
    pidfd: int = field(init=False)

    def start(
        self,
        spec: JobSpec,
        *,
        lease_ms: int | None = None,
        log_bytes_max: int = 1 << 30,
        secrets: Entrusted = NOTHING,
        tree: bool = True,
    ) -> None:
        self.folder = self.root / "attempt"
        self.folder.mkdir()
        self.workspace = Workspace.below(self.root / "space")
        self.workspace.make(spec)
        if tree:
            self.workspace.work.mkdir()
        os.mkfifo(self.root / "bell")
        self.bell = os.open(self.root / "bell", os.O_RDWR | os.O_NONBLOCK)
        os.mkfifo(self.folder / files.CONTROL)
        self.control = os.open(self.folder / files.CONTROL, os.O_RDWR | os.O_NONBLOCK)
        environment = job_environment(
            spec, self.workspace, build="7", job="job", attempt=1, repo="r", ref="refs/heads/main", sha="a" * 40,
            event="push", runner="spare",
        )  # fmt: skip
        now = boot_ms()
        order = files.Order(
            cwd=str(self.workspace.work),
            steps=step_orders(spec, self.workspace, environment),
            timeout_ms=spec.timeout_ms,
            accepted_boot_ms=now,
            lease_until_boot_ms=None if lease_ms is None else now + lease_ms,
            log_bytes_max=log_bytes_max,
            bell=str(self.root / "bell"),
            isolation=self.isolation.name,
            sandbox=self.isolation.argv(self.workspace, self.memory if secrets.files else ""),
            cgroups=self.isolation.limits.folders(self.group),
            memory_bytes=self.isolation.limits.memory_bytes,
            processes=self.isolation.limits.processes,
            secrets=self.memory if secrets.files else "",
            outputs=str(self.workspace.outputs),
        )
        self.pidfd = launch(self.nursery, self.folder, order, lambda: secrets)

    @property
    def memory(self) -> str:
        """The folder for its secrets."""
        return folder_for(self.group)

    @property
    def group(self) -> str:
        """The name of its control groups."""
        return f"test-{os.getpid()}-{self.root.name}"

    def say(self, line: str) -> None:
        os.write(self.control, f"{line}\n".encode())

    @property
    def pid(self) -> int:
        return int((self.folder / files.LOCK).read_text())

    def wait(self) -> files.Status:
        """Wait for the keeper's end and return its word."""
        ready, _, _ = select.select([self.pidfd], [], [], PATIENCE_S)
        assert ready, "the keeper did not end"
        status = files.read_status(str(self.folder))
        assert status is not None
        return status

    def log(self) -> bytes:
        if not (self.folder / files.SPOOL).exists():
            return b""
        reader = SpoolReader(str(self.folder / files.SPOOL))
        log, length = bytearray(), reader.look()
        while (chunk := reader.read(len(log), length)) is not None:
            log += chunk.data
        reader.close()
        return bytes(log)

    def wait_for_log(self, words: bytes) -> None:
        """Wait for the bell until the log holds `words`."""
        until = time.monotonic() + PATIENCE_S
        while words not in self.log():
            assert time.monotonic() < until, f"{words!r} is not in {self.log()!r}"
            if select.select([self.bell], [], [], 1.0)[0]:
                os.read(self.bell, 4096)

    def left_behind(self) -> list[str]:
        """What still runs of it, by the folders that it knows."""
        return _left(self.workspace.root, None)

    def run(self, spec: JobSpec, **how: Any) -> files.Status:
        self.start(spec, **how)
        return self.wait()

    def close(self) -> None:
        if hasattr(self, "pidfd"):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            for descriptor in (self.bell, self.control, self.pidfd):
                os.close(descriptor)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """No test may leave a process that knows its folder, or a child of ours."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    deadline = time.monotonic() + PATIENCE_S
    while left := _left(tmp_path, before):
        if time.monotonic() > deadline:
            processes.kill_left_behind(tmp_path)
            raise AssertionError(f"left behind: {left}")
        time.sleep(0.02)


def _left(folder: Path, before: set[int] | None) -> list[str]:
    found = []
    for process in psutil.process_iter():
        mine = processes._belongs(process.pid, folder)  # noqa: SLF001  # the very rule is wanted
        try:
            child = before is not None and process.ppid() == os.getpid() and process.pid not in before
            if (mine or child) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()) or process.name())
        except psutil.Error:
            continue
    return found


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@functools.cache
def sandboxed() -> Isolation:
    """The sandbox of this machine, without which the test cannot be."""
    found = find(expose=[Path(sys.prefix)])  # Steps of tests run the Python of the tests.
    if found.sandbox is None:
        pytest.skip(f"{found.why}; type `{found.next or 'apt install bubblewrap'}`")
    return found


@pytest.fixture(params=["process", "bubblewrap"])
def isolation(request: pytest.FixtureRequest) -> Isolation:
    """Each isolation that there is: what a keeper promises does not depend on it."""
    return UNKEPT if request.param == "process" else sandboxed()


@pytest.fixture(scope="module")
def common_nursery() -> Iterator[Nursery]:
    """For tests that leave it as it was; it has begun before any of them, as none of them may leave a child."""
    nursery = Nursery()
    nursery.warm()
    yield nursery
    nursery.close()


@pytest.fixture
def kept(tmp_path: Path, common_nursery: Nursery, isolation: Isolation) -> Iterator[Kept]:
    kept = Kept(tmp_path, common_nursery, isolation)
    yield kept
    kept.close()


@pytest.fixture
def kept_alone(tmp_path: Path, nursery: Nursery, isolation: Isolation) -> Iterator[Kept]:
    """For tests that do something to the nursery."""
    kept = Kept(tmp_path, nursery, isolation)
    yield kept
    kept.close()
