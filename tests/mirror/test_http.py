"""Remotes over HTTP that are well, refuse, lie, or lead elsewhere."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from surveil.mirror.address import parse
from surveil.mirror.mirror import Mirror
from surveil.mirror.trouble import MirrorError, Trouble
from tests.mirror.repositories import ENVIRONMENT, Repository


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


class Quiet(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """A test says nothing of its own."""


def answering(status: int, headers: dict[str, str], body: bytes = b"") -> type[BaseHTTPRequestHandler]:
    class Handler(Quiet):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(body))}).items():
                self.send_header(name, value.replace("SELF", f"http://127.0.0.1:{self.server.server_port}"))  # type: ignore[attr-defined]
            self.end_headers()
            self.wfile.write(body)

    return Handler


def backend(folder: Path, seen: list[str]) -> type[BaseHTTPRequestHandler]:
    """git's own HTTP server, for who says `ada` and `s@cret`."""

    class Handler(Quiet):
        def do_GET(self) -> None:
            authorization = self.headers.get("Authorization", "")
            seen.append(authorization)
            if authorization != "Basic YWRhOnNAY3JldA==":
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
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
                check=True,
                timeout=30,
            ).stdout
            head, _, body = answer.partition(b"\r\n\r\n")
            self.send_response(200)
            for line in head.decode().split("\r\n"):
                name, _, value = line.partition(": ")
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the server's name for it

    return Handler


@pytest.mark.parametrize(
    ("status", "headers", "body", "troubles"),
    [
        (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"", {Trouble.REFUSED}),
        (403, {}, b"", {Trouble.REFUSED}),
        (404, {}, b"", {Trouble.NOT_A_REPOSITORY}),
        (429, {"Retry-After": "3600"}, b"", {Trouble.UNREACHABLE}),
        (500, {}, b"", {Trouble.UNREACHABLE}),
        (503, {}, b"", {Trouble.UNREACHABLE}),
        (200, {"Content-Type": "text/html"}, b"<html>\nBack soon\n</html>\n", {Trouble.NOT_A_REPOSITORY}),
        (200, {"Content-Type": "application/x-git-upload-pack-advertisement"}, b"\xff" * 99, set(Trouble)),
        (301, {"Location": "SELF/info/refs?service=git-upload-pack"}, b"", set(Trouble)),
        (302, {"Location": "file:///etc/passwd"}, b"", set(Trouble)),
        (302, {"Location": "ext::sh -c 'touch pwned'"}, b"", set(Trouble)),
    ],
)
def test_a_remote_that_answers_otherwise_is_a_sentence(
    tmp_path: Path, status: int, headers: dict[str, str], body: bytes, troubles: set[Trouble]
) -> None:
    with serving(answering(status, headers, body)) as address:
        mirror = Mirror(tmp_path / "mirrors", parse(address + "/a", "/"))
        with pytest.raises(MirrorError) as refused:
            mirror.refs()
    assert refused.value.trouble in troubles
    assert address in str(refused.value)
    assert str(refused.value).isprintable()
    assert not Path("pwned").exists()


def test_a_page_in_the_place_of_a_repository_reads_like_an_empty_one(tmp_path: Path) -> None:
    """Git takes it for its oldest HTTP protocol; `core.observe` therefore does not believe a sudden emptiness."""
    with serving(answering(200, {"Content-Type": "text/html"}, b"<html>Back soon</html>")) as address:
        refs = Mirror(tmp_path / "mirrors", parse(address + "/a", "/")).refs()
    assert (refs.head_sha, dict(refs.refs)) == (None, {})


def test_a_password_opens_what_it_belongs_to_and_shows_nowhere(repository: Repository, tmp_path: Path) -> None:
    seen: list[str] = []
    sha = repository.git("rev-parse", "HEAD")
    with serving(backend(tmp_path, seen)) as address:
        with_password = address.replace("//", "//ada:s%40cret@") + "/source/.git"
        mirror = Mirror(tmp_path / "mirrors", parse(with_password, "/"))
        assert mirror.refs().head_sha == sha
        mirror.fetch(sha, "refs/heads/main")
        assert mirror.read(sha).message == "First"
        wrong = Mirror(tmp_path / "wrong", parse(with_password.replace("s%40cret", "guess"), "/"))
        with pytest.raises(MirrorError) as refused:
            wrong.refs()
    assert refused.value.trouble is Trouble.REFUSED
    assert "guess" not in str(refused.value)
    left = [path for path in mirror.path.rglob("*") if path.is_file() and b"cret" in path.read_bytes()]
    assert left == []
