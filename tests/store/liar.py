"""A server that speaks as much S3 as is needed, and lies, breaks off or crawls as it is told.

What belongs here: its objects, and each of its vices. What does not: what surveil makes of them (`test_liar`).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from surveil.store.bucket import Where
from tests.store.buckets import NAME, write_keys

Vice = Callable[["Handler"], bool]
"""Answers a question in its own way; whether it did."""


class Liar(ThreadingHTTPServer):
    """The server; honest as long as `vice` is None."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.vice: Vice | None = None

    def handle_error(self, *_: object) -> None:
        """That somebody hangs up is part of the play."""

    def where(self, folder: Path, prefix: str = "one") -> Where:
        endpoint = f"http://127.0.0.1:{self.server_port}"
        return Where(bucket=NAME, prefix=prefix, endpoint=endpoint, region="x", credentials=write_keys(folder / "keys"))


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Liar  # type: ignore[mutable-override]
    body = b""

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def do(self) -> None:
        split = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(split.query, keep_blank_values=True).items()}
        self.key = unquote(split.path).removeprefix(f"/{NAME}").lstrip("/")
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.vice is None or not self.server.vice(self):
            self.honest()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do  # noqa: N815  # as the library calls them

    def honest(self) -> None:
        """Answer as S3 does."""
        match self.command:
            case "PUT" if "partNumber" in self.query:
                self.server.parts[self.query["uploadId"]][int(self.query["partNumber"])] = self.body
                self.say(200)
            case "PUT":
                self.server.objects[self.key] = self.body
                self.say(200)
            case "POST" if "uploads" in self.query:
                self.server.parts["u1"] = {}
                self.say(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
            case "POST" if "uploadId" in self.query:
                parts = self.server.parts.pop(self.query["uploadId"])
                self.server.objects[self.key] = b"".join(parts[number] for number in sorted(parts))
                self.say(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
            case "POST":
                keys = re.findall(rb"<Key>(.*?)</Key>", self.body)
                for key in keys:
                    self.server.objects.pop(key.decode(), None)
                gone = b"".join(b"<Deleted><Key>%s</Key></Deleted>" % key for key in keys)
                self.say(200, b"<DeleteResult>%s</DeleteResult>" % gone)
            case "DELETE":
                self.server.objects.pop(self.key, None)
                self.say(204)
            case _ if not self.key:
                self.say(200, listed(self.server.objects, self.query.get("prefix", "")))
            case _ if (found := self.server.objects.get(self.key)) is None:
                self.say(404, b"<Error><Code>NoSuchKey</Code></Error>")
            case _:
                self.say(200, found)

    def say(self, status: int, body: bytes = b"", length: int | None = None) -> None:
        """A whole answer, which may lie of its length."""
        self.begin(status, len(body) if length is None else length, body)
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, status: int, length: int, body: bytes = b"") -> None:
        """The head of an answer."""
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')  # what S3 says
        self.send_header("Last-Modified", "Sat, 21 Nov 2020 12:00:00 GMT")
        self.end_headers()


def listed(objects: dict[str, bytes], prefix: str) -> bytes:
    """The names of all objects."""
    found = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2020-11-21T12:00:00.000Z</LastModified><ETag>x</ETag>"
        f"<Size>{len(data)}</Size></Contents>"
        for key, data in objects.items()
        if key.startswith(prefix)
    )
    return f"<ListBucketResult>{found}</ListBucketResult>".encode()


@contextmanager
def liar() -> Iterator[Liar]:
    with Liar() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def refuses(status: int, code: str) -> Vice:
    """Answers with an error."""

    def vice(handler: Handler) -> bool:
        handler.say(status, f"<Error><Code>{code}</Code></Error>".encode())
        return True

    return vice


def of_objects(vice: Callable[[Handler, bytes], object]) -> Vice:
    """The same, for whoever reads an object that there is."""

    def found(handler: Handler) -> bool:
        data = handler.server.objects.get(handler.key)
        if handler.command != "GET" or data is None:
            return False
        vice(handler, data)
        return True

    return found


@of_objects
def portal(handler: Handler, _: bytes) -> None:
    """Something between us and the server that shows a page of its own, as those of hotels do."""
    handler.say(200, b"<html>Please log in.</html>")


@of_objects
def boasts(handler: Handler, _: bytes) -> None:
    """Gives an object that is far longer than any."""
    handler.begin(200, 1 << 40)
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(bytes(1 << 16))


@of_objects
def cuts(handler: Handler, data: bytes) -> None:
    """Hangs up in the middle of an object."""
    handler.begin(200, len(data))
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


@of_objects
def crawls(handler: Handler, data: bytes) -> None:
    """Gives a byte now and then."""
    handler.begin(200, len(data))
    with contextlib.suppress(OSError):
        for at in range(len(data)):
            handler.wfile.write(data[at : at + 1])
            time.sleep(0.05)


def refuses_to_put(size: int) -> Vice:
    """Takes nothing of this size."""

    def vice(handler: Handler) -> bool:
        if handler.command != "PUT" or len(handler.body) != size:
            return False
        handler.say(413, b"<Error><Code>EntityTooLarge</Code></Error>")
        return True

    return vice
