"""What watching many repositories takes while nothing is pushed: processor time and memory of an observer, for folders
of this machine and for a `git daemon`, each repository looked at every 10 s.

`python -m benchmarks.watch [--local N] [--remote N] [--seconds S] [--big]`
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.cluster import client_of, dispatching, scratch
from benchmarks.figures import Figure, Usage, say
from benchmarks.real import commit_of, git, real_observer, small_repository
from surveil.core.observe_model import Record
from surveil.hands.records import Records

INTERVAL_S: Final = 10
BIG: Final = 1000
LOCAL_SHARE_TARGET: Final = 0.05
REMOTE_SHARE_TARGET: Final = 1.0
START_S: Final = 60.0
LISTEN_S: Final = 10.0
SAMPLE: Final = 20


def many_repositories(folder: Path, count: int) -> tuple[list[Path], str]:
    """Bare repositories with one commit, each a folder of its own, and that commit."""
    source = small_repository(folder / "source")
    git(folder, "clone", "-q", "--bare", "--no-local", str(source), str(folder / "template"))
    shutil.rmtree(folder / "template" / "hooks", ignore_errors=True)
    made = [folder / "many" / f"repository-{number:04d}.git" for number in range(count)]
    for path in made:
        shutil.copytree(folder / "template", path)
    return made, commit_of(source)


def remember(data: Path, repos: Sequence[str], sha: str) -> None:
    """Let an observer know all of them already, so that it has nothing to report."""
    records = Records(data / "refs")
    for repo in repos:
        refs = {"refs/heads/main": sha}
        records.write(Record(repo=repo, patterns=("refs/heads/*",), head_owed=False, refs=refs))


@contextlib.contextmanager
def git_daemon(folder: Path) -> Iterator[str]:
    """A server of git:// for everything below a folder; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["git", "daemon", "--reuseaddr", "--export-all", f"--base-path={folder}", "--max-connections=0"]
    process = subprocess.Popen(
        [*command, "--listen=127.0.0.1", f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + LISTEN_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                if time.monotonic() > until:
                    raise SystemExit("git daemon does not listen") from None
                time.sleep(0.01)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def measure(
    folder: Path, repos: Sequence[str], sha: str, *, seconds: float, settle_s: float
) -> tuple[float, float]:
    """The share of a core that an observer and its gits take, and its resident memory in MiB."""
    data = folder / "dispatcher"
    remember(folder / "observer", repos, sha)
    with dispatching(data):
        async with (
            client_of(data) as client,
            real_observer(client, folder, *repos, more=["--interval", f"{INTERVAL_S}s"]) as process,
        ):
            async with asyncio.timeout(START_S):
                # Nothing tells of it but the dispatcher, when it is asked.
                while len((await client.ask("status")).body["watching"]) < len(repos):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            # The first look at each reads everything; later ones do not.
            await asyncio.sleep(settle_s)
            usage = Usage(process.pid, with_children=True)
            await asyncio.sleep(seconds)
            share, memory = usage.share(), usage.rss_mib()
            problems = [each for each in (await client.ask("status")).body["watching"] if each["problem"]]
    if problems:
        raise SystemExit(f"{len(problems)} repositories could not be read: {problems[0]['problem']}")
    return share, memory


def share_of_stat(paths: Sequence[Path]) -> float:
    """The share of a core that one look each at five files of every repository takes, by the plainest program."""
    begun = time.process_time()
    for path in paths:
        for name in ("HEAD", "packed-refs", "config", "refs/heads", "refs/tags"):
            with contextlib.suppress(OSError):
                os.stat(path / name)  # noqa: PTH116  # this is the limit, so nothing around it
    return (time.process_time() - begun) / INTERVAL_S


def share_of_git(repos: Sequence[str]) -> float:
    """The share of a core that `git ls-remote` takes for all of them, from a sample."""
    sample = repos[:SAMPLE]
    # `os.times` counts in hundredths of a second, which is more than a few gits take.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for repo in sample:
        subprocess.run(["git", "ls-remote", repo], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent / len(sample) * len(repos) / INTERVAL_S


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.watch", description="Watching many repositories.")
    parser.add_argument("--local", type=int, default=BIG)
    parser.add_argument("--remote", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--settle", type=float, default=INTERVAL_S, help="seconds that the first looks may take")
    parser.add_argument("--big", action="store_true", help=f"{BIG} over git:// as well")
    options = parser.parse_args(arguments)
    remote = BIG if options.big else options.remote
    with scratch() as folder:
        made, sha = many_repositories(folder, max(options.local, remote))
        paths = made[: options.local]
        plain = share_of_stat(paths)
        how = {"seconds": options.seconds, "settle_s": options.settle}
        local, local_mib = asyncio.run(measure(folder / "local", [str(path) for path in paths], sha, **how))
        say(f"{len(paths)} local repositories: {local:.2%} of a core, {local_mib:.0f} MiB; stat alone {plain:.2%}")
        with git_daemon(folder / "many") as server:
            repos = [f"{server}/{path.name}" for path in made[:remote]]
            by_hand = share_of_git(repos)
            share, mib = asyncio.run(measure(folder / "remote", repos, sha, **how))
    say(f"{remote} over git://: {share:.1%} of a core, {mib:.0f} MiB; git ls-remote by hand {by_hand:.1%}")
    scaled_local, scaled = local * BIG / len(paths), share * BIG / remote
    figure = Figure(
        what=f"watching {BIG} repositories every {INTERVAL_S} s, local and git://",
        value=f"{scaled_local:.1%} of a core{_scaled(len(paths))}, {scaled:.0%}{_scaled(remote)}; {local_mib:.0f} MiB",
        limit=f"{plain * BIG / len(paths):.1%} for stat alone, {by_hand * BIG / remote:.0%} for git ls-remote alone",
        ratio=share / by_hand,
        target=f"{LOCAL_SHARE_TARGET:.0%}, {REMOTE_SHARE_TARGET:.0%}",
        met=scaled_local < LOCAL_SHARE_TARGET and scaled < REMOTE_SHARE_TARGET,
    )
    say(str(figure))


def _scaled(count: int) -> str:
    return "" if count == BIG else f" (from {count})"


if __name__ == "__main__":
    main()
