"""The pages of a dispatcher for a benchmark: their process, a browser that is signed in, and a log of any size.

What belongs here: starting the real thing. What does not: what is measured with it, and readers that are played
(`readers`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from playwright.sync_api import BrowserContext

from benchmarks.cluster import Dispatcher, environment
from surveil.core.model import AttemptState, Status
from surveil.net.keys import SERVER_KEY, load_or_make_keys
from surveil.places import KEYS, LOGS
from surveil.protocol import CHUNK_BYTES_MAX
from surveil.store.logs import LogStore
from surveil.store.passes import Kind
from surveil.store.sqlite import open_store
from surveil.web.links import make_pass
from surveil.web.visitors import COOKIE
from tests.net.stage import free_ports
from tests.store.records import make_attempt, make_build, make_job, new
from tests.system.browsing import Seen, browser

START_S: Final = 30.0
STOP_S: Final = 20.0
DAY_MS: Final = 86_400_000
FLUSH_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Where pages are served, by which process, and what programs and browsers show there."""

    port: int
    pid: int
    data: Path
    session: str

    @property
    def address(self) -> str:
        """For browsers."""
        return f"http://127.0.0.1:{self.port}"

    def token(self) -> str:
        """A new one, as one may ask only so often."""
        now = time.time_ns() // 1_000_000
        return make_pass(self.data, Kind.TOKEN, person="bench", scope="read", now=now, lasts_ms=DAY_MS)

    def let_in(self, context: BrowserContext) -> None:
        """Sign a browser in."""
        context.add_cookies([{"name": COOKIE, "value": self.session, "url": self.address}])


@contextlib.contextmanager
def serving(dispatcher: Dispatcher) -> Iterator[Pages]:
    """The pages of a dispatcher, between the start and the end of their process."""
    port, now = free_ports(), time.time_ns() // 1_000_000
    command = [sys.executable, "-m", "surveil", "web", "--data", str(dispatcher.data), "--http", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, env=environment({}), start_new_session=True)
    try:
        _until_ready(port)
        kept = {"person": "bench", "scope": "read"}
        session = make_pass(dispatcher.data, Kind.SESSION, now=now, lasts_ms=DAY_MS, **kept)
        yield Pages(port=port, pid=process.pid, data=dispatcher.data, session=session)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def signed_in(pages: Pages) -> Iterator[Seen]:
    """A new browser, with nothing in its cache, that is signed in."""
    with browser() as seen:
        pages.let_in(seen.page.context)
        yield seen


def keep_logs(data: Path, *logs: tuple[int, bytes]) -> None:
    """Make a data folder with a failed build for each log: so many times these bytes, which end with a line."""
    load_or_make_keys(data / KEYS / SERVER_KEY)
    now = time.time_ns() // 1_000_000
    store = open_store(data, now=now)
    try:
        for build, (times, piece) in enumerate(logs, 1):
            attempt = make_attempt(
                build, state=AttemptState.FAILED, finished_at=now, released=True, log_bytes=times * len(piece)
            )
            job = make_job(build, state=Status.FAILED, attempt=1)
            store.commit(new(make_build(build, state=Status.FAILED), job, attempt))
    finally:
        store.close()
    for build, (times, piece) in enumerate(logs, 1):
        _write(data, f"{build}/test", times, piece)


def _write(data: Path, job: str, times: int, piece: bytes) -> None:
    kept = LogStore(data / LOGS)
    at = unflushed = 0
    try:
        for _ in range(times):
            for start in range(0, len(piece), CHUNK_BYTES_MAX):
                part = piece[start : start + CHUNK_BYTES_MAX]
                at = kept.append(job, 1, at, part, crc=crc32(part), after_ms=0)
                unflushed += len(part)
            if unflushed > FLUSH_BYTES:
                kept.flush()
                unflushed = 0
        kept.flush()
        kept.finish(job, 1, at)
    finally:
        kept.close()


def _until_ready(port: int) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:
            if time.monotonic() > until:
                raise SystemExit("the pages of the benchmark do not come up") from None
            time.sleep(0.02)
