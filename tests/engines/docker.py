"""A Docker engine of our own: its socket, data and processes lie below one folder, and nothing of it is left.

What belongs here: starting, striking and stopping it. What does not: images (`images`), and what is tested with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import docker

PROGRAM: Final = "/usr/sbin/dockerd"
PACKAGES: Final = "apt install docker.io busybox-static"
PATIENCE_S: Final = 60.0


def missing() -> str:
    """Why there can be no engine here, with what to type; empty if there can."""
    if os.geteuid() != 0:
        return "an engine is started by root only; run the tests as root"
    if not Path(PROGRAM).exists() or shutil.which("busybox") is None:
        return f"type `{PACKAGES}`"
    return ""


class Docker:
    """One engine below `folder`, which must be short: a socket's path has at most 107 bytes."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder = folder
        self.address = f"unix://{folder}/docker.sock"
        self._words = words
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        root = self.folder
        command, environment = self._command()
        # What was killed with the engine before may be dead and not yet collected: it would be waited for.
        (root / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)
        with (root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # Whoever starts it lives as long as all tests, so the engine does not end too early.
                ["setpriv", "--pdeathsig", "TERM", *command], env=os.environ | environment,
                # Podman's helpers leave notes in the folder in which they are.
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=root,
            )  # fmt: skip
        until = time.monotonic() + PATIENCE_S
        while not self._listens():
            assert self._process.poll() is None, (root / "log").read_text()[-4000:]
            assert time.monotonic() < until, (root / "log").read_text()[-4000:]
            time.sleep(0.05)
        with contextlib.closing(self.api()) as api:
            api.ping()

    def _command(self) -> tuple[list[str], dict[str, str]]:
        """What starts it, and what it is to have in its environment."""
        root = self.folder
        (root / "config.json").write_text("{}")
        return [
            PROGRAM, "-H", self.address, "--data-root", f"{root}/data", "--exec-root", f"{root}/exec",
            "--pidfile", f"{root}/pid", "--config-file", f"{root}/config.json", "--bridge", "none",
            "--iptables=false", "--ip6tables=false", "--log-level", "warn", *self._words,
        ], {}  # fmt: skip

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as asked:
            return asked.connect_ex(self.address.removeprefix("unix://")) == 0

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it as with this signal, and wait for that."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None

    def signal(self, number: int) -> None:
        """Strike it with a signal that it outlives."""
        assert self._process is not None, "it runs"
        self._process.send_signal(number)

    def api(self) -> docker.APIClient:
        """A client; close it."""
        return docker.APIClient(base_url=self.address, version="auto")

    def inspect(self, name: str) -> dict[str, Any]:
        """All that it knows of a container."""
        with contextlib.closing(self.api()) as api:
            return dict(api.inspect_container(name))

    def names(self) -> list[str]:
        """What its containers are called, running or not."""
        with contextlib.closing(self.api()) as api:
            return sorted(one["Names"][0].removeprefix("/") for one in api.containers(all=True))

    def running(self) -> list[str]:
        """What those of its containers are called that run."""
        with contextlib.closing(self.api()) as api:
            return sorted(one["Names"][0].removeprefix("/") for one in api.containers())

    def close(self) -> None:
        """Stop it, and leave nothing: no process, no mount, no folder."""
        if self._listens():
            with contextlib.closing(self.api()) as api:
                for one in api.containers(all=True):
                    with contextlib.suppress(docker.errors.APIError):
                        api.remove_container(one["Id"], force=True, v=True)
        self.stop()
        for pid in _processes_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for point in sorted(_mounts_below(self.folder), reverse=True):
            subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def _processes_of(folder: Path) -> list[int]:
    """The engine's helpers, which are named after its folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and os.fsencode(folder) in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return [pid for pid in found if pid != os.getpid()]


def _mounts_below(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    points = [line.split()[4] for line in lines]
    return [point for point in points if point.startswith(f"{folder}/")]
