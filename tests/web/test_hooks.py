"""Webhooks: what proves itself is a hint to look, and nothing else is anything (S17 of the threat model)."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlencode

import httpx2
import pytest
from starlette.types import Message

from surveil.store.hooks import KEPT_MS
from surveil.web.hooks import receiving
from surveil.web.hooks.forges import CLOCKS_APART_S
from surveil.web.hooks.receiving import BUSY_MAX
from surveil.web.hooks.route import BODY_BYTES_MAX
from tests.web.stage import HERE, PATIENCE_S, Stage

REPO: Final = "git@example.org:team/Lib.git"
OTHER: Final = "https://example.org/team/other"
SECRET: Final = "it is a long secret, with umlauts: äöü"
SHA_A, SHA_B = "a" * 40, "b" * 40
EACH_MAX: Final = BUSY_MAX // 2
LOOK: Final = ("look", {"repo": REPO})

# Payloads by the forges' own schemas: the fields that say which repository is meant, beside some that we do not read.
GITHUB: Final[dict[str, Any]] = {
    "ref": "refs/heads/main", "before": SHA_A, "after": SHA_B, "commits": [],
    "repository": {
        "id": 1, "full_name": "team/lib", "html_url": "https://example.org/team/lib",
        "clone_url": "https://example.org/team/lib.git", "ssh_url": "git@example.org:team/lib.git",
        "git_url": "git://example.org/team/lib.git", "pushed_at": 1_700_000_000,
    },
    "sender": {"login": "ada"},
}  # fmt: skip
GITLAB: Final[dict[str, Any]] = {
    "object_kind": "push", "event_name": "push", "ref": "refs/heads/main", "before": SHA_A, "after": SHA_B,
    "project": {
        "id": 15, "path_with_namespace": "team/lib", "web_url": "https://example.org/team/lib",
        "git_http_url": "https://example.org/team/lib.git", "git_ssh_url": "git@example.org:team/lib.git",
    },
    "repository": {"name": "lib", "homepage": "https://example.org/team/lib"},
}  # fmt: skip
GENERIC: Final = {"repository": "https://EXAMPLE.org/team/lib/", "id": "build 7"}


@pytest.fixture
def stage(stage: Stage) -> Stage:
    stage.hooks.set(REPO, SECRET, now=stage.now, overlap_ms=0)
    stage.hooks.set(OTHER, "the secret of another repository", now=stage.now, overlap_ms=0)
    return stage


def mac(body: bytes, secret: str = SECRET, how: str = "sha256") -> str:
    return hmac.new(secret.encode(), body, how).hexdigest()


def github(body: bytes, *, event: str = "push", delivery: str = "d-1", **more: str) -> dict[str, str]:
    return {
        "content-type": "application/json", "x-github-event": event, "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={mac(body)}", **more,
    }  # fmt: skip


def standard(stage: Stage, body: bytes, *, late_s: int = 0, delivery: str = "m-1", key: bytes = b"") -> dict[str, str]:
    at = str(stage.now // 1000 - late_s)
    made = hmac.digest(key or SECRET.encode(), f"{delivery}.{at}.".encode() + body, "sha256")
    signed = f"v1,{base64.b64encode(bytes(32)).decode()} v1a,abc v1,{base64.b64encode(made).decode()}"
    return {"webhook-id": delivery, "webhook-timestamp": at, "webhook-signature": signed}


def gitea(name: str, body: bytes, event: str = "push") -> dict[str, str]:
    return {f"x-{name}-event": event, f"x-{name}-delivery": "d-1", f"x-{name}-signature": mac(body)}


def deliver(stage: Stage, forge: str, payload: Any, headers: Mapping[str, Any]) -> httpx2.Response:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    # Whatever a header holds arrives as bytes.
    raw = {name: value if isinstance(value, bytes) else value.encode() for name, value in headers.items()}
    return stage.post(f"/hooks/{forge}", raw, content=body)  # type: ignore[arg-type]


BODY: Final = json.dumps(GITHUB).encode()


# ---- what is taken


@pytest.mark.parametrize("event", ["push", "create", "pull_request"])
def test_a_push_a_tag_and_a_pull_request_at_github_are_hints_to_look(stage: Stage, event: str) -> None:
    answer = deliver(stage, "github", BODY, github(BODY, event=event))
    assert (answer.status_code, answer.json()) == (202, {"repo": REPO, "heard": "a hint", "observers": 1})
    assert stage.dispatcher.wishes == [LOOK]


@pytest.mark.parametrize("name", ["gitea", "forgejo"])
@pytest.mark.parametrize("forge", ["gitea", "forgejo"])
def test_gitea_and_forgejo_sign_in_plain_hexadecimal(stage: Stage, forge: str, name: str) -> None:
    assert deliver(stage, forge, BODY, gitea(name, BODY)).status_code == 202
    assert stage.dispatcher.wishes == [LOOK]


@pytest.mark.parametrize("event", ["Push Hook", "Tag Push Hook", "Merge Request Hook"])
def test_gitlab_shows_its_token_or_signs(stage: Stage, event: str) -> None:
    body = json.dumps(GITLAB).encode()
    headers = {"x-gitlab-event": event, "x-gitlab-token": SECRET, "idempotency-key": "k-1"}
    assert deliver(stage, "gitlab", body, headers).status_code == 202
    signed = {"x-gitlab-event": event, **standard(stage, body)}
    assert deliver(stage, "gitlab", body, signed).status_code == 202
    assert stage.dispatcher.wishes == [LOOK, LOOK]


def test_anything_that_can_sign_is_a_forge_as_well(stage: Stage) -> None:
    body = json.dumps(GENERIC).encode()
    assert deliver(stage, "generic", body, {"x-hub-signature-256": f"sha256={mac(body)}"}).status_code == 202
    assert deliver(stage, "generic", body, standard(stage, body)).status_code == 202
    assert deliver(stage, "generic", body, standard(stage, body, delivery="m-2")).status_code == 202
    assert stage.dispatcher.wishes == [LOOK] * 3


def test_a_signing_secret_of_the_standard_form_is_read_as_such(stage: Stage) -> None:
    key = bytes(range(32))
    stage.hooks.set(REPO, "whsec_" + base64.b64encode(key).decode(), now=stage.now, overlap_ms=0)
    body = json.dumps(GITLAB).encode()
    headers = {"x-gitlab-event": "Push Hook", **standard(stage, body, key=key)}
    assert deliver(stage, "gitlab", body, headers).status_code == 202


def test_a_form_of_github_is_taken_and_its_signature_is_of_the_raw_body(stage: Stage) -> None:
    body = urlencode({"payload": json.dumps(GITHUB)}).encode()
    headers = github(body) | {"content-type": "application/x-www-form-urlencoded"}
    assert deliver(stage, "github", body, headers).status_code == 202


def test_a_ping_is_answered_and_looks_at_nothing(stage: Stage) -> None:
    body = json.dumps({"zen": "Keep it logically awesome.", "hook_id": 1, **GITHUB}).encode()
    answer = deliver(stage, "github", body, github(body, event="ping"))
    assert (answer.status_code, answer.json()["heard"]) == (200, "ping")
    assert stage.dispatcher.wishes == []


def test_an_event_of_no_interest_is_heard_and_looks_at_nothing(stage: Stage) -> None:
    for event in ("issues", "deployment", "x" * 5_000, "", "push\xe4"):
        body = json.dumps(GITHUB | {"n": event}).encode()
        answer = deliver(stage, "github", body, github(body, delivery=f"d-{len(event)}{event[:1]}", event=event))
        assert (answer.status_code, answer.json()["heard"]) == (202, "nothing of interest")
    assert stage.dispatcher.wishes == []


# ---- what is not


CHANGEDS: Final[list[dict[str, str]]] = [
    {"x-hub-signature-256": ""},
    {"x-hub-signature-256": "sha256="},
    {"x-hub-signature-256": f"sha256={mac(BODY)[:-1]}"},
    {"x-hub-signature-256": f"sha256={mac(BODY)}0"},
    {"x-hub-signature-256": f"sha256={mac(BODY)[:-1]}ä"},
    {"x-hub-signature-256": f"sha256={mac(BODY).upper()}"},
    {"x-hub-signature-256": mac(BODY)},
    {"x-hub-signature-256": f"sha1={mac(BODY, how='sha1')}"},
    {"x-hub-signature-256": f"sha256={mac(BODY, how='sha1')}"},
    {"x-hub-signature-256": f"sha256={mac(BODY, 'another secret')}"},
    {"x-hub-signature-256": f"sha256={mac(BODY, 'the secret of another repository')}"},
    {"x-hub-signature-256": f"sha256={mac(BODY + b' ')}"},
    {"x-hub-signature-256": f"sha256={mac(b'')}"},
    {"x-hub-signature-256": f"sha256={'0' * 64}"},
    {"x-hub-signature-256": "", "x-hub-signature": f"sha1={mac(BODY, how='sha1')}"},
    {"x-hub-signature-256": "", "x-gitea-signature": mac(BODY)},
    {"x-hub-signature-256": "", "x-gitlab-token": SECRET},
]


def test_what_does_not_prove_itself_is_refused_with_401(stage: Stage) -> None:
    for changed in CHANGEDS:
        answer = deliver(stage, "github", BODY, github(BODY) | changed)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert stage.dispatcher.asked == []
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 202


TOKENS: Final[list[str]] = ["", "x", SECRET[:-1], SECRET + " ", "it is a long secret, with umlauts: aou"]


def test_a_wrong_token_of_gitlab_is_refused(stage: Stage) -> None:
    for token in TOKENS:
        headers = {"x-gitlab-event": "Push Hook", "x-gitlab-token": token}
        assert deliver(stage, "gitlab", GITLAB, headers).status_code == 401
        assert stage.dispatcher.asked == []


def test_a_signature_with_a_time_is_good_for_minutes_and_only_as_it_was_made(stage: Stage) -> None:
    body = json.dumps(GENERIC).encode()
    for late_s in (CLOCKS_APART_S + 1, -CLOCKS_APART_S - 1):
        assert deliver(stage, "generic", body, standard(stage, body, late_s=late_s)).status_code == 401
    good = standard(stage, body, late_s=CLOCKS_APART_S)
    for name, value in (("webhook-id", "m-2"), ("webhook-id", ""), ("webhook-timestamp", str(stage.now // 1000))):
        assert deliver(stage, "generic", body, good | {name: value}).status_code == 401
    assert deliver(stage, "generic", body, good | {"webhook-signature": "v1,"}).status_code == 401
    assert deliver(stage, "generic", body, good).status_code == 202


def test_a_secret_that_looks_standard_and_holds_nothing_does_not_sign_with_nothing(stage: Stage) -> None:
    stage.hooks.set(REPO, "whsec_!!!!!!!!!!!!!!!!", now=stage.now, overlap_ms=0)
    body = json.dumps(GENERIC).encode()
    at = str(stage.now // 1000)
    made = base64.b64encode(hmac.digest(b"", f"m.{at}.".encode() + body, "sha256")).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": at, "webhook-signature": f"v1,{made}"}
    assert deliver(stage, "generic", body, headers).status_code == 401


def test_of_two_signatures_nobody_chooses_one(stage: Stage) -> None:
    async def story() -> int:
        shown = [("x-hub-signature-256", f"sha256={each}") for each in (mac(BODY), "0" * 64)]
        others = [(name, value) for name, value in github(BODY).items() if name != "x-hub-signature-256"]
        transport = httpx2.ASGITransport(app=stage.app)
        async with httpx2.AsyncClient(transport=transport, base_url=HERE) as client:
            answer = await client.post("/hooks/github", headers=[*others, *shown], content=BODY)
        return answer.status_code

    assert asyncio.run(story()) == 401


def test_the_secret_of_one_repository_proves_nothing_of_another(stage: Stage) -> None:
    payload = GITHUB | {"repository": {"clone_url": f"{OTHER}.git"}}
    body = json.dumps(payload).encode()
    assert deliver(stage, "github", body, github(body)).status_code == 401
    assert stage.dispatcher.asked == []


def of_a_fork(forge: str) -> tuple[dict[str, Any], dict[str, str]]:
    """What a forge sends of a request from somebody's fork, by its own schema, and its headers but for proofs: GitHub's
    and Gitea's `pull_request.head.repo` is the fork, and GitLab's `object_attributes.source`.
    """
    fork = "https://example.org/mallory/lib"
    if forge == "gitlab":
        source = {"git_http_url": f"{fork}.git", "git_ssh_url": "git@example.org:mallory/lib.git", "web_url": fork}
        moved = {"action": "open", "source": source, "target": GITLAB["project"], "last_commit": {"id": SHA_B}}
        payload = GITLAB | {"object_kind": "merge_request", "object_attributes": moved}
        return payload, {"x-gitlab-event": "Merge Request Hook"}
    head = {"sha": SHA_B, "ref": "evil", "repo": {"clone_url": f"{fork}.git", "html_url": fork, "fork": True}}
    pull = {"head": head, "base": {"sha": SHA_A, "ref": "main", "repo": GITHUB["repository"]}}
    payload = GITHUB | {"action": "opened", "number": 7, "pull_request": pull, "after": None}
    return payload, {f"x-{forge}-event": "pull_request", f"x-{forge}-delivery": "d-1"}


def proofs(forge: str, body: bytes, secret: str) -> dict[str, str]:
    """What proves a body to be of somebody with this secret."""
    if forge == "gitlab":
        return {"x-gitlab-token": secret}
    name = "x-hub-signature-256" if forge == "github" else f"x-{forge}-signature"
    return {name: f"{'sha256=' if forge == 'github' else ''}{mac(body, secret)}"}


@pytest.mark.parametrize("forge", ["github", "gitea", "forgejo", "gitlab"])
def test_of_a_request_from_a_fork_the_repository_is_looked_at_and_the_fork_has_no_say(stage: Stage, forge: str) -> None:
    theirs = "a secret that whoever has the fork chose"
    stage.hooks.set("https://example.org/mallory/lib", theirs, now=stage.now, overlap_ms=0)
    payload, headers = of_a_fork(forge)
    body = json.dumps(payload).encode()
    assert deliver(stage, forge, body, headers | proofs(forge, body, theirs)).status_code == 401
    assert stage.dispatcher.asked == []
    assert deliver(stage, forge, body, headers | proofs(forge, body, SECRET)).status_code == 202
    assert stage.dispatcher.wishes == [LOOK]


REPOSITORYS: Final[list[Any]] = [
    {},
    None,
    [],
    "x",
    {"clone_url": 7},
    {"clone_url": "ext::sh -c id"},
    {"ssh_url": ["a"]},
]


def test_a_payload_that_names_no_repository_is_nobodys(stage: Stage) -> None:
    for repository in REPOSITORYS:
        body = json.dumps(GITHUB | {"repository": repository}).encode()
        assert deliver(stage, "github", body, github(body)).status_code == 401


BODYS: Final[list[bytes]] = [b"", b"[]", b"7", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"9" * 9_000]


def test_a_body_that_is_no_object_is_told_so(stage: Stage) -> None:
    for body in BODYS:
        assert deliver(stage, "github", body, github(body)).status_code == 400
        assert stage.dispatcher.asked == []


def test_a_forged_payload_starts_nothing_even_with_the_secret(stage: Stage) -> None:
    lies = GITHUB | {
        "after": "c" * 40,
        "ref": "refs/heads/x; touch /tmp/x",
        "repository": {**GITHUB["repository"], "x": 1},
    }
    body = json.dumps(lies).encode()
    assert deliver(stage, "github", body, github(body)).status_code == 202
    # What is looked at is what was set here, and no word of the payload goes further.
    assert stage.dispatcher.wishes == [LOOK]


def test_a_huge_body_is_cut_off_before_anybody_reads_it(stage: Stage) -> None:
    body = b'{"a": "' + b"x" * 10_000_000 + b'"}'
    assert deliver(stage, "github", body, github(body)).status_code == 413

    async def pieces() -> Any:
        for _ in range(BODY_BYTES_MAX // 65_536 + 2):
            yield b" " * 65_536
            read.append(1)

    read: list[int] = []
    assert stage.post("/hooks/github", github(b""), content=pieces()).status_code == 413
    assert stage.dispatcher.asked == []


def test_unknown_forges_and_other_methods_are_refused(stage: Stage) -> None:
    assert deliver(stage, "sourceforge", BODY, github(BODY)).status_code == 404
    assert stage.get("/hooks/github").status_code in {404, 405}


# ---- again


def test_a_delivery_counts_once_within_seven_days(stage: Stage) -> None:
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 202
    again = deliver(stage, "github", BODY, github(BODY))
    assert (again.status_code, again.json()["title"]) == (409, "in conflict")
    # The id is not signed: whoever changes it still has the same body.
    assert deliver(stage, "github", BODY, github(BODY, delivery="d-2")).status_code == 409
    # And `webhook-id` means nothing at GitHub.
    assert deliver(stage, "github", BODY, github(BODY, delivery="d-3") | standard(stage, BODY)).status_code == 409
    # Nor is what happened, nor which forge says so, and several sign alike.
    assert deliver(stage, "github", BODY, github(BODY, event="create", delivery="d-4")).status_code == 409
    for forge in ("gitea", "forgejo"):
        assert deliver(stage, forge, BODY, gitea(forge, BODY)).status_code == 409
    other = json.dumps(GITHUB | {"after": "c" * 40}).encode()
    assert deliver(stage, "github", other, github(other)).status_code == 409
    assert stage.dispatcher.wishes == [LOOK]
    stage.now += KEPT_MS + 1
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 202


def test_a_delivery_that_somebody_sent_before_as_an_event_of_no_interest_still_counts(stage: Stage) -> None:
    for event, heard in (("ping", "ping"), ("issues", "nothing of interest")):
        body = json.dumps(GITHUB | {"after": event}).encode()
        assert deliver(stage, "github", body, github(body, event=event, delivery=event)).json()["heard"] == heard
        assert deliver(stage, "github", body, github(body, event=event, delivery=event)).status_code == 409
        assert deliver(stage, "github", body, github(body, delivery=event)).json()["heard"] == "a hint"
        assert deliver(stage, "github", body, github(body, delivery=event)).status_code == 409
    assert stage.dispatcher.wishes == [LOOK, LOOK]


def test_what_was_delivered_is_known_to_other_processes_and_after_a_restart(stage: Stage) -> None:
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 202
    del stage.__dict__["app"]
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 409


def test_a_delivery_of_which_nothing_came_may_come_again(stage: Stage) -> None:
    stage.dispatcher.away = True
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 503
    stage.dispatcher.away = False
    assert deliver(stage, "github", BODY, github(BODY)).status_code == 202


def test_while_a_secret_takes_anothers_place_both_are_good(stage: Stage) -> None:
    new = "the new secret of it"
    stage.hooks.set(REPO, new, now=stage.now, overlap_ms=1_000)
    first, second, third = (json.dumps(GITHUB | {"n": n}).encode() for n in range(3))
    assert deliver(stage, "github", first, github(first)).status_code == 202
    signed = github(second, delivery="d-2") | {"x-hub-signature-256": f"sha256={mac(second, new)}"}
    assert deliver(stage, "github", second, signed).status_code == 202
    stage.now += 1_000
    assert deliver(stage, "github", third, github(third, delivery="d-3")).status_code == 401
    signed = github(third, delivery="d-3") | {"x-hub-signature-256": f"sha256={mac(third, new)}"}
    assert deliver(stage, "github", third, signed).status_code == 202


# ---- too many


def test_only_so_many_deliveries_are_read_at_once_and_half_of_them_of_one_address(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stranger whose bodies did not come kept the webhooks of all forges out."""
    monkeypatch.setattr(stage.app.state.receiver.room, "wait_s", 0.01)

    async def story() -> list[int]:
        held = asyncio.Event()
        first, second, third = (
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=stage.app, client=(host, 40_000)), base_url=HERE)
            for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3")
        )

        async def slow() -> Any:
            await held.wait()
            yield BODY

        async def taken(client: httpx2.AsyncClient) -> list[asyncio.Task[httpx2.Response]]:
            most = stage.app.state.receiver.room.busy.total() + EACH_MAX
            made = [
                asyncio.create_task(client.post("/hooks/github", headers=github(BODY), content=slow()))
                for _ in range(EACH_MAX)
            ]
            # Nothing tells of it but a look.
            while stage.app.state.receiver.room.busy.total() < most:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            return made

        async with asyncio.timeout(30), first, second, third:
            slow_ones = await taken(first)
            refused = [await first.post("/hooks/github", headers=github(BODY), content=BODY)]
            slow_ones += await taken(second)
            refused.append(await third.post("/hooks/github", headers=github(BODY), content=BODY))
            held.set()
            answers = [*refused, *await asyncio.gather(*slow_ones)]
        assert not stage.app.state.receiver.room.busy
        return [answer.status_code for answer in answers]

    assert sorted(asyncio.run(story())) == sorted([503, 503, 202, *[409] * (BUSY_MAX - 1)])


def test_all_that_a_forge_says_in_the_same_moment_is_heard(stage: Stage) -> None:
    """All but sixteen were told to come again, and many forges never do."""

    async def story() -> list[int]:
        stage.come_to_loop()
        transport = httpx2.ASGITransport(app=stage.app, client=("192.0.2.1", 40_000))
        bodies = [json.dumps({**GITHUB, "after": f"{number:040}"}).encode() for number in range(3 * EACH_MAX)]
        async with asyncio.timeout(PATIENCE_S), httpx2.AsyncClient(transport=transport, base_url=HERE) as client:
            posts = (client.post("/hooks/github", headers=github(each, delivery=""), content=each) for each in bodies)
            return [answer.status_code for answer in await asyncio.gather(*posts)]

    assert asyncio.run(story()) == [202] * (3 * EACH_MAX)
    assert stage.dispatcher.wishes == [LOOK] * (3 * EACH_MAX)


def test_whoever_reads_a_page_does_not_wait_for_deliveries(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """They waited for the disk in all threads of the process, and everybody else for them."""
    going_on, take = threading.Event(), stage.hooks.hooks.take

    def slow(*about: Any, **more: Any) -> bool:
        assert going_on.wait(PATIENCE_S)
        return take(*about, **more)

    monkeypatch.setattr(stage.hooks.hooks, "take", slow)

    async def story() -> list[int]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))
        stage.come_to_loop()
        first, second = (
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=stage.app, client=(host, 40_000)), base_url=HERE)
            for host in ("192.0.2.1", "192.0.2.2")
        )
        async with asyncio.timeout(PATIENCE_S), first, second:
            try:
                bodies = [json.dumps({**GITHUB, "after": f"{number:040}"}).encode() for number in range(BUSY_MAX)]
                coming = [
                    asyncio.create_task(client.post("/hooks/github", headers=github(body, delivery=""), content=body))
                    for client, each in ((first, bodies[:EACH_MAX]), (second, bodies[EACH_MAX:]))
                    for body in each
                ]
                while stage.app.state.receiver.room.busy.total() < BUSY_MAX:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                answers = [await first.get(path, headers=stage.token()) for path in ("/builds", "/api/v1/builds/1")]
            finally:
                going_on.set()
            return [answer.status_code for answer in (*answers, *await asyncio.gather(*coming))]

    assert asyncio.run(story()) == [200, 200, *[202] * BUSY_MAX]


def test_whoever_leaves_in_the_middle_is_no_defect_and_a_guess(stage: Stage) -> None:
    """Each time 78 lines of one stood in the log, for anybody who liked to fill it."""
    sent: list[Message] = []

    async def story() -> None:
        headers = {**github(BODY), "host": "ci.example.org", "content-length": str(len(BODY))}
        coming: list[Message] = [
            {"type": "http.request", "body": BODY[:5], "more_body": True}, {"type": "http.disconnect"},
        ]  # fmt: skip

        async def receive() -> Message:
            return coming.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {
            "type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": "/hooks/github",
            "raw_path": b"/hooks/github", "query_string": b"", "client": ("192.0.2.1", 40_000),
            "server": ("ci.example.org", 80), "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
        }  # fmt: skip
        await stage.app(scope, receive, send)

    asyncio.run(story())
    assert [each["status"] for each in sent if each["type"] == "http.response.start"] == [400]
    assert not stage.app.state.receiver.room.busy


def test_a_flood_of_forgeries_is_one_line_of_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(50):
        deliver(stage, "github", BODY, github(BODY) | {"x-hub-signature-256": "sha256=" + "0" * 64})
    assert sum("nothing proves" in record.getMessage() for record in caplog.records) == 1
    stage.now += receiving.QUIET_MS
    deliver(stage, "github", BODY, {})
    assert sum("nothing proves" in record.getMessage() for record in caplog.records) == 2


def test_a_program_with_a_token_gives_the_same_hint(stage: Stage) -> None:
    asked = {"repo": REPO}
    assert stage.post("/api/v1/questions/look", stage.token("read"), json=asked).status_code == 403
    answer = stage.post("/api/v1/questions/look", stage.token("run"), json=asked)
    assert (answer.status_code, answer.json()["body"]["observers"]) == (200, 1)
    assert stage.dispatcher.wishes == [LOOK]
