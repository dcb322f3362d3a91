"""`HEAD` tells what `GET` tells, without the rest, wherever something can be read."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.web.served import served
from tests.web.stage import HERE, PATIENCE_S, Stage

API = "/api/v1"
LOG = f"{API}/builds/1/jobs/test/attempts/1/log"
PATHS = ("/", "/builds", "/builds/1", "/builds/77", "/login", f"{API}/builds", f"{API}/builds/77", f"{API}/status", LOG,
         f"{LOG}?tail=3", f"{API}/openapi.json", "/healthz", "/badge.svg?repo=/srv/repo", "/nowhere")  # fmt: skip
OF_ITS_OWN = {"date", "content-security-policy"}


@pytest.mark.parametrize("path", PATHS)
def test_a_head_is_that_of_the_whole(stage: Stage, path: str) -> None:
    whole = stage.get(path, stage.token())
    head = stage.request("HEAD", path, stage.token())
    assert (head.status_code, head.content) == (whole.status_code, b"")
    names = head.headers.keys() - OF_ITS_OWN
    assert names == whole.headers.keys() - OF_ITS_OWN
    assert {name: head.headers[name] for name in names} == {name: whole.headers[name] for name in names}


def test_a_head_has_the_tag_of_the_whole_and_heeds_one(stage: Stage) -> None:
    path = f"{API}/builds/1"
    tag = stage.get(path, stage.token()).headers["etag"]
    assert stage.request("HEAD", path, stage.token()).headers["etag"] == tag
    assert stage.request("HEAD", path, {**stage.token(), "if-none-match": tag}).status_code == 304


def test_whoever_may_not_read_may_not_read_heads(stage: Stage) -> None:
    assert stage.request("HEAD", f"{API}/builds/1", {}).status_code == 401
    assert stage.request("HEAD", LOG, {}).status_code == 401


def test_what_only_changes_something_has_no_head(stage: Stage) -> None:
    assert stage.request("HEAD", f"{API}/builds/1/cancel", stage.token("admin")).status_code == 405
    assert stage.dispatcher.wishes == []


@pytest.mark.parametrize("path", [f"{API}/events", f"{API}/builds/2/jobs/test/log/rows/follow"])
def test_the_head_of_what_has_no_end_ends(stage: Stage, path: str) -> None:
    head = stage.request("HEAD", path, stage.token())
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


def test_of_a_long_log_nothing_is_read(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    books = stage.app.state.books
    ask: Callable[..., Any] = books.ask

    def noted(what: str, about: dict[str, Any], **more: Any) -> Any:
        asked.append(about)
        return ask(what, about, **more)

    monkeypatch.setattr(books, "ask", noted)
    head = stage.request("HEAD", LOG, stage.token())
    assert int(head.headers["content-length"]) == stage.desk.logs.length("1/test", 1)
    assert [about["limit"] for about in asked] == [1]


async def raised(stage: Stage) -> None:
    """Ask with what a server does: it writes down whatever comes up to it."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=stage.app), base_url=HERE) as client:
        await client.head(f"{API}/runners", headers=stage.token())


def test_a_defect_is_told_and_written_down_as_ever(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_asked: object, **_more: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(stage.app.state.books, "ask", broken)
    head = stage.request("HEAD", f"{API}/runners", stage.token())
    assert (head.status_code, head.content) == (500, b"")
    with pytest.raises(ValueError, match="no"):
        asyncio.run(raised(stage))


def test_a_connection_goes_on_after_a_head(stage: Stage) -> None:
    with served(stage) as server:
        at = urlsplit(server.address)
        connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=PATIENCE_S)
        for path in (LOG, f"{API}/builds", f"{API}/events"):
            connection.request("HEAD", path, headers=stage.token())
            assert connection.getresponse().read() == b""
            connection.request("GET", f"{API}/builds/1", headers=stage.token())
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:6]) == (200, b'{"id":')
        connection.close()


def test_whoever_goes_away_ends_the_question(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(*_asked: object, **_more: object) -> None:
        began.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            ended.set()

    monkeypatch.setattr(stage.app.state.books, "ask", slow)

    async def ask() -> None:
        transport = httpx2.ASGITransport(app=stage.app)
        async with httpx2.AsyncClient(transport=transport, base_url=HERE) as client:
            asking = asyncio.create_task(client.head(f"{API}/runners", headers=stage.token()))
            await began.wait()
            asking.cancel()
            async with asyncio.timeout(PATIENCE_S):
                await ended.wait()

    asyncio.run(ask())
    assert ended.is_set()
