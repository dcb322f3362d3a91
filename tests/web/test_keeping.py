"""Secrets, join tokens and passes over HTTP: who may, what is never shown, and bodies that are too large."""

import asyncio
import base64
from collections.abc import AsyncIterator

import httpx2
import pytest

from surveil.store.people import ANYBODY, EVERYWHERE, Role
from surveil.web.limits import BODY_BYTES_MAX, STRANGERS_BYTES_MAX
from surveil.web.visitors import COOKIE
from tests.web.stage import HERE, Stage
from tests.web.test_hooks import BODY, REPO, SECRET, github

API = "/api/v1"


def test_secrets_are_written_by_administrators_and_never_read(stage: Stage) -> None:
    kept = {"value": "s3cret\u00e9", "job": "publish"}
    for scope in ("read", "run"):
        assert stage.request("PUT", f"{API}/secrets/TOKEN", stage.token(scope), json=kept).status_code == 403
        assert stage.get(f"{API}/secrets", stage.token(scope)).status_code == 403
    admin = stage.token("admin")
    assert stage.request("PUT", f"{API}/secrets/TOKEN", admin, json=kept).status_code == 200
    assert stage.request("DELETE", f"{API}/secrets/TOKEN?job=publish", admin).status_code == 204
    about = {"name": "TOKEN", "repo": "", "ref": "", "job": "publish"}
    value = base64.b64encode(kept["value"].encode()).decode()
    assert stage.dispatcher.wishes == [
        ("secret_set", {**about, "source": "here", "value": value}),
        ("secret_remove", about),
    ]
    assert stage.get(f"{API}/secrets/TOKEN", admin).status_code == 405


def test_join_tokens_are_made_and_listed_by_administrators(stage: Stage) -> None:
    admin = stage.token("admin")
    assert stage.post(f"{API}/join-tokens", admin, json={"role": "observer", "uses": 3}).status_code == 201
    assert stage.dispatcher.wishes[0][1]["uses"] == 3
    assert stage.get(f"{API}/join-tokens", admin).json() == []
    assert stage.request("DELETE", f"{API}/join-tokens/none", admin).status_code == 404
    assert stage.get(f"{API}/join-tokens", stage.token("run")).status_code == 403


def test_passes_are_listed_without_their_secrets_and_ended_for_good(stage: Stage) -> None:
    mine = stage.token("read")
    (listed,) = stage.get(f"{API}/passes", mine).json()
    assert (listed["person"], listed["scope"], listed["kind"]) == ("ada", "read", "token")
    assert mine["authorization"].removeprefix("Bearer ") not in str(listed)
    assert stage.request("DELETE", f"{API}/passes/nonsense", mine).status_code == 404
    assert stage.request("DELETE", f"{API}/passes/{listed['id']}", mine).status_code == 204
    assert stage.get(f"{API}/passes", mine).status_code == 401


def test_builds_are_filtered_by_state_and_event(stage: Stage) -> None:
    for query, found in (("state=failed", [1]), ("state=queued&event=push", [2]), ("event=schedule", [])):
        listed = stage.get(f"{API}/builds?{query}", stage.token()).json()["builds"]
        assert [each["id"] for each in listed] == found
    assert stage.get(f"{API}/builds?state=broken", stage.token()).status_code == 422


def test_what_is_built_by_the_clock_and_how_branches_stand(stage: Stage) -> None:
    assert stage.get(f"{API}/schedules", stage.token()).json() == []
    assert stage.get(f"{API}/repositories", stage.token()).status_code == 200


async def endless() -> AsyncIterator[bytes]:
    for _ in range(BODY_BYTES_MAX // 65_536 + 2):
        yield b" " * 65_536


@pytest.mark.parametrize("whole", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(stage: Stage, whole: bool) -> None:
    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=stage.app)
        headers = {**stage.token("admin"), "content-type": "application/json"}
        async with httpx2.AsyncClient(transport=transport, base_url=HERE) as client:
            content = b" " * (BODY_BYTES_MAX + 1) if whole else endless()
            return await client.post(f"{API}/join-tokens", content=content, headers=headers)

    answer = asyncio.run(ask())
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("path", ["/login", "/logout", "/builds/2/retry", f"{API}/builds", f"{API}/join-tokens"])
def test_of_whoever_shows_no_good_pass_little_is_read(stage: Stage, path: str, whole: bool) -> None:
    """A stranger's megabyte was read and taken apart before anybody asked who sent it, and all others waited."""
    kind = "application/json" if path.startswith(API) else "application/x-www-form-urlencoded"
    taken = 0

    async def pieces(size: int) -> AsyncIterator[bytes]:
        nonlocal taken
        taken = 0
        for at in range(0, size, 1024):
            taken += min(1024, size - at)
            yield b" " * min(1024, size - at)

    def sent(size: int, headers: dict[str, str]) -> int:
        length = {"content-length": str(size)} if whole else {}
        return stage.post(path, {"content-type": kind, **length, **headers}, content=pieces(size)).status_code

    for nobody in ({}, {"authorization": "Bearer svt_nonsense"}, {"cookie": "surveil=svs_nonsense"}):
        assert sent(BODY_BYTES_MAX, nobody) == 401
        assert taken == (0 if whole else STRANGERS_BYTES_MAX + 1024)
    for somebody in (stage.token(), {"cookie": f"{COOKIE}={stage.session()}"}):
        sent(BODY_BYTES_MAX, somebody)
        assert taken == BODY_BYTES_MAX
    sent(STRANGERS_BYTES_MAX, {})
    assert taken == STRANGERS_BYTES_MAX


def test_what_everybody_may_see_lets_nobody_send_much(stage: Stage) -> None:
    stage.passes.people.put(ANYBODY, [Role(repo=EVERYWHERE, scope="read")], now=stage.now)
    assert stage.get(f"{API}/builds").status_code == 200
    large = b" " * (STRANGERS_BYTES_MAX + 1)
    assert stage.post(f"{API}/builds", {"content-type": "application/json"}, content=large).status_code == 401


def test_a_webhook_may_be_large_as_it_shows_no_pass(stage: Stage) -> None:
    stage.hooks.set(REPO, SECRET, now=stage.now, overlap_ms=0)
    body = BODY.ljust(40 * STRANGERS_BYTES_MAX)
    assert stage.post("/hooks/github", github(body), content=body).status_code == 202
