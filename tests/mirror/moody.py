"""A server of http whose mood may change while it is asked.

What belongs here: moods, and what each does to an answer. What does not: a server that is well (`servers`).
"""

import io
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from tests.mirror.servers import Quiet, backend

PATIENCE_S: Final = 60.0
"""How long it hangs, unless its mood changes."""
ENDLESS_BYTES: Final = 64 * 1024
"""What an endless answer is made of."""


class Half(io.BufferedIOBase):
    """Passes on the headers, and half of the answer that follows them in one piece."""

    def __init__(self, wire: io.BufferedIOBase, after: Callable[[], object] = lambda: None) -> None:
        self.wire = wire
        self.pieces = 0
        self.after = after

    def write(self, data: Any) -> int:
        self.pieces += 1
        if self.pieces == 1:
            return self.wire.write(data)
        written = self.wire.write(data[: len(data) // 2])
        self.wire.flush()
        self.after()
        return written

    def flush(self) -> None:
        self.wire.flush()


class Slow(io.BufferedIOBase):
    """Passes on everything, after a pause before each piece."""

    def __init__(self, wire: io.BufferedIOBase, pause: Callable[[], object]) -> None:
        self.wire = wire
        self.pause = pause

    def write(self, data: Any) -> int:
        for at in range(0, len(data), 512):
            self.pause()
            self.wire.write(data[at : at + 512])
            self.wire.flush()
        return len(data)

    def flush(self) -> None:
        self.wire.flush()


class Lying(io.BufferedIOBase):
    """Passes on everything, with other names of commits."""

    def __init__(self, wire: io.BufferedIOBase) -> None:
        self.wire = wire

    def write(self, data: Any) -> int:
        # Before each name stand four digits, which are the length of its line.
        self.wire.write(re.sub(rb"([0-9a-f]{4})([0-9a-f]{40})(?= )", lambda f: f[1] + f[2][::-1], bytes(data)))
        return len(data)

    def flush(self) -> None:
        self.wire.flush()


class Moody:
    """git's server of http, until its mood says otherwise."""

    def __init__(self, folder: Path) -> None:
        self.mood = "well"
        self.asked = 0
        self.patience = threading.Event()
        well = backend(folder)

        class Handler(Quiet):
            def do_GET(handler) -> None:  # noqa: N802, N805  # its name; and two selves
                self.asked += 1
                self.answer(handler, lambda: well.do_GET(handler))  # type: ignore[attr-defined]

            do_POST = do_GET  # noqa: N815  # the server's name for it

        self.handler: type[BaseHTTPRequestHandler] = Handler

    def mend(self) -> None:
        """Be well again, and let go whoever hangs."""
        self.mood = "well"
        self.patience.set()
        self.patience = threading.Event()

    def answer(self, handler: BaseHTTPRequestHandler, well: Callable[[], None]) -> None:
        # What is not read before the connection is closed resets it, and then nobody hears the answer.
        question = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
        handler.rfile = io.BytesIO(question)
        patience, fetching = self.patience, b"command=fetch" in question
        match self.mood:
            case "silent":
                patience.wait(PATIENCE_S)
            case "endless":
                self._endless(handler, patience)
            case "dies in a pack" | "hangs in a pack" if fetching:
                hangs = self.mood == "hangs in a pack"
                handler.wfile = Half(handler.wfile, lambda: patience.wait(PATIENCE_S) if hangs else None)
                well()
            case "hangs in the list" if not fetching:
                handler.wfile = Half(handler.wfile, lambda: patience.wait(PATIENCE_S))
                well()
            case "lies" if not fetching:
                handler.wfile = Lying(handler.wfile)
                well()
            case "slow":
                handler.wfile = Slow(handler.wfile, lambda: patience.wait(0.2))
                well()
            case "well" | "dies in a pack" | "hangs in a pack" | "hangs in the list" | "lies":
                well()
            case _:
                self._reply(handler)

    def _endless(self, handler: BaseHTTPRequestHandler, patience: threading.Event) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/x-git-upload-pack-advertisement")
        handler.end_headers()
        handler.wfile.write(b"001e# service=git-upload-pack\n0000")
        line = b"a" * 40 + b" refs/heads/endless\n"
        piece = (b"%04x" % (len(line) + 4) + line) * (ENDLESS_BYTES // (len(line) + 4))
        try:
            while not patience.wait(0.01):
                handler.wfile.write(piece)
        except OSError:
            return  # Nobody listens any more.

    def _reply(self, handler: BaseHTTPRequestHandler) -> None:
        body = {"page": b"<html>Back soon</html>", "wrong type": b"\xff" * 99}.get(self.mood, b"")
        handler.send_response({"page": 200, "wrong type": 200, "loop": 302}.get(self.mood) or int(self.mood))
        kind = "text/html" if self.mood == "page" else "application/x-git-upload-pack-advertisement"
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Retry-After": "60"}.items():
            handler.send_header(name, value)
        if self.mood == "loop":
            handler.send_header("Location", f"http://{handler.headers['Host']}{handler.path}")
        if self.mood == "401":
            handler.send_header("WWW-Authenticate", 'Basic realm="x"')
        handler.end_headers()
        handler.wfile.write(body)
