"""A RabbitMQ of one's own on loopback: its own node, ports and folders, gone with the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
PATIENCE_S = 200


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


class Broker:
    """A server that takes messages, until `close`."""

    def __init__(self, folder: Path) -> None:
        self.port, names = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        (folder / "plugins").write_text("[].")
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\n")
        environment = {
            "HOME": str(folder), "PATH": os.environ["PATH"],
            "ERL_EPMD_PORT": str(names), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"surveil-{os.getpid()}@localhost", "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"), "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_LOGS": "-", "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1}",
        }  # fmt: skip
        epmd = shutil.which("epmd")
        if not SERVER.exists() or epmd is None:
            pytest.skip("there is no RabbitMQ here: type `apt install rabbitmq-server`")
        # The server would leave one behind.
        self._names = subprocess.Popen([epmd], env=environment)
        self._log = (folder / "out").open("wb")
        self._server = subprocess.Popen(
            [SERVER], env=environment, stdout=self._log, stderr=self._log, start_new_session=True
        )  # fmt: skip
        until = time.monotonic() + PATIENCE_S
        while not self._answers():
            if self._server.poll() is not None or time.monotonic() > until:
                self.close()
                raise AssertionError((folder / "out").read_text()[-4000:])
            time.sleep(0.1)

    def close(self) -> None:
        if self._server.poll() is None:
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait(30)
        self._names.kill()
        self._names.wait(30)
        self._log.close()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as asked:
                asked.sendall(b"AMQP\x00\x00\x09\x01")
                return asked.recv(1) == b"\x01"
        except OSError:
            return False
