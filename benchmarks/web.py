"""The web role over a dispatcher's folder, the framework alone, and whoever asks them.

What belongs here: starting them, ending them, and requests. What does not: what is asked, and what it is held against
(`pages`).
"""

from __future__ import annotations

import contextlib
import http.client
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.cluster import environment
from surveil.store.passes import Kind
from surveil.web.links import make_pass
from surveil.web.visitors import COOKIE
from surveil.web.whereabouts import served_at

START_S: Final = 60.0
_HOUR_MS: Final = 3_600_000


@dataclass(slots=True)
class Web:
    """A server of pages, and who asks it: `pass_` is sent with each request."""

    pid: int
    port: int
    headers: dict[str, str]

    def connect(self) -> Connection:
        """A connection that is kept."""
        return Connection(self)


class Connection:
    """Requests one after the other."""

    def __init__(self, web: Web) -> None:
        self._kept = http.client.HTTPConnection("127.0.0.1", web.port, timeout=60)
        self._headers = web.headers

    def get(self, path: str) -> bytes:
        """The body of an answer."""
        self._kept.request("GET", path, headers=self._headers)
        answer = self._kept.getresponse()
        body = answer.read()
        if answer.status != 200:  # noqa: PLR2004  # HTTP's own number
            raise SystemExit(f"{path} was answered with {answer.status}: {body[:300]!r}")
        return body

    def wire_bytes(self, path: str) -> int:
        """How many bytes of a file travel."""
        self._kept.request("GET", path, headers={**self._headers, "accept-encoding": "gzip"})
        answer = self._kept.getresponse()
        return len(answer.read())


@contextlib.contextmanager
def web_of(data: Path) -> Iterator[Web]:
    """The web role over a dispatcher's folder, between its start and its end."""
    command = [sys.executable, "-m", "surveil", "web", "--data", str(data), "--http", "127.0.0.1:0"]
    # One reader stands for many here, and none is told to come again later.
    process = subprocess.Popen(command, env=environment({"SURVEIL_REQUEST_RATE": "0"}), start_new_session=True)
    try:
        until = time.monotonic() + START_S
        while (address := served_at(data)) is None:
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit("the web role of the benchmark does not come up")
            time.sleep(0.02)
        now = time.time_ns() // 1_000_000
        session = make_pass(data, Kind.SESSION, person="bench", scope="read", now=now, lasts_ms=_HOUR_MS)
        token = make_pass(data, Kind.TOKEN, person="bench", scope="read", now=now, lasts_ms=_HOUR_MS)
        port = int(address.rpartition(":")[2])
        headers = {"cookie": f"{COOKIE}={session}", "authorization": f"Bearer {token}"}
        yield Web(pid=process.pid, port=port, headers=headers)
    finally:
        end(process)


@contextlib.contextmanager
def bare_of(folder: Path, document: bytes) -> Iterator[Web]:
    """The framework with this document and nothing else."""
    file = folder / "document.json"
    file.write_bytes(document)
    with bare_at(file) as bare:
        yield bare


@contextlib.contextmanager
def bare_at(place: Path) -> Iterator[Web]:
    """The framework alone over a dispatcher's folder, or with a document (see `bare`)."""
    command = [sys.executable, "-m", "benchmarks.bare", str(place)]
    process = subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None, "it is a pipe"
        yield Web(pid=process.pid, port=int(process.stdout.readline()), headers={})
    finally:
        end(process)


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End a process and wait for its end."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def weigh(connection: Connection, page: bytes) -> int:
    """Bytes of a page with all that it loads."""
    files = {*re.findall(rb'(?:src|href)="(/static/[^"]+)"', page)}
    return len(page) + sum(connection.wire_bytes(file.decode()) for file in files)
