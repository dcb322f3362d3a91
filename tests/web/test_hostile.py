"""What somebody tries who wants more than they may have: streams that outlive a pass, sign-ins that others begin, and
addresses that lead out of a role.
"""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from contextlib import ExitStack
from http.client import HTTPConnection, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import pytest

from surveil.client import Answered
from surveil.protocol import CHUNK_BYTES_MAX, WatchedRepo
from surveil.store.passes import Kind
from surveil.store.people import Role
from surveil.web import events
from surveil.web.allowing import HowOften
from surveil.web.api import lengthy
from surveil.web.books import AllBooks
from surveil.web.visitors import COOKIE, csrf_of
from tests.web.events import listen
from tests.web.served import served
from tests.web.stage import HERE, PATIENCE_S, Stage
from tests.web.test_rights import token

API = "/api/v1"
OWN = "https://git.example.org/alpha/one.git"


@pytest.fixture
def public(stage: Stage) -> Stage:
    """One where everybody may look."""
    stage.passes.people.put("anybody", [Role(repo="*", scope="read")], now=stage.now)
    return stage


# ---- streams


@pytest.mark.parametrize("how", ["revoked", "forgotten", "less", "other"])
def test_a_stream_ends_with_the_right_to_it(stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(events, "LOOK_S", 0.05)
    shown = token(stage, "grace", ("read", "*"))

    def change() -> None:
        if how == "revoked":
            [mine] = stage.passes.listed(Kind.TOKEN)
            stage.passes.end(mine.id, now=stage.now)
        elif how == "forgotten":
            stage.passes.forget("grace", now=stage.now)
        else:
            repo = "*" if how == "less" else "/srv/*"
            stage.passes.people.put("grace", [] if how == "less" else [Role(repo=repo, scope="read")], now=stage.now)

    assert asyncio.run(_follow(stage, shown, change)) == "it ended"


def test_a_stream_goes_on_while_nothing_changes(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "LOOK_S", 0.02)
    monkeypatch.setattr(events, "LIFE_S", 0.05)
    assert asyncio.run(_follow(stage, stage.token(), lambda: None)) == "it goes on"


async def _follow(stage: Stage, headers: dict[str, str], change: Any) -> str:
    """What becomes of a stream of events after this change: it ends, or gives more than one sign of life."""
    alive = 0
    goes_on = asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal alive
        body = message.get("body", b"")
        if body.startswith(b"retry"):
            await asyncio.to_thread(change)
        alive += body.startswith(b": still")
        if alive > 3:
            goes_on.set()

    async with asyncio.timeout(20):
        await listen(stage, headers, send, goes_on)
    return "it goes on" if goes_on.is_set() else "it ended"


# ---- downloads


@pytest.mark.parametrize("how", ["revoked", "forgotten", "less", "other", "more"])
def test_a_download_ends_with_the_right_to_it_and_with_nothing_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whoever had begun got all of it, an hour after their pass was ended."""
    monkeypatch.setattr(lengthy, "LOOK_S", 0.0)
    stage.desk.log("1/test", 1, b"x" * (4 * CHUNK_BYTES_MAX))
    shown, ask = token(stage, "grace", ("read", "/srv/*")), AllBooks.ask

    def change() -> None:
        if how == "revoked":
            [mine] = stage.passes.listed(Kind.TOKEN)
            stage.passes.end(mine.id, now=stage.now)
        elif how == "forgotten":
            stage.passes.forget("grace", now=stage.now)
        else:
            roles = {"less": [], "other": ["/home/*"], "more": ["/home/*", "/srv/*"]}[how]
            stage.passes.people.put("grace", [Role(repo=repo, scope="read") for repo in roles], now=stage.now)

    async def asked(self: AllBooks, what: str, about: Any = None, **more: Any) -> Answered:
        if (about or {}).get("at") == CHUNK_BYTES_MAX:
            await asyncio.to_thread(change)
        found: Answered = await ask(self, what, about, **more)
        return found

    monkeypatch.setattr(AllBooks, "ask", asked)
    with served(stage) as server, ExitStack() as stack:
        peer = HTTPConnection(urlsplit(server.address).netloc, timeout=PATIENCE_S)
        stack.callback(peer.close)
        peer.request("GET", f"{API}/builds/1/jobs/test/attempts/1/log", headers=shown)
        answer = peer.getresponse()
        assert answer.status == 200
        if how == "more":
            assert len(answer.read()) == int(answer.headers["content-length"]) > 4 * CHUNK_BYTES_MAX
        else:
            with pytest.raises(IncompleteRead) as told:
                answer.read()
            assert len(told.value.partial) == CHUNK_BYTES_MAX


# ---- signing others in


@pytest.mark.parametrize(
    "about",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://["},
    ],
)
def test_nobody_is_signed_in_by_a_page_of_others(stage: Stage, about: dict[str, str]) -> None:
    link = stage.passes.issue(Kind.LINK, "mallory", "read", now=stage.now, lasts_ms=1000)
    refused = stage.post("/login", about, data={"key": link})
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    # It is not spent either.
    entered = stage.post("/login", {"origin": HERE, "sec-fetch-site": "same-origin"}, data={"key": link})
    assert entered.status_code == 303


def test_an_origin_that_is_no_address_is_foreign(stage: Stage) -> None:
    session = stage.session("run")
    about = {"cookie": f"{COOKIE}={session}", "origin": "http://[", "x-surveil-csrf": csrf_of(session)}
    assert stage.post(f"{API}/builds/2/cancel", about).status_code == 403


# ---- those who come with nothing


@pytest.mark.usefixtures("nothing_comes_back")
def test_an_address_that_shows_nothing_is_counted_where_everybody_may_look(public: Stage) -> None:
    public.how_often = HowOften(rate=1)
    assert [public.get("/builds").status_code for _ in range(21)] == [200] * 20 + [429]
    # What proves nothing is no name of one's own.
    assert public.get("/builds", {"cookie": f"{COOKIE}=made-up"}).status_code == 429
    assert public.get("/login").status_code == 200
    assert public.get("/builds", public.token()).status_code == 200
    public.peer = "192.0.2.1"
    assert public.get("/builds").status_code == 200


# ---- addresses that lead elsewhere


@pytest.mark.parametrize(
    "repo",
    [
        "https://git.example.org/alpha/../beta/two.git",
        "https://git.example.org/alpha/%2e%2e/beta/two.git",
        "https://git.example.org/alpha/unwatched.git",
    ],
)
def test_an_administrator_of_some_submits_to_what_is_watched_alone(stage: Stage, repo: str) -> None:
    mine = token(stage, "grace", ("admin", "https://git.example.org/alpha/*"))
    stage.desk.live.watching["eye"] = (WatchedRepo(repo=OWN), WatchedRepo(repo="https://git.example.org/beta/two.git"))
    about = {
        "mid": "manual:00000000-0000-4000-8000-000000000000", "ref": "refs/heads/main", "sha": "a" * 40,
        "problem": "none", "repo": repo,
    }  # fmt: skip
    refused = stage.post(f"{API}/questions/submit", mine, json=about)
    assert refused.status_code == 403, refused.text
    assert stage.dispatcher.wishes == []
    assert stage.post(f"{API}/questions/submit", mine, json={**about, "repo": OWN}).status_code == 200
    assert stage.post(f"{API}/questions/submit", stage.token("admin"), json=about).status_code == 200


# ---- texts that are none


@pytest.mark.parametrize("question", ["repositories", "artifacts", "audit", "cancel", "secret_set"])
@pytest.mark.parametrize(
    "about", ['{"repo": "\\ud800"}', '{"\\udfff": 1}', '{"jobs": [{"a": ["\\ud800"]}]}', f'{{"build": {2**64}}}']
)
def test_half_a_character_is_whoever_asks_mistake(stage: Stage, question: str, about: str) -> None:
    headers = {**stage.token("admin"), "content-type": "application/json"}
    answer = stage.post(f"{API}/questions/{question}", headers, content=about.encode())
    assert answer.status_code == 400, answer.text
    assert stage.dispatcher.wishes == []


# ---- bodies in parts, which say by themselves how their texts are read


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x; charset={}", " Multipart/Mixed; boundary=x; charset={}"]
)
@pytest.mark.parametrize("codec", ["utf-8", "punycode", "unicode_escape", "undefined", "utf-7"])
def test_nobody_chooses_by_which_codec_a_form_is_read(stage: Stage, kind: str, codec: str) -> None:
    session = stage.session("admin")
    link = stage.passes.issue(Kind.LINK, "ada", "read", now=stage.now, lasts_ms=1000)
    about = {"cookie": f"{COOKIE}={session}", "origin": HERE, "content-type": kind.format(codec)}
    for path, name, value in (
        ("/login", "key", link), ("/login", "key", "\\ud800"), ("/builds/2/cancel", "csrf", csrf_of(session)),
        ("/builds/2/cancel", "csrf", "\\ud800"), (f"{API}/builds/2/cancel", "csrf", csrf_of(session)),
    ):  # fmt: skip
        body = f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--x--\r\n'
        refused = stage.post(path, about, content=body.encode())
        assert (refused.status_code, refused.headers["content-type"]) == (415, "application/problem+json"), path
        assert "`application/x-www-form-urlencoded`" in refused.json()["detail"]
    assert stage.dispatcher.wishes == []
    # The link is not spent, and is good in a form as our own page sends it.
    assert stage.post("/login", {"origin": HERE}, data={"key": link}).status_code == 303


# ---- defects


@pytest.mark.parametrize("takes", ["text/html", "application/json"])
def test_a_defect_is_told_with_the_same_headers_as_all_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, takes: str
) -> None:
    """It was the one page that others could show in a frame, and that was kept by whoever passed it on."""
    usual = stage.get("/login").headers

    async def broken() -> int:
        raise ValueError("inner words")

    monkeypatch.setattr(stage.app.state.books, "position", broken)
    found = stage.get("/builds", {**stage.token(), "accept": takes})
    assert (found.status_code, "inner words" in found.text) == (500, False)
    about = set(usual) - {"content-length", "content-type"}
    assert {"content-security-policy", "cache-control"} < about
    assert {name: found.headers.get(name) for name in about} == {name: usual[name] for name in about}
