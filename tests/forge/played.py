"""A forge, played on loopback: it notes what it is told, and answers as its mood is."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Told(NamedTuple):
    """A request as it came."""

    path: str
    headers: dict[str, str]
    document: dict[str, Any]
    method: str = "POST"


class Mood(NamedTuple):
    """An answer; with `cut` the connection ends amid it, with `hang_s` it comes late."""

    status: int = 201
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"{}"
    cut: bool = False
    hang_s: float = 0.0


GOOD = Mood()


class PlayedForge:
    """Takes statuses. `moods` are used up one by one; then everything is well."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.moods: list[Mood] = []
        self._released = threading.Event()
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the library's name
                forge.answer(self)

            do_GET = do_PATCH = do_POST  # noqa: N815  # the library's names

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        body = asked.rfile.read(int(asked.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in asked.headers.items()}
        told = Told(asked.path, headers, json.loads(body or b"{}"), asked.command)
        self.told.append(told)
        mood = self.moods.pop(0) if self.moods else self.good(told)
        self._released.wait(mood.hang_s)
        asked.send_response(mood.status)
        for name, value in mood.headers:
            asked.send_header(name, value)
        asked.send_header("Content-Length", str(len(mood.body) + 10 * mood.cut))
        asked.end_headers()
        asked.wfile.write(mood.body)
        asked.close_connection = True

    def good(self, told: Told) -> Mood:
        """What is answered where there is no mood."""
        del told
        return GOOD

    def close(self) -> None:
        self._released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


def in_seconds(seconds: int) -> str:
    """An instant as headers have it."""
    return str(int(time.time()) + seconds)
