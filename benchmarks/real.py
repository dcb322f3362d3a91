"""Real runners, observers and repositories for a benchmark.

What belongs here: starting the processes that users start. What does not: what is measured with them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil

from benchmarks.cluster import environment, until_online
from surveil.client.asking import Client

STOP_S: Final = 15.0
FILES: Final = 1000
FILES_A_FOLDER: Final = 50
_GIT: Final = ("git", "-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false")


def git(repository: Path, *arguments: str) -> str:
    """Run git in a repository; returns what it says."""
    done = subprocess.run(
        [*_GIT, *arguments], cwd=repository, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return done.stdout.strip()


def small_repository(path: Path, *, files: int = 1, more: Mapping[str, str] = MappingProxyType({})) -> Path:
    """A repository with one commit of so many small files, and more with these names and texts."""
    path.mkdir(parents=True)
    git(path, "init", "-q", "-b", "main")
    for number in range(files):
        file = path / f"folder-{number // FILES_A_FOLDER}" / f"file-{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"file {number}\n" * 40)
    for name, text in more.items():
        (path / name).write_text(text)
    git(path, "add", "-A")
    git(path, "commit", "-q", "-m", "first")
    return path


def commit_of(repository: Path) -> str:
    """The commit that HEAD names."""
    return git(repository, "rev-parse", "HEAD")


@contextlib.asynccontextmanager
async def real_runners(
    client: Client, folder: Path, names: Sequence[str], *, slots: int
) -> AsyncIterator[list[psutil.Process]]:
    """Runners as users start them, each with its own data folder, joined by tokens; returns their processes."""
    started: list[psutil.Process] = []
    try:
        for name in names:
            started += [await _start(client, folder / name, name, "runner", ["--slots", str(slots)])]
        await until_online(client, len(names))
        yield started
    finally:
        for process in started:
            stop_all(process)


@contextlib.asynccontextmanager
async def real_observer(
    client: Client, folder: Path, *repositories: Path | str, more: Sequence[str] = ()
) -> AsyncIterator[psutil.Process]:
    """An observer of these repositories."""
    process = await _start(client, folder / "observer", "observer", "observer", [*more, *map(str, repositories)])
    try:
        yield process
    finally:
        stop_all(process)


async def _start(client: Client, data: Path, name: str, role: str, more: Sequence[str]) -> psutil.Process:
    token = (await client.ask("token_create", {"role": role})).body["token"]
    command = [sys.executable, "-m", "surveil", role, "--data", str(data), "--name", name, *more]
    return psutil.Popen(command, env=environment({"SURVEIL_JOIN": token}), start_new_session=True)


def all_of(process: psutil.Process) -> list[psutil.Process]:
    """A process and everything that it started and that is still its child's child."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    """Send a signal to each of these that is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def stop_all(process: psutil.Process) -> None:
    """End a process and what it started: kindly, then not."""
    family = all_of(process)
    signal_all(family, signal.SIGCONT)
    signal_all(family[:1], signal.SIGINT)
    _, alive = psutil.wait_procs(family[:1], STOP_S)
    signal_all([*alive, *(each for each in family[1:] if each.is_running())], signal.SIGKILL)
    psutil.wait_procs(family, STOP_S)
    if process.pid == os.getpid():
        raise AssertionError("a benchmark does not end itself")
