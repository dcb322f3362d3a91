"""How often anybody may ask: by pass, by address, and no guess goes on (S22 and S30 of the threat model)."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest

from surveil.store.passes import Kind
from surveil.web.allowing import HowOften, address_of
from surveil.web.hooks import route as hooks_route
from surveil.web.visitors import COOKIE
from tests.web.events import listen
from tests.web.stage import Stage
from tests.web.test_hooks import BODY, REPO, SECRET, github

API = "/api/v1"
BAD = {"authorization": "Bearer svt_nonsense"}


@pytest.fixture
def stage(stage: Stage, nothing_comes_back: None) -> Stage:
    """One where a pass may ask 20 times, and an address be wrong 3 times."""
    stage.how_often = HowOften(rate=1, failed_most=3)
    return stage


def statuses(stage: Stage, times: int, headers: dict[str, str], path: str = f"{API}/status") -> list[int]:
    return [stage.get(path, headers).status_code for _ in range(times)]


def test_a_pass_that_asks_too_often_is_told_when_to_come_again(stage: Stage) -> None:
    mine, other = stage.token(), stage.token()
    assert statuses(stage, 20, mine) == [200] * 20
    refused = stage.get(f"{API}/status", mine)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert "content-security-policy" in refused.headers
    assert statuses(stage, 1, other) == [200]


def test_a_pass_is_one_however_it_is_written_and_wherever_it_comes_from(stage: Stage) -> None:
    token = stage.token()["authorization"].removeprefix("Bearer ")
    session = stage.session()
    for number in range(20):
        stage.peer = f"192.0.2.{number}"
        stage.get(f"{API}/status", {"authorization": f"bearer  {token} ", "cookie": f"junk={number}"})
        stage.get(f"{API}/status", {"cookie": f"junk={number}; {COOKIE}={session}; more={number}"})
    assert statuses(stage, 1, {"authorization": f"Bearer {token}"}) == [429]
    assert statuses(stage, 1, {"cookie": f"{COOKIE}={session}"}) == [429]


def test_a_token_that_is_shown_as_a_password_is_counted_as_itself(stage: Stage) -> None:
    """Whoever reads feeds so was counted by nothing, however often they came."""
    token = stage.token()["authorization"].partition(" ")[2]

    def basic(user: str) -> dict[str, str]:
        return {"authorization": f"Basic {b64encode(f'{user}:{token}'.encode()).decode()}"}

    # Neither another name nor a made-up session beside it is somebody else.
    shown = [{**basic(f"user {number}"), "cookie": f"{COOKIE}=made-up-{number}"} for number in range(21)]
    assert [stage.get("/feed.atom", each).status_code for each in shown] == [200] * 20 + [429]
    assert stage.get("/api/v1/me", {"authorization": f"Bearer {token}"}).status_code == 429
    assert stage.get("/feed.atom", stage.token()).status_code == 200


def test_what_proves_nothing_hides_no_session(stage: Stage) -> None:
    cookie = f"{COOKIE}={stage.session()}"
    lies = [
        {"cookie": cookie, "authorization": f"Basic {b64encode(b'x:%d' % number).decode()}"} for number in range(21)
    ]
    assert [stage.get("/builds", each).status_code for each in lies] == [200] * 20 + [429]


def test_an_address_that_guesses_is_told_to_stop_and_a_good_pass_comes_in_from_there(stage: Stage) -> None:
    good = stage.token()
    assert statuses(stage, 5, BAD) == [401, 401, 401, 429, 429]
    assert statuses(stage, 1, {}) == [429]
    assert statuses(stage, 1, good) == [200]
    stage.peer = "192.0.2.1"
    assert statuses(stage, 1, BAD) == [401]


def test_links_that_lead_nowhere_are_counted_and_a_good_one_works(stage: Stage) -> None:
    tried = [stage.post("/login", data={"key": "svl_guess"}).status_code for _ in range(5)]
    assert tried == [403, 403, 403, 429, 429]
    link = stage.passes.issue(Kind.LINK, "grace", "run", now=stage.now, lasts_ms=1000)
    assert stage.post("/login", data={"key": link}).status_code == 303


def test_whoever_guesses_at_the_secret_of_a_webhook_is_not_listened_to(stage: Stage) -> None:
    stage.hooks.set(REPO, SECRET, now=stage.now, overlap_ms=0)
    forged = {**github(BODY), "x-hub-signature-256": "sha256=" + "0" * 64}
    tried = [stage.post("/hooks/github", forged, content=BODY).status_code for _ in range(4)]
    assert tried == [401, 401, 401, 429]
    refused = stage.post("/hooks/github", github(BODY), content=BODY)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
    assert stage.dispatcher.wishes == []
    stage.peer = "192.0.2.1"
    assert stage.post("/hooks/github", github(BODY), content=BODY).status_code == 202


def test_a_webhook_that_says_nothing_is_a_guess(stage: Stage) -> None:
    """A megabyte of it was taken apart before anybody knew whose it is, as often as somebody liked."""
    stage.hooks.set(REPO, SECRET, now=stage.now, overlap_ms=0)
    tried = [stage.post("/hooks/github", github(b"[]"), content=b"[]").status_code for _ in range(4)]
    assert tried == [400, 400, 400, 429]
    assert stage.post("/hooks/github", github(BODY), content=BODY).status_code == 429
    stage.peer = "192.0.2.1"
    again = [stage.post("/hooks/github", github(BODY), content=BODY).status_code for _ in range(6)]
    assert again == [202, 409, 409, 409, 409, 409]


def test_a_webhook_that_does_not_come_is_a_guess(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks_route, "BODY_S", 0.01)

    async def never() -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield BODY

    tried = [stage.post("/hooks/github", github(BODY), content=never()).status_code for _ in range(4)]
    assert tried == [408, 408, 408, 429]


def test_who_may_not_is_no_guess(stage: Stage) -> None:
    reads = stage.token("read")
    assert [stage.post(f"{API}/builds/2/cancel", reads).status_code for _ in range(6)] == [403] * 6


def test_files_of_ours_and_health_are_for_everybody(stage: Stage) -> None:
    statuses(stage, 5, BAD)
    assert statuses(stage, 2, BAD, "/healthz") == [200, 200]
    page = stage.get("/login").text
    style = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert style
    assert statuses(stage, 2, BAD, style) == [200, 200]


def test_no_limit_is_no_limit(stage: Stage) -> None:
    stage.how_often = HowOften(rate=0)
    assert statuses(stage, 50, stage.token()) == [200] * 50


def test_streams_of_a_pass_are_counted_while_they_are_open(stage: Stage) -> None:
    stage.how_often = HowOften(rate=0, streams_each=2, streams=3)
    ada, grace = stage.token(), stage.token()
    told = asyncio.run(_opened(stage, [ada, ada, ada, grace, grace]))
    assert told == [200, 200, 429, 200, 429]
    assert asyncio.run(_opened(stage, [ada])) == [200]


async def _opened(stage: Stage, headers: list[dict[str, str]]) -> list[int]:
    """What streams of events begin with that are opened one after the other, and all stay open until the end."""
    gone = asyncio.Event()
    told: list[int] = []
    streams = []
    for each in headers:
        begun = asyncio.Event()
        streams.append(asyncio.create_task(_stream(stage, each, begun, gone, told)))
        async with asyncio.timeout(20):
            await begun.wait()
    gone.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*streams)
    return told


async def _stream(
    stage: Stage, headers: dict[str, str], begun: asyncio.Event, gone: asyncio.Event, told: list[int]
) -> None:
    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            told.append(message["status"])
            begun.set()

    await listen(stage, headers, send, gone)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_an_address_is_what_somebody_has(one: str, other: str, same: bool) -> None:
    assert (address_of({"client": (one, 1)}) == address_of({"client": (other, 1)})) == same


def test_every_route_may_answer_that_it_is_too_often(stage: Stage) -> None:
    document = json.loads(stage.get(f"{API}/openapi.json").text)
    for path, ways in document["paths"].items():
        for way, route in ways.items():
            assert "429" in route["responses"], (way, path)
