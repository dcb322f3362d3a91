"""nginx and Caddy on loopback, each with the example of the how-to and a folder of its own.

What belongs here: starting them as whoever reads the how-to would, with other ports and a certificate of the test's
own. What does not: what is asked through them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.mirror.servers import make_certificate

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "how-to" / "proxies"
PATIENCE_S: Final = 60
NGINX: Final = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
CADDY: Final = shutil.which("caddy")
_SURVEIL: Final = "127.0.0.1:7380"
_CERTIFICATE: Final = "/etc/ssl/certs/ci.example.org.pem"
_KEY: Final = "/etc/ssl/private/ci.example.org.key"


class Proxy:
    """Where it will listen. `certificate` is also what vouches for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate = make_certificate(folder / "certificate.pem")
        self.plain, self.port = _free(), _free()

    @property
    def url(self) -> str:
        """Where people reach the pages."""
        return f"https://127.0.0.1:{self.port}/ci"


@contextmanager
def nginx(proxy: Proxy, surveil: str, *, strips: bool = False) -> Iterator[None]:
    """It runs; it `strips` the prefix where a path stands after the port, as in many other examples."""
    if NGINX is None:
        pytest.skip("there is no nginx here: type `apt install nginx-light`")
    example = _changed(
        "nginx.conf",
        {
            "listen 443 ssl http2": f"listen 127.0.0.1:{proxy.port} ssl http2",
            "listen 80;": f"listen 127.0.0.1:{proxy.plain};",
            "server_name ci.example.org": "server_name 127.0.0.1",
            "308 https://ci.example.org": f"308 https://127.0.0.1:{proxy.port}",
            f"proxy_pass http://{_SURVEIL};": f"proxy_pass http://{surveil}{'/' if strips else ''};",
            _CERTIFICATE: str(proxy.certificate),
            _KEY: str(proxy.certificate),
        },
    )
    own = [f"{name}_temp_path {proxy.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    whole = proxy.folder / "nginx.conf"
    whole.write_text(
        f"daemon off; master_process off; pid {proxy.folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {' '.join(own)}\n{example}\n}}\n"
    )
    with _running([NGINX, "-e", "stderr", "-p", str(proxy.folder), "-c", str(whole)], proxy, {}):
        yield


@contextmanager
def caddy(proxy: Proxy, surveil: str) -> Iterator[None]:
    """It runs."""
    if CADDY is None:
        pytest.skip("there is no caddy here: type `apt install caddy`")
    example = _changed(
        "Caddyfile",
        {
            "ci.example.org {": "127.0.0.1 {",
            f"reverse_proxy {_SURVEIL}": f"reverse_proxy {surveil}",
            _CERTIFICATE: str(proxy.certificate),
            _KEY: str(proxy.certificate),
        },
    )
    whole = proxy.folder / "Caddyfile"
    whole.write_text(
        f"{{\n\tadmin off\n\thttp_port {proxy.plain}\n\thttps_port {proxy.port}\n\tskip_install_trust\n"
        f"\tdefault_bind 127.0.0.1\n}}\n{example}"
    )
    homes = {
        "HOME": str(proxy.folder),
        "XDG_DATA_HOME": f"{proxy.folder}/data",
        "XDG_CONFIG_HOME": f"{proxy.folder}/config",
    }
    with _running([CADDY, "run", "--config", str(whole), "--adapter", "caddyfile"], proxy, homes):
        yield


def _changed(name: str, about: Mapping[str, str]) -> str:
    """The example, for this machine; everything that is to be changed is in it."""
    text = (EXAMPLES / name).read_text()
    for old, new in about.items():
        assert old in text, f"{name} has no {old!r} any more"
        text = text.replace(old, new)
    return text


@contextmanager
def _running(command: list[str], proxy: Proxy, environment: Mapping[str, str]) -> Iterator[None]:
    with (proxy.folder / "output").open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], **environment},
        )
        try:
            for port in (proxy.port, proxy.plain):
                _wait_for(port, process, proxy.folder / "output")
            yield
        except Exception as error:  # Whatever fails is told of, and fails.
            error.add_note(f"{Path(command[0]).name} said:\n{(proxy.folder / 'output').read_text()}")
            raise
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def _wait_for(port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < until, output.read_text()
            time.sleep(0.05)
        else:
            return


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
