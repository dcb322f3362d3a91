"""The application of a stage behind a real port, for a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Final, TypeVar

import uvicorn

from surveil.web.connecting import Bounded
from tests.web.stage import PATIENCE_S, Stage

Item = TypeVar("Item")
_HOST: Final = "127.0.0.1"


class Served:
    """A server with an event loop in a thread of its own."""

    def __init__(self, stage: Stage) -> None:
        self._app = stage.app
        self._server = uvicorn.Server(
            uvicorn.Config(
                stage.app,
                host=_HOST,
                port=0,
                log_level="error",
                lifespan="off",
                http=Bounded,
                timeout_graceful_shutdown=1,
                proxy_headers=False,
            )
        )
        self._began = Event()
        self._thread = Thread(target=lambda: asyncio.run(self._serve()), name="served", daemon=True)
        self.address = ""

    def call(self, what: Callable[..., object], *about: Any) -> None:
        """Have this done on the server's loop."""
        self._loop.call_soon_threadsafe(what, *about)

    def is_patient(self) -> list[bool]:
        """Of each connection whether it may take all the time that it likes."""
        return [each.giving_up is None for each in self._server.server_state.connections if isinstance(each, Bounded)]

    def tasks(self) -> list[str]:
        """What the server's loop is doing."""

        async def listed() -> list[str]:
            return [repr(each) for each in asyncio.all_tasks()]

        return self.wait_for(listed())

    def wait_for(self, what: Coroutine[Any, Any, Item]) -> Item:
        """What comes of this on the server's loop."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(PATIENCE_S)

    def cut(self) -> None:
        """End all connections, as a proxy does that is started again."""
        self.call(self._cut)

    def _cut(self) -> None:
        for each in self._server.server_state.connections:
            each.transport.abort()

    def start(self) -> None:
        self._thread.start()
        assert self._began.wait(PATIENCE_S)

    def stop(self) -> None:
        self.call(self._app.state.stopping.set)
        self._server.should_exit = True
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:  # noqa: ASYNC110  # uvicorn has no event for it
            await asyncio.sleep(0.01)
        self.address = f"http://{_HOST}:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self._began.set()
        await serving
        # It waits a second for those who still follow, and leaves the connections of slower ones open.
        self._cut()
        await asyncio.sleep(0)


@contextmanager
def served(stage: Stage) -> Iterator[Served]:
    """The server, until the end of the block."""
    server = Served(stage)
    server.start()
    try:
        yield server
    except Exception as error:  # Whatever fails is told of, and fails.
        error.add_note("\n".join(["Its server was at:", *server.tasks()]))
        raise
    finally:
        server.stop()
