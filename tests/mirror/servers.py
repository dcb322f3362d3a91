"""Real servers of git on loopback, over http and ssh, for tests; git:// is in `repositories`.

Each is a process or a thread of the test's own, and gone at its end.
"""

import os
import pwd
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from surveil.mirror.access import Access
from tests.mirror.repositories import ENVIRONMENT

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="there is no openssl here; type `apt install openssl`"
)
needs_sshd = pytest.mark.skipif(SSHD is None, reason="there is no sshd here; type `apt install openssh-server`")


# ---- http ------------------------------------------------------------------------------------------------------------


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """A test says nothing of its own."""


@contextmanager
def serving(
    handler: type[BaseHTTPRequestHandler], certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[str]:
    """A server of http, or of https with this certificate; yields its address, without a path."""
    server = ThreadingHTTPServer((host, 0), handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        # Who does not trust it says so by closing the connection, which is none of the test's output.
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def make_certificate(file: Path) -> Path:
    """A certificate of 127.0.0.1 that nobody but itself vouches for, with its key in the same file."""
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(file), "-out", f"{file}.crt"]
    subprocess.run([*request, *files], check=True, capture_output=True, timeout=60)
    file.write_text(file.read_text() + Path(f"{file}.crt").read_text())
    return file


def answering(status: int, headers: dict[str, str], body: bytes = b"") -> type[BaseHTTPRequestHandler]:
    """Always the same answer; `SELF` in a header is the server's own address."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value.replace("SELF", f"http://127.0.0.1:{self.server.server_port}"))  # type: ignore[attr-defined]
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the server's name for it

    return Handler


def backend(folder: Path, seen: list[str] | None = None, login: str = "") -> type[BaseHTTPRequestHandler]:
    """git's own server of http for everything below `folder`; `login` is the `Authorization` that it asks for, if any.

    `seen` is told the `Authorization` of each request.
    """

    class Handler(Quiet):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            if seen is not None:
                seen.append(authorization)
            if authorization != login:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            size = int(self.headers.get("Content-Length") or 0)
            variables = {
                "GIT_PROJECT_ROOT": str(folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "CONTENT_LENGTH": str(size),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            }
            answer = subprocess.run(
                ["git", "http-backend"],
                env=ENVIRONMENT | variables,
                input=self.rfile.read(size),
                capture_output=True,
                check=False,  # What it refuses it says in its answer.
                timeout=30,
            ).stdout
            head, _, body = answer.partition(b"\r\n\r\n")
            headers = [line.partition(": ")[::2] for line in head.decode().split("\r\n")]
            headers.append(("Content-Length", str(len(body))))
            status = next((value.split()[0] for name, value in headers if name == "Status"), "200")
            self.send_response(int(status))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the server's name for it

    return Handler


# ---- ssh -------------------------------------------------------------------------------------------------------------


def user() -> str:
    """Who runs the tests, as ssh takes it."""
    return pwd.getpwuid(os.geteuid()).pw_name


@dataclass(frozen=True)
class SshServer:
    """An sshd that lets in one key of one user, and what its client needs, all in one folder."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def address(self) -> str:
        """Where it is, without a path."""
        return f"ssh://{user()}@127.0.0.1:{self.port}"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def authorized_keys(self) -> Path:
        return self.folder / "authorized_keys"

    @property
    def access(self) -> Access:
        """What opens it."""
        return Access(ssh_config=self.folder / "ssh_config")

    def know(self, key: str = "host") -> None:
        """Let the client know this key of the host, and no other."""
        public = (self.folder / f"{key}.pub").read_text()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")

    def sessions(self) -> int:
        """How many connections it has."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return len(children.split())


@contextmanager
def serve_ssh(folder: Path) -> Iterator[SshServer]:
    """A real sshd on loopback with a host key, a configuration and a client of its own below `folder`."""
    assert SSHD is not None
    folder.mkdir()
    for name in ("host", "other", "client"):
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(keygen, check=True, timeout=30)
    if os.geteuid() == 0:
        # Its privileged process insists on this folder, which only a started service makes.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "AllowUsers": user(),
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    (folder / "sshd.log").touch()
    (folder / "authorized_keys").write_text((folder / "client.pub").read_text())
    (folder / "ssh_config").write_text(
        f"Host *\n  IdentityFile {folder / 'client'}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
        f"  UserKnownHostsFile {folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
    )
    process = subprocess.Popen(
        [SSHD, "-D", "-E", str(folder / "sshd.log"), "-f", str(folder / "sshd_config")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    server = SshServer(folder, port, process)
    server.know()
    try:
        _wait_until_it_listens(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _wait_until_it_listens(server: SshServer) -> None:
    deadline = time.monotonic() + 30
    while "listening" not in (server.folder / "sshd.log").read_text():
        assert server.process.poll() is None, (server.folder / "sshd.log").read_text()
        assert time.monotonic() < deadline, "sshd does not listen"
        time.sleep(0.01)
