"""The application over a store in memory, without a server: what it is asked, and what it wishes of a dispatcher."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar, assert_never, cast

import httpx2
from fastapi import FastAPI

from surveil.answer import (
    BackupWish,
    JobsWish,
    LookWish,
    PackWish,
    RekeyWish,
    RemoveSecretWish,
    Reply,
    RetryWish,
    RevokePeerWish,
    RevokeTokenWish,
    RunnerWish,
    SecretWish,
    SubmitWish,
    TokenWish,
    Wish,
)
from surveil.answer.views import time_text
from surveil.client import Answered, Behalf
from surveil.client.asking import Client
from surveil.client.documents import Documents
from surveil.config import WebConfig
from surveil.errors import UnreachableError
from surveil.protocol import Ask
from surveil.store.acts import Acts
from surveil.store.passes import Kind, Passes
from surveil.web.allowing import HowOften
from surveil.web.app import make_app
from surveil.web.books import AllBooks
from surveil.web.hooks.receiving import Receiver
from surveil.web.hooks.secrets import HookSecrets
from surveil.web.metrics.gathering import Gatherer
from surveil.web.providers import Provider
from surveil.web.submitting import submitter_of
from surveil.web.visitors import SESSION_MS, Door
from tests.answer.desk import NOW, Desk

CLUSTER = "6f1c0d6e7a9b4c0e8f3a2b1c0d9e8f7a"
HERE = "http://ci.example.org"
PATIENCE_S = 60

Beside = TypeVar("Beside", Passes, Acts, HookSecrets)


_EMPTY: dict[str, dict[str, bytes]] = {}
"""What each kind of file beside the database holds at first, by the names of the kind and of the file."""


def opened(kind: type[Beside], folder: Path) -> Beside:
    """One of the files beside the database. Where there is none yet an empty one is copied: to make its tables takes
    as long as all else about a stage.
    """
    if kind.__name__ not in _EMPTY:
        with TemporaryDirectory() as made:
            kind(Path(made)).close()
            _EMPTY[kind.__name__] = {path.name: path.read_bytes() for path in Path(made).iterdir()}
    for name, content in _EMPTY[kind.__name__].items():
        if not (folder / name).exists():
            (folder / name).touch(0o600)
            (folder / name).write_bytes(content)
    return kind(folder)


class PlayedDispatcher(Documents):
    """Answers what it is asked from the desk, and notes what it is wished; or is away."""

    outage_ms = 1000

    def __init__(self, desk: Desk) -> None:
        self._answers = desk.answers()
        self.away = False
        self.asked: list[str] = []
        self.wishes: list[tuple[str, dict[str, Any]]] = []
        self.behalves: list[Behalf | None] = []

    async def ask(
        self,
        what: str,
        about: Mapping[str, Any] | None = None,
        *,
        patience_ms: int | None = None,
        behalf: Behalf | None = None,
    ) -> Answered:
        if self.away:
            raise UnreachableError("No dispatcher answers at tcp://127.0.0.1:7300.")
        self.asked.append(what)
        reply = await self._answers.answer(Ask(id=1, what=what, about=about or {}))
        if isinstance(reply, Reply):
            return Answered(body=reply.body, data=reply.data)
        self.wishes.append((what, dict(about or {})))
        self.behalves.append(behalf)
        return Answered(body=fulfilled(reply).body, data=b"")


def fulfilled(wish: Wish) -> Reply:
    """What a dispatcher says that did what was wished."""
    match wish:
        case SubmitWish() | RetryWish():
            return wish.reply(99)
        case JobsWish():
            return wish.reply("queued")
        case TokenWish():
            return wish.reply(token="svl1.AbC", token_id="4f1c22ab", expires_at=time_text(NOW + wish.expires_ms))
        case BackupWish():
            return wish.reply(size_bytes=4096)
        case RekeyWish():
            return wish.reply(secrets=0)
        case LookWish():
            return wish.reply(1)
        case PackWish():
            return wish.reply(None)
        case RunnerWish() | RevokeTokenWish() | RevokePeerWish() | SecretWish() | RemoveSecretWish():
            return wish.reply()
        case _:
            assert_never(wish)


class Stage:
    """An application with its dispatcher and its passes; `get` and `post` are whole requests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.desk = Desk(folder / "logs")
        self.dispatcher = PlayedDispatcher(self.desk)
        self.passes = opened(Passes, folder)
        self.acts = self.desk.acts = opened(Acts, folder)
        self.now = self.desk.now
        self.outbox: list[dict[str, Any]] = []
        self.how_often = HowOften(failed_most=10_000)
        self.public_url: str | None = None
        self.proxies: tuple[str, ...] = ()
        self.peer = "127.0.0.1"
        self.providers: dict[str, Provider] = {}

    @cached_property
    def app(self) -> FastAPI:
        books = AllBooks(self.desk.answers(), cast("Client", self.dispatcher), lambda: self.outbox)
        receiver = Receiver(books, self.hooks, lambda: self.now, cluster=CLUSTER)
        door, submitter = Door(self.passes, self.acts, lambda: self.now), submitter_of(WebConfig(data=self.folder))
        gatherer = Gatherer(books, self.desk.store.reader, self.folder, lambda: self.now)
        return make_app(
            books, door, submitter, cluster=CLUSTER, receiver=receiver, gatherer=gatherer, public_url=self.public_url,
            proxies=self.proxies, how_often=self.how_often, providers=self.providers,
        )  # fmt: skip

    @cached_property
    def hooks(self) -> HookSecrets:
        """The secrets of webhooks."""
        return opened(HookSecrets, self.folder)

    def token(self, scope: str = "read") -> dict[str, str]:
        """The headers of a program with a token of this scope."""
        secret = self.passes.issue(Kind.TOKEN, "ada", scope, now=self.now, lasts_ms=SESSION_MS)
        return {"authorization": f"Bearer {secret}"}

    def session(self, scope: str = "read") -> str:
        """The secret of a browser's session."""
        return self.passes.issue(Kind.SESSION, "ada", scope, now=self.now, lasts_ms=SESSION_MS)

    def get(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx2.Response:
        return self.request("GET", path, headers, **more)

    def post(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> httpx2.Response:
        return self.request("POST", path, headers, **more)

    def come_to_loop(self) -> None:
        """Let streams of this loop wait for the end: an event belongs to the first loop that waits for it."""
        stopping = asyncio.Event()
        if getattr(self.app.state, "stopping", stopping).is_set():
            stopping.set()
        self.app.state.stopping = stopping

    def request(self, method: str, path: str, headers: Mapping[str, str] | None, **more: Any) -> httpx2.Response:
        async def ask() -> httpx2.Response:
            self.come_to_loop()
            transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False, client=(self.peer, 40_000))
            async with asyncio.timeout(PATIENCE_S), httpx2.AsyncClient(transport=transport, base_url=HERE) as client:
                return await client.request(method, path, headers=dict(headers or {}), **more)

        return asyncio.run(ask())
