"""A registry of our own on loopback, which asks for a user and a password: its data lie below one folder."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import docker
import pytest

PACKAGES: Final = "apt install docker-registry"
USER: Final = "ci"
PASSWORD: Final = "pass:word"
_HASH: Final = "$2b$05$abcdefghijklmnopqrstuuDIEddBSuRWBBEY6g5zv60IAP5bSSfki"
"""The password, as the registry wants it."""
PATIENCE_S: Final = 60.0


@contextlib.contextmanager
def private_registry(folder: Path) -> Iterator[str]:
    """Its host and port."""
    if shutil.which("docker-registry") is None:
        pytest.skip(f"type `{PACKAGES}`")
    with socket.create_server(("127.0.0.1", 0)) as found:
        host = f"127.0.0.1:{found.getsockname()[1]}"
    (folder / "users").write_text(f"{USER}:{_HASH}\n")
    (folder / "config.yml").write_text(
        f"{{version: 0.1, log: {{level: error}}, storage: {{filesystem: {{rootdirectory: {folder}/kept}}}}, "
        f"http: {{addr: '{host}'}}, auth: {{htpasswd: {{realm: here, path: {folder}/users}}}}}}\n"
    )
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "docker-registry", "serve", folder / "config.yml"],
            stdout=log,
            stderr=log,
        ) as process,
    ):
        try:
            _wait(host, process, folder / "log")
            yield host
        finally:
            process.terminate()


def push(api: docker.APIClient, image: str, name: str) -> None:
    """Put an image of an engine into the registry of its new name, and take that name from the engine again."""
    repository, _, tag = name.rpartition(":")
    api.tag(image, repository, tag)
    said = list(
        api.push(repository, tag, stream=True, decode=True, auth_config={"username": USER, "password": PASSWORD})
    )
    assert not any("error" in line for line in said), said
    api.remove_image(name)


def _wait(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    address, port = host.split(":")
    until = time.monotonic() + PATIENCE_S
    while True:
        with socket.socket() as asked:
            if asked.connect_ex((address, int(port))) == 0:
                return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.02)
