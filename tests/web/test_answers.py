"""Every route sends the documents that the description of the API says, of an installation that has seen something."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator

from surveil.core.model import Status
from surveil.core.scopes import Scope
from surveil.protocol import WatchedRepo
from surveil.store.acts import Act
from surveil.store.passes import Kind
from surveil.store.people import Role
from surveil.web.api.described import ANSWERS, FILES, STREAMS, operations
from surveil.web.visitors import SESSION_MS
from tests.cli.test_acting import PIPELINE, git
from tests.fitting import misfits
from tests.store.records import make_build, make_job, make_secret, make_token, new
from tests.web import world
from tests.web.events import STREAM, events_of, listen
from tests.web.stage import PATIENCE_S, Stage

API: Final = "/api/v1"
LIB: Final = "lib"
PARTS: Final = {
    "{build}": str(world.LOGGED), "{job}": quote(world.WRONG, safe=""), "{attempt}": "1", "{order}": "cordon",
    "{question}": "build", "{name}": "green",
}  # fmt: skip
SENT: Final[Mapping[str, dict[str, Any]]] = {
    f"POST {API}/builds": {"json": {"repo": LIB, "ref": "main"}},
    f"POST {API}/join-tokens": {"json": {"role": "runner"}},
    f"POST {API}/questions/{{question}}": {"json": {"build": world.LOGGED}},
    f"PUT {API}/secrets/{{name}}": {"json": {"value": "a secret"}},
    f"PUT {API}/hooks": {"json": {"repo": "https://example.org/lib.git", "secret": "sixteen letters!"}},
    f"POST {API}/hooks/allow": {"json": {"repo": "https://example.org/lib.git", "may": "retry"}},
    f"PUT {API}/users/{{name}}": {"json": {"roles": [{"role": "run", "repo": "/srv/*"}]}},
    f"GET {API}/builds/{{build}}/jobs/{{job}}/attempts/{{attempt}}/log/search": {"params": {"text": "test"}},
    f"GET {API}/builds/{{build}}/artifacts/{{name}}": {"params": {"job": "build", "attempt": 1}},
    "POST /runner": {"json": {}},
}
HELD: Final = 16
ELSEWHERE: Final = {
    f"POST {API}/builds/{{build}}/approve": HELD, f"POST {API}/builds/{{build}}/unhold": HELD + 1,
    f"POST {API}/builds/{{build}}/cancel": HELD + 1,
}  # fmt: skip
"""Routes that are asked about another build than the others."""


@pytest.fixture(name="stage")
def _stage(tmp_path: Path) -> Stage:
    """The sample, with something of everything that is kept, and a repository to be built."""
    (folder := tmp_path / "stage").mkdir()
    made = Stage(folder)
    world.sample(made.desk)
    (here := tmp_path / LIB).mkdir()
    (here / ".surveil.yml").write_text(PIPELINE)
    git("init", "-q", cwd=here)
    git("add", ".", cwd=here)
    git("commit", "-q", "-m", "Add a pipeline", cwd=here)
    made.desk.live.watching["near"] = (WatchedRepo(repo=str(here)),)
    made.desk.store.put_secrets([make_secret("ALL", scope=Scope()), make_secret("ONE", scope=Scope(repo="/srv/a.git"))])
    made.desk.store.add_token(make_token())
    for number, trusted in ((HELD, False), (HELD + 1, True)):
        build = make_build(number, mid=str(number), trusted=trusted, state=Status.HELD)
        made.desk.store.commit(new(build, make_job(number, state=Status.HELD)))
    made.passes.people.put("grace", [Role(repo="/srv/*", scope="run")], now=made.now)
    made.hooks.set("https://example.org/heard.git", "sixteen letters!", now=made.now, overlap_ms=0)
    made.acts.write(Act(at=made.now, person="ada", way="page", what="cancel", subject="build 3"))
    made.outbox.append(
        {
            "name": "github", "delivered": 3, "delivered_at": None, "waiting": 0, "waiting_since": None, "behind": 0,
            "given_up": 0, "again_at": None, "problem": None,
        }
    )  # fmt: skip
    return made


def ask(stage: Stage, label: str, **more: Any) -> Any:
    method, _, path = label.partition(" ")
    for name, value in {**PARTS, "{build}": str(ELSEWHERE.get(label, world.LOGGED))}.items():
        path = path.replace(name, value)
    if label == "POST /commit":
        head = git("rev-parse", "HEAD", cwd=stage.folder.parent / LIB)
        more = {"json": {"id": head, "repository": {"name": LIB}}}
    headers = stage.token("admin")
    if label == f"GET {API}/me":
        grace = stage.passes.issue(Kind.TOKEN, "grace", "run", now=stage.now, lasts_ms=SESSION_MS, user="grace")
        headers = {"authorization": f"Bearer {grace}"}
    answer = stage.request(method, path, headers, **{**SENT.get(label, {}), **more})
    assert answer.status_code in {200, 201}, f"{label}: {answer.status_code} {answer.text[:500]}"
    return answer


def parts(stage: Stage) -> dict[str, Any]:
    found: dict[str, Any] = stage.app.openapi()["components"]["schemas"]
    return found


def test_every_route_answers_with_what_is_said(stage: Stage) -> None:
    wrong: dict[str, list[str]] = {}
    for label in ANSWERS:
        document = ask(stage, label).json()
        wrong[label] = misfits(document, ANSWERS[label], parts(stage))
        assert document, f"{label}: an empty list would fit whatever is said of what is in it"
        lists = [value for value in document.values() if isinstance(value, list)] if isinstance(document, dict) else []
        assert any(lists) or not lists, f"{label}: so would {document}"
    assert {label: found for label, found in wrong.items() if found} == {}


def test_builds_without_their_jobs_are_those_with_them(stage: Stage) -> None:
    label = f"GET {API}/builds"
    brief = ask(stage, label, params={"jobs": False}).json()
    assert misfits(brief, ANSWERS[label], parts(stage)) == []
    whole = ask(stage, label).json()
    assert [{**each, "jobs": None} for each in whole["builds"]] == [{**each, "jobs": None} for each in brief["builds"]]


@pytest.mark.parametrize("label", sorted(label for label in STREAMS if "{job}" in label))
def test_whoever_follows_a_log_is_told_what_is_said(stage: Stage, label: str) -> None:
    where: dict[str, Any] = {"only": True} if "/rows" in label else {"tail": 5}
    told = events_of(ask(stage, label, params={"attempt": 1, **where}).text)
    assert len(told) > 1
    assert told[-1][0] == "end"
    for kind, _, body in told:
        assert misfits(body, STREAMS[label][kind], parts(stage)) == []


def test_whoever_follows_the_journal_is_told_what_is_said(stage: Stage) -> None:
    told, gone = bytearray(), asyncio.Event()

    async def send(message: MutableMapping[str, Any]) -> None:
        told.extend(message.get("body", b""))
        if told.count(b"event: note") > 1:
            gone.set()

    async def follow() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await listen(stage, {**stage.token("admin"), "last-event-id": "0"}, send, gone)

    asyncio.run(follow())
    found = events_of(told.decode())
    assert {body["what"] for _, _, body in found} == {"runner", "dispatcher"}
    for kind, _, body in found:
        assert misfits(body, STREAMS[f"GET {STREAM}"][kind], parts(stage)) == []


def test_every_route_that_answers_with_something_is_described_once(stage: Stage) -> None:
    described = [*ANSWERS, *STREAMS, *FILES]
    assert len(described) == len({*described})
    found = dict(operations(stage.app.openapi()))
    silent = {label for label, operation in found.items() if "204" in operation["responses"]}
    assert {*described} == found.keys() - silent
    telling = f"DELETE {API}/users/{{name}}"
    assert silent == {label for label in found if label.startswith("DELETE")} - {telling}


def test_what_is_said_of_documents_can_be_meant(stage: Stage) -> None:
    for schema in [
        *parts(stage).values(),
        *ANSWERS.values(),
        *(one for kinds in STREAMS.values() for one in kinds.values()),
    ]:
        Draft202012Validator.check_schema(schema)
