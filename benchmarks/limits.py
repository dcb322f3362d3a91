"""What the parts under surveil can do at most on this machine, now: each benchmark shows its figure beside one of
these.

What belongs here: bare ZeroMQ, SQLite and disks. What does not: anything of surveil beyond its socket options.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final

import zmq

from benchmarks.helpers import HELPERS

MESSAGE_BYTES: Final = 300
BATCH: Final = 256


def rows_per_s(folder: Path, *, rows_per_commit: int, seconds: float) -> float:
    """Rows a second that bare SQLite makes durable (WAL, FULL) in commits of this size, into one indexed table."""
    database = sqlite3.connect(folder / f"rows-{rows_per_commit}.db", isolation_level=None)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 4096"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("CREATE TABLE rows (build, name, number, state, reason, at, PRIMARY KEY (build, name))")
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < seconds:
            rows = [(count + row, "test", 1, "running", "", count) for row in range(rows_per_commit)]
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", rows)
            database.execute("COMMIT")
            count += rows_per_commit
        return count / (time.perf_counter() - begun)
    finally:
        database.close()


def fsync_ms(folder: Path, *, times: int) -> list[float]:
    """How long each of so many small appends takes to be durable."""
    took = []
    with (folder / "fsync").open("ab", buffering=0) as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(b"x" * MESSAGE_BYTES)
            os.fsync(file.fileno())
            took.append((time.perf_counter() - begun) * 1000)
    return took


def write_mib_per_s(folder: Path, *, mib: int, piece_mib: int = 8) -> float:
    """MiB a second of one file written in large pieces, each made durable before the next."""
    piece = os.urandom(piece_mib * 1024 * 1024)
    path = folder / "plain"
    begun = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(max(1, mib // piece_mib)):
            file.write(piece)
            os.fdatasync(file.fileno())
    rate = max(1, mib // piece_mib) * piece_mib / (time.perf_counter() - begun)
    path.unlink()
    return rate


def round_trips_per_s(*, peers: int, in_flight: int, seconds: float) -> float:
    """ROUTER-DEALER round trips a second of small messages under CURVE, with nothing behind them.

    The ROUTER drains its socket in batches; `peers` processes keep `in_flight` messages each on the way.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    public, secret = zmq.curve_keypair()
    router = context.socket(zmq.ROUTER)
    router.setsockopt(zmq.CURVE_SERVER, 1)
    router.setsockopt(zmq.CURVE_SECRETKEY, secret)
    router.setsockopt(zmq.LINGER, 0)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    processes = [
        HELPERS.Process(target=_bounce, args=(port, public, in_flight), daemon=True) for _ in range(max(1, peers))
    ]
    for process in processes:
        process.start()
    try:
        _serve(router, 0.5)  # Until everybody is there and warm.
        begun = time.perf_counter()
        count = _serve(router, seconds)
        return count / (time.perf_counter() - begun)
    finally:
        for process in processes:
            process.terminate()
            process.join()
        context.destroy(linger=0)


def _serve(router: zmq.Socket[bytes], seconds: float) -> int:
    router.poll(10_000)
    until, count = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        router.poll(100)
        for _ in range(BATCH):
            try:
                sender = router.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            body = router.recv(zmq.NOBLOCK)
            router.send(sender, zmq.NOBLOCK | zmq.SNDMORE)
            router.send(body, zmq.NOBLOCK)
            count += 1
    return count


def _bounce(port: int, server_key: bytes, in_flight: int) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    public, secret = zmq.curve_keypair()
    dealer.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    dealer.setsockopt(zmq.CURVE_PUBLICKEY, public)
    dealer.setsockopt(zmq.CURVE_SECRETKEY, secret)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    for _ in range(in_flight):
        dealer.send(b"x" * MESSAGE_BYTES)
    while True:
        dealer.send(dealer.recv())
