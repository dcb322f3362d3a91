"""Files: how fast an artifact comes from a runner's work tree to the dispatcher's disk, and a cache from there into
one, beside the loopback line and the disk at their best.

`python -m benchmarks.files [--mib N]`
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any, Final

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
_PIPELINE: Final = """\
jobs:
  keep:
    artifacts: [big]
    steps: [{{run: 'head -c {count} /dev/urandom > big; sync big'}}]
  leave:
    needs: [keep]
    cache: [{{key: big, paths: [big]}}]
    steps: [{{run: 'head -c {count} /dev/urandom > big; sync big'}}]
  find:
    needs: [leave]
    cache: [{{key: big, paths: [big]}}]
    steps: [{{run: 'test $(stat -c %s big) = {count}'}}]
  idle:
    needs: [find]
    steps: [{{run: 'true'}}]
"""


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
    say_port.send(None)


def line_mib_per_s(folder: Path, *, mib: int) -> float:
    """MiB a second of a bare encrypted ZeroMQ line over loopback into one file that is durable in the end."""
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
    begun = time.perf_counter()
    for _ in range(mib * MIB // CHUNK_BYTES_MAX):
        socket.send(piece)
    ours.recv()
    took_s = time.perf_counter() - begun
    socket.close(0)
    process.join()
    (folder / "line").unlink()
    return mib / took_s


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


async def files(folder: Path, mib: int) -> tuple[float, float]:
    """MiB a second from the last step's end to the verdict on disk, of an artifact; and from the order to the first
    step, of a cache, less what a job without one takes for that.
    """
    data = folder / "data"
    repository = small_repository(folder / "repository")
    about = submission(0, _PIPELINE.format(count=mib * MIB))
    about |= {"repo": str(repository), "sha": commit_of(repository)}
    with dispatching(data):
        async with client_of(data) as client, real_runners(client, folder, ["files"], slots=1):
            jobs = await _build(client, about)
    last = {name: job["attempts"][-1] for name, job in jobs.items()}
    up_s = _between_s(last["keep"]["steps"][-1]["finished_at"], jobs["keep"]["finished_at"])
    down_s, idle_s = (_between_s(last[name]["assigned_at"], last[name]["started_at"]) for name in ("find", "idle"))
    return mib / up_s, mib / max(down_s - idle_s, 0.001)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.files", description="Artifacts and caches, beside line and disk.")
    parser.add_argument("--mib", type=int, default=512)
    options = parser.parse_args(arguments)
    with scratch() as folder:
        disk = write_mib_per_s(folder, mib=options.mib)
        line = line_mib_per_s(folder, mib=options.mib)
        up, down = asyncio.run(files(folder, options.mib))
        again = line_mib_per_s(folder, mib=options.mib)
    best = min(disk, max(line, again))
    say(f"fsynced writes: {disk:.0f} MiB/s; an encrypted line into a file: {line:.0f} and {again:.0f} MiB/s")
    say(f"artifact kept: {up:.0f} MiB/s; cache restored: {down:.0f} MiB/s")
    figure = Figure(
        what="artifact kept, cache restored",
        value=f"{up:.0f} and {down:.0f} MiB/s",
        limit=f"{best:.0f} MiB/s",
        ratio=min(up, down) / best,
        target=f"{SHARE_TARGET:.0%} of line and disk",
        met=min(up, down) >= SHARE_TARGET * best,
    )
    say(str(figure))


if __name__ == "__main__":
    main()
