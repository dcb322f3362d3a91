"""Web pages before a counter, in this process: a real server on loopback, for commands that ask over HTTP.

What belongs here: the server and its passes. What does not: the counter, which answers.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from surveil.client.access import find_access
from surveil.client.asking import Client
from surveil.config import WebConfig
from surveil.store.acts import Acts
from surveil.store.passes import Kind, Passes
from surveil.web.app import make_app
from surveil.web.books import AllBooks
from surveil.web.hooks.receiving import Receiver
from surveil.web.hooks.secrets import HookSecrets
from surveil.web.serving import listening
from surveil.web.submitting import submitter_of
from surveil.web.visitors import SESSION_MS, Door
from tests.cli.counter import START_S, Counter


class Site:
    """Serves what the counter knows, until it is closed."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.passes = Passes(counter.data)
        self.acts = Acts(counter.data)
        self.hooks = HookSecrets(counter.data)
        self.now = counter.desk.now
        self._listener = listening("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def token(self, scope: str = "admin") -> str:
        """A token of this scope."""
        return self.passes.issue(Kind.TOKEN, "ada", scope, now=self.now, lasts_ms=SESSION_MS)

    def serve(self) -> None:
        """Begin to serve, in a thread with a loop of its own."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(START_S), "the site did not open"

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(START_S)
        self.passes.close()
        self.acts.close()
        self.hooks.close()

    async def _serve(self) -> None:
        async with Client(find_access(self._counter.data, None)) as client:
            submitter = submitter_of(WebConfig(data=self._counter.data))
            books = AllBooks(self._counter.desk.answers(), client)
            door = Door(self.passes, self.acts, lambda: self.now)
            receiver = Receiver(books, self.hooks, lambda: self.now, cluster="c1")
            app = make_app(books, door, submitter, cluster="c1", receiver=receiver)
            self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
            serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))
            self._ready.set()
            await serving


@contextmanager
def open_site(counter: Counter) -> Iterator[Site]:
    """A site that is open until the end of the block."""
    site = Site(counter)
    site.serve()
    try:
        yield site
    finally:
        site.close()
