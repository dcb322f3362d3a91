"""Makes real git repositories for tests, with a git that knows nothing of this machine's configuration."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


@dataclass(frozen=True)
class Repository:
    path: Path

    def git(self, *argv: str | bytes, stdin: bytes = b"", **variables: str) -> str:
        done = subprocess.run(
            ["git", *argv],
            cwd=self.path,
            env=ENVIRONMENT | variables,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, message: str | bytes = "A change", **files: str) -> str:
        """Commit these files (`name__py` is written `name.py`) and return the SHA."""
        for name, text in files.items():
            (self.path / name.replace("__", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "--file=-", stdin=_bytes(message))
        return self.git("rev-parse", "HEAD")

    def tree(self) -> str:
        return self.git("rev-parse", "HEAD^{tree}")

    def raw_commit(self, body: bytes) -> str:
        """Store a commit object as it stands, however odd, and return its SHA."""
        return self.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=body)


def make_repository(path: Path, *options: str) -> Repository:
    path.mkdir(parents=True, exist_ok=True)
    repository = Repository(path)
    repository.git("init", "--quiet", "--initial-branch=main", *options)
    return repository


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


@contextmanager
def serve_git(folder: Path) -> Iterator[str]:
    """A `git daemon` on loopback that serves everything below `folder`; yields its address, without a path."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ["--reuseaddr", "--export-all", f"--base-path={folder}", "--listen=127.0.0.1", f"--port={port}"]
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


def _wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "git daemon ended at once; is Debian's package `git` whole?"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "git daemon does not listen"
            time.sleep(0.01)
