"""Repositories and remotes that the tests of `surveil.mirror` share."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mirror.repositories import ENVIRONMENT, Repository, make_repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with one commit on main."""
    made = make_repository(tmp_path / "source")
    made.commit("First", hello__txt="hello\n")
    return made


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    """A `git daemon` on loopback that serves everything below `tmp_path`; yields its address, without a path."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["--reuseaddr", "--export-all", f"--base-path={tmp_path}", "--listen=127.0.0.1", f"--port={port}"]
    process = subprocess.Popen(
        ["git", "daemon", *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for_port(port, process)
        yield f"git://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on loopback that accepts every connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=16) as server:
        yield server.getsockname()[1]


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        assert process.poll() is None, "git daemon ended at once; is Debian's package `git` whole?"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "git daemon does not listen"
            time.sleep(0.01)
