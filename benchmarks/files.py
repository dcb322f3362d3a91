"""Files: how fast an artifact comes from a runner's work tree to the dispatcher's disk, and a cache from there into
one, beside the loopback line and the disk at their best.

`python -m benchmarks.files [--mib N]`
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
import zmq

from benchmarks.cluster import client_of, dispatching, scratch, submission
from benchmarks.figures import MIB, Figure, say
from benchmarks.limits import write_mib_per_s
from benchmarks.real import commit_of, real_runners, small_repository
from surveil.client.asking import Client
from surveil.client.following import follow_build
from surveil.protocol import CHUNK_BYTES_MAX

SHARE_TARGET: Final = 0.7
PATIENCE_S: Final = 600.0
_SPAWN: Final = multiprocessing.get_context("spawn")
"""The other end of the bare line counts its own processor time from its start, so it has to start there."""
_KEEP: Final = """\
jobs:
  keep:
    artifacts: [big]
    steps: [{{run: 'head -c {count} /dev/urandom > big; sync big'}}]
"""
_LEAVE: Final = """\
jobs:
  leave:
    cache: [{{key: "big-{number}", paths: [big]}}]
    steps: [{{run: 'head -c {count} /dev/urandom > big; sync big'}}]
"""
_FIND: Final = """\
jobs:
  find:
    cache: [{{key: "big-{number}", paths: [big]}}]
    steps: [{{run: 'test $(stat -c %s big) = {count}'}}]
"""
_IDLE: Final = """\
jobs:
  idle:
    steps: [{run: 'true'}]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast so many MiB came, and what they cost all processes that took part."""

    mib: int
    wall_s: float
    cpu_s: float

    @property
    def mib_per_s(self) -> float:
        """By the clock."""
        return self.mib / self.wall_s

    @property
    def cpu_ms_per_mib(self) -> float:
        """By the processors."""
        return 1000 * self.cpu_s / self.mib


def _receive(path: str, count: int, say_port: Pipe) -> None:
    """Take so many bytes from an encrypted line, and have them on the platter."""
    socket: zmq.Socket[bytes] = zmq.Context().socket(zmq.PULL)
    public, secret = zmq.curve_keypair()
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    say_port.send((socket.bind_to_random_port("tcp://127.0.0.1"), public))
    left = count
    with Path(path).open("wb", buffering=0) as file:
        while left > 0:
            data = socket.recv()
            file.write(data)
            left -= len(data)
        os.fsync(file.fileno())
    say_port.send(time.process_time())


def line(folder: Path, *, mib: int) -> Rate:
    """A bare encrypted ZeroMQ line over loopback into one file that is durable in the end."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_receive, args=(str(folder / "line"), mib * MIB, theirs))
    process.start()
    port, server_key = ours.recv()
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
    public, secret = zmq.curve_keypair()
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.connect(f"tcp://127.0.0.1:{port}")
    piece = os.urandom(CHUNK_BYTES_MAX)
    begun, cpu_s = time.perf_counter(), time.process_time()
    for _ in range(mib * MIB // CHUNK_BYTES_MAX):
        socket.send(piece)
    theirs_s = ours.recv()
    took_s, cpu_s = time.perf_counter() - begun, time.process_time() - cpu_s + theirs_s
    socket.close(0)
    process.join()
    (folder / "line").unlink()
    return Rate(mib=mib, wall_s=took_s, cpu_s=cpu_s)


async def _build(client: Client, about: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Build it to its end; its jobs by name."""
    build = (await client.ask("submit", about)).body["build"]
    async with asyncio.timeout(PATIENCE_S):
        async for _ in follow_build(client, build):
            pass  # What happens meanwhile does not matter here.
    document = await client.build(build)
    if document["state"] != "passed":
        raise SystemExit(f"the build {document['state']}: {document['reason']}")
    return {job["name"]: job for job in document["jobs"]}


def _between_s(first: str, last: str) -> float:
    """Seconds between two times as they are printed."""
    minutes = [int(text[11:13]) * 60 + int(text[14:16]) for text in (first, last)]
    seconds = [minute * 60 + float(text[17:23]) for minute, text in zip(minutes, (first, last), strict=True)]
    return (seconds[1] - seconds[0]) % 86_400


class _Cluster:
    """A dispatcher and one runner, and what they did with a pipeline."""

    def __init__(self, client: Client, repository: Path, processes: Sequence[psutil.Process]) -> None:
        self._client = client
        self._repository = repository
        self._processes = processes
        self._numbers = itertools.count()

    async def build(self, pipeline: str) -> tuple[dict[str, Any], float]:
        """The one job of a build, and what it cost the processors here."""
        before_s = self._cpu_s()
        about = submission(next(self._numbers), pipeline)
        about |= {"repo": str(self._repository), "sha": commit_of(self._repository)}
        (job,) = (await _build(self._client, about)).values()
        return job, self._cpu_s() - before_s

    def _cpu_s(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return sum(each.user + each.system for each in times)


async def files(cluster: _Cluster, number: int, mib: int) -> tuple[Rate, Rate]:
    """An artifact from the last step's end to the verdict on disk; and a cache from the order to the first step, less
    what a job without one takes for that.
    """
    count = mib * MIB
    idle, idle_cpu_s = await cluster.build(_IDLE)
    keep, keep_cpu_s = await cluster.build(_KEEP.format(count=count))
    await cluster.build(_LEAVE.format(count=count, number=number))
    find, find_cpu_s = await cluster.build(_FIND.format(count=count, number=number))
    up_s = _between_s(keep["attempts"][-1]["steps"][-1]["finished_at"], keep["finished_at"])
    down_s, idle_s = (
        _between_s(job["attempts"][-1]["assigned_at"], job["attempts"][-1]["started_at"]) for job in (find, idle)
    )
    return (
        Rate(mib=mib, wall_s=up_s, cpu_s=max(keep_cpu_s - idle_cpu_s, 0.01)),
        Rate(mib=mib, wall_s=max(down_s - idle_s, 0.001), cpu_s=max(find_cpu_s - idle_cpu_s, 0.01)),
    )


async def rounds(folder: Path, mib: int, count: int) -> list[tuple[Rate, Rate, Rate]]:
    """The line, an artifact and a cache in turns, so that whatever else the machine does meets all of them."""
    data = folder / "data"
    repository = small_repository(folder / "repository")
    found = []
    with dispatching(data) as dispatcher:
        async with client_of(data) as client, real_runners(client, folder, ["files"], slots=1) as runners:
            cluster = _Cluster(client, repository, [psutil.Process(dispatcher.pid), *runners])
            for number in range(count):
                bare = await asyncio.to_thread(line, folder, mib=mib)
                up, down = await files(cluster, number, mib)
                found.append((bare, up, down))
                say(
                    f"line {bare.mib_per_s:.0f}, artifact {up.mib_per_s:.0f}, cache {down.mib_per_s:.0f} MiB/s; "
                    f"{bare.cpu_ms_per_mib:.1f}, {up.cpu_ms_per_mib:.1f}, {down.cpu_ms_per_mib:.1f} ms of CPU a MiB"
                )
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.files", description="Artifacts and caches, beside line and disk.")
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with scratch() as folder:
        disk = write_mib_per_s(folder, mib=options.mib)
        found = asyncio.run(rounds(folder, options.mib, options.rounds))
    say(f"fsynced writes: {disk:.0f} MiB/s")
    ups, downs = ([one[at].mib_per_s for one in found] for at in (1, 2))
    limits = [min(disk, bare.mib_per_s) for bare, _, _ in found]
    ratio = median(min(up, down) / limit for up, down, limit in zip(ups, downs, limits, strict=True))
    figure = Figure(
        what="artifact kept, cache restored",
        value=f"{median(ups):.0f} and {median(downs):.0f} MiB/s",
        limit=f"{median(limits):.0f} MiB/s",
        ratio=ratio,
        target=f"{SHARE_TARGET:.0%} of line and disk",
        met=ratio >= SHARE_TARGET,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
