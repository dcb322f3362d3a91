"""Reads streams of server-sent events, and listens to those that do not end by themselves."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.web.stage import HERE, Stage

STREAM = "/api/v1/events"


def events_of(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    """The kind, the id and the body of each event of a stream."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields["id"], json.loads(fields["data"])))
    return found


async def listen(
    stage: Stage,
    headers: dict[str, str],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    gone: asyncio.Event,
    path: str = STREAM,
) -> None:
    """Give `send` what is said to somebody who stays until they are `gone`, or until the stream ends."""
    stage.come_to_loop()
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await gone.wait()
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    named = [(name.encode(), value.encode()) for name, value in {**headers, "host": HERE[7:]}.items()]
    scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "headers": named, "client": (stage.peer, 1), "server": ("127.0.0.1", 80), "state": {},
    }  # fmt: skip
    await stage.app(scope, receive, send)
