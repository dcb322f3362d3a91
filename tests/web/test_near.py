"""Pages for this machine alone: whoever makes a name of the world's lead here has no browser read them."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import httpx2
import pytest

from surveil.config import WebConfig
from surveil.store.people import Role
from surveil.web.opening import Parts
from surveil.web.serving import apps_of
from tests.web.stage import Stage

NEAR = ("127.0.0.1:7380", "[::1]:7380", "localhost:7380", "LOCALHOST", "this-machine:80", "198.51.100.7")
FAR = (
    "evil.example",
    "evil.example:7380",
    "127.0.0.1.evil.example",
    "localhost.evil.example:7380",
    "a@evil.example",
    "[",
)


def answers(
    stage: Stage, hosts: tuple[str, ...], *, at: str, path: str, which: int, **settings: Any
) -> list[httpx2.Response]:
    """What somebody without a pass is answered by these names, from a role that listens there."""
    stage.passes.people.put("anybody", [Role(repo="*", scope="read")], now=stage.now)
    of = stage.app.state
    parts = Parts(
        books=of.books, door=of.door, submitter=of.submitter, passes=stage.passes, receiver=of.receiver,
        gatherer=of.gatherer, cluster=of.cluster, providers={},
    )  # fmt: skip
    listener = cast("socket.socket", SimpleNamespace(getsockname=lambda: (at, 7380)))
    app = apps_of(WebConfig(data=stage.folder, **settings), parts, listener, listener)[which]

    async def ask() -> list[httpx2.Response]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://x") as client:
            return [await client.get(path, headers={"host": host}) for host in hosts]

    return asyncio.run(ask())


def asked(stage: Stage, hosts: tuple[str, ...], **how: Any) -> list[int]:
    return [each.status_code for each in answers(stage, hosts, **how)]


@pytest.mark.parametrize(("path", "which"), [("/builds", 0), ("/api/v1/builds", 0), ("/metrics", 1)])
@pytest.mark.parametrize("at", ["127.0.0.1", "::1"])
def test_what_is_on_loopback_is_not_shown_by_a_name_of_others(stage: Stage, at: str, path: str, which: int) -> None:
    assert asked(stage, NEAR, at=at, path=path, which=which) == [200] * len(NEAR)
    assert asked(stage, FAR, at=at, path=path, which=which) == [421] * len(FAR)


def test_whoever_is_refused_reads_what_helps_there(stage: Stage) -> None:
    url = "https://ci.example.org"
    (refused,) = answers(stage, ("evil.example",), at="127.0.0.1", path="/metrics", which=1, public_url=url)
    assert refused.json()["detail"] == (
        "This is for this machine alone, and not at `evil.example`: ask at 127.0.0.1 or localhost. Pages that people "
        "reach by another name are started with `--public-url`, numbers with `--metrics` at another address."
    )


def test_what_others_reach_anyway_is_shown_by_any_name(stage: Stage) -> None:
    assert asked(stage, ("ci.lan.example",), at="0.0.0.0", path="/builds", which=0) == [200]


def test_the_name_that_people_use_is_one_of_them(stage: Stage) -> None:
    """As behind a proxy on the same machine."""
    url = "https://ci.example.org"
    found = asked(
        stage, ("ci.example.org", "evil.example"), at="127.0.0.1", path="/builds", which=0, public_url=url
    )  # fmt: skip
    assert found == [200, 421]
