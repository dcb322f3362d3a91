"""Who may do what: every route with every role, by the table in the documents; and nothing of a repository shows to
whoever may not read it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from surveil.answer import Question
from surveil.core.model import AttemptState, Status
from surveil.core.scopes import Scope as SecretScope
from surveil.errors import ExitCode, NotAllowedError, SurveilError, UnreachableError
from surveil.protocol import WatchedRepo
from surveil.store.passes import Kind
from surveil.store.people import ANYBODY, Role
from surveil.web import own
from surveil.web.allowing import HowOften
from surveil.web.own import RULES, OwnBooks
from surveil.web.rights import Rights, Scope, covers, rights_of
from surveil.web.visitors import COOKIE, SESSION_MS, Visitor, csrf_of
from tests.store.records import (
    make_artifact,
    make_attempt,
    make_build,
    make_job,
    make_note,
    make_secret,
    make_spec,
    new,
)
from tests.web.stage import HERE, Stage

API = "/api/v1"
TABLE = Path(__file__).parents[2] / "docs" / "reference" / "rights.md"
ALPHA, BETA = "/srv/alpha.git", "/srv/beta.git"
MARK = "alpha"
"""Stands in everything that is of the first repository."""


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Two repositories, each with a build that failed and all that belongs to one."""
    made = Stage(tmp_path)
    made.how_often = HowOften(rate=0, failed_most=10_000)
    notes = []
    for number, (repo, name) in enumerate(((ALPHA, MARK), (BETA, "beta")), 1):
        about = {"repo": repo, "state": Status.FAILED, "reason": f"{name} failed"}
        made.desk.store.commit(
            new(
                make_build(
                    number, jobs=(name,), mid=name, ref=f"refs/heads/{name}", message=f"Change {name}",
                    author=f"{name} <{name}@example.org>", complaints=(), paths=(), inputs={}, approved="", **about,
                ),
                make_job(number, name, spec=make_spec(name), attempt=1, outputs=(), **about),
                make_attempt(number, name, state=AttemptState.FAILED),
            )
        )  # fmt: skip
        made.desk.log(f"{number}/{name}", 1, f"says {name}\n".encode())
        made.desk.keep(make_artifact(job=f"{number}/{name}", attempt=1, name=name, expires_at=made.now + 10**9))
        notes.append(make_note("job", f"{number}/{name}", build=number, state="failed", reason=f"{name} failed"))
    made.desk.store.commit(new(notes=tuple(notes)))
    made.desk.live.watching["eye"] = (WatchedRepo(repo=ALPHA, problem=f"{MARK} is away"), WatchedRepo(repo=BETA))
    made.desk.live.schedules = lambda: [(ALPHA, "0 1 * * *", "UTC", None), (BETA, "0 2 * * *", "UTC", None)]
    made.desk.live.troubles = lambda: [("strangers", 1, MARK)]
    return made


class Way(NamedTuple):
    """A route with what it takes."""

    method: str
    path: str
    role: str
    where: str


def ways() -> list[Way]:
    found = re.findall(r"^\| `(\w+) (\S+)` \| ([a-z ]+?) \|(.*)\|$", TABLE.read_text(), re.MULTILINE)
    return [Way(*(part.strip() for part in row)) for row in found]


BODIES: Mapping[str, dict[str, Any]] = {
    "POST /api/v1/builds": {"json": {"repo": ALPHA}},
    "POST /commit": {"json": {"id": "a" * 40, "repository": {"name": ALPHA}}},
    "POST /api/v1/questions/{question}": {"json": {"build": 1}},
    "PUT /api/v1/secrets/{name}": {"json": {"value": "a secret", "repo": ALPHA}},
    "DELETE /api/v1/secrets/{name}": {"params": {"repo": ALPHA}},
    "PUT /api/v1/users/{name}": {"json": {"roles": []}},
    "PUT /api/v1/hooks": {"json": {"repo": ALPHA, "secret": "sixteen letters!"}},
    "POST /api/v1/hooks/allow": {"json": {"repo": ALPHA, "may": "look"}},
    "DELETE /api/v1/hooks": {"params": {"repo": ALPHA}},
    "DELETE /runner": {"json": {"name": "x"}},
    "POST /api/v1/join-tokens": {"json": {}},
    "GET /badge.svg": {"params": {"repo": BETA, "ref": "beta"}},
    "POST /login": {"data": {"key": "x"}},
    "GET /builds/{build}/tests/history": {"params": {"name": "x"}},
    "GET /api/v1/builds/{build}/artifacts/{name}": {"params": {"job": MARK, "attempt": 1}},
    "GET /api/v1/builds/{build}/jobs/{job:path}/attempts/{attempt}/log/search": {"params": {"text": "says"}},
}
PARTS = {
    "{build}": "1", "{job:path}": MARK, "{attempt}": "1", "{question}": "build", "{order}": "drain",
    "{forge}": "github", "{provider}": "corp",
    "{digest}": "x", "{name:path}": "style.css", "{token_id}": "none", "{pass_id}": "none", "{name}": MARK,
}  # fmt: skip
REFUSED = re.compile(r"This takes the right to|only an administrator may have it built")
HIDDEN = re.compile(r"There is no build|No observer watches")


def verdict(answer: httpx2.Response) -> str:
    """What came of it: somebody is unknown, may not, is told that there is nothing, or is let in."""
    if "Nothing proves who sent this" in answer.text:
        return "let in"
    if answer.status_code == 401 or answer.headers.get("location") == "/login":
        return "unknown"
    if answer.status_code == 403 and REFUSED.search(answer.text):
        return "refused"
    return "hidden" if answer.status_code == 404 and HIDDEN.search(answer.text) else "let in"


def token(stage: Stage, name: str, *roles: tuple[str, str], scope: str = "admin") -> dict[str, str]:
    """What a program shows whose person has these roles."""
    given = [Role(repo=repo, scope=role) for role, repo in roles]
    stage.passes.people.put(name, given, now=stage.now)
    secret = stage.passes.issue(Kind.TOKEN, name, scope, now=stage.now, lasts_ms=SESSION_MS, user=name)
    return {"authorization": f"Bearer {secret}", "accept": "text/html, application/json"}


def actors(stage: Stage) -> dict[str, dict[str, str]]:
    made = {"nobody": {}, "stranger": token(stage, "stranger", ("admin", BETA))}
    for role in ("read", "run", "admin"):
        made[f"own {role}"] = token(stage, f"own-{role}", (role, ALPHA))
        made[f"all {role}"] = token(stage, f"all-{role}", (role, "*"))
    return made


def expected(way: Way) -> dict[str, str]:
    """By actor what is to come of it."""
    known = ("stranger", *(f"{reach} {role}" for reach in ("own", "all") for role in ("read", "run", "admin")))
    if way.role in {"nobody", "signed in"}:
        first = "let in" if way.role == "nobody" else "unknown"
        return {"nobody": first, **dict.fromkeys(known, "let in")}
    enough = Scope[way.role.upper()]
    found = {"nobody": "unknown"}
    for actor in known:
        reach, _, role = actor.partition(" ")
        scope = Scope[role.upper()] if role else Scope.ADMIN
        here = way.where == "what is seen" or reach == "all" or (reach == "own" and way.where == "the repository")
        found[actor] = "let in" if here and scope >= enough else "refused"
        if reach == "stranger" and way.where == "the repository":
            found[actor] = "hidden" if "{build}" in way.path or "{question}" in way.path else "not let in"
    return found


async def walk(stage: Stage) -> list[str]:
    """What is not as the table says."""
    wrong: list[str] = []
    stage.app.state.stopping.set()
    people = actors(stage)
    transport = httpx2.ASGITransport(app=stage.app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=HERE) as client:
        for way in ways():
            path = way.path
            for name, value in PARTS.items():
                path = path.replace(name, value)
            for actor, wanted in expected(way).items():
                more = BODIES.get(f"{way.method} {way.path}", {})
                if actor == "own run" and way.path == "/logout":
                    continue
                answer = await client.request(way.method, path, headers=people[actor], **more)
                found = verdict(answer)
                if found != wanted and not (wanted == "not let in" and found in {"hidden", "refused"}):
                    wrong.append(f"{way.method} {way.path} as {actor}: {found} ({answer.status_code}), not {wanted}")
                if answer.status_code == 500:  # our own mistake
                    wrong.append(f"{way.method} {way.path} as {actor}: {answer.text[:500]}")
                if actor == "stranger" and way.method == "GET" and MARK in answer.text.replace(path, ""):
                    wrong.append(f"{way.method} {way.path} shows {MARK} to a stranger: {answer.text[:2000]}")
    return wrong


def test_every_route_is_in_the_table_and_none_else(stage: Stage) -> None:
    there = {
        (method, context.path)
        for context in iter_route_contexts(stage.app.routes)
        for method in (context.methods or ())
        if method != "HEAD"
    }
    assert there == {(way.method, way.path) for way in ways()}


def test_every_route_lets_in_whoever_the_table_says_and_shows_a_stranger_nothing(stage: Stage) -> None:
    assert "\n".join(asyncio.run(walk(stage))) == ""


SEEN = (
    "/",
    "/builds",
    "/repositories",
    "/schedules",
    "/artifacts",
    f"{API}/artifacts",
    f"{API}/builds",
    f"{API}/repositories",
    f"{API}/schedules",
)


@pytest.mark.parametrize("path", [*SEEN, f"{API}/status"])
def test_whoever_has_a_role_in_one_repository_sees_that_one_alone(stage: Stage, path: str) -> None:
    for role in ("read", "run", "admin"):
        own = stage.get(path, token(stage, "grace", (role, ALPHA))).text
        assert MARK in own
        assert "beta" not in own
    everything = stage.get(path, token(stage, "grace", ("read", "*"))).text
    assert MARK in everything
    assert "beta" in everything


def test_what_is_hidden_is_answered_as_what_there_is_not(stage: Stage) -> None:
    stranger = token(stage, "grace", ("admin", BETA))
    for below in ("", f"/jobs/{MARK}", "/story", "/tests", f"/jobs/{MARK}/attempts/1/log", f"/jobs/{MARK}/log/follow"):
        hidden, none = (stage.get(f"{API}/builds/{number}{below}", stranger) for number in (1, 77))
        assert hidden.status_code == none.status_code == 404
        assert hidden.json()["detail"].replace("1", "77") == none.json()["detail"]


@pytest.mark.parametrize("filters", ["repo=alpha", f"repo={ALPHA}", "ref=alpha", "state=failed&ref=refs/heads/alpha"])
def test_no_filter_finds_what_is_hidden(stage: Stage, filters: str) -> None:
    stranger = token(stage, "grace", ("admin", BETA))
    assert stage.get(f"{API}/builds?{filters}", stranger).json()["builds"] == []
    assert len(stage.get(f"{API}/builds?{filters}", token(stage, "ada", ("read", ALPHA))).json()["builds"]) == 1
    (standing,) = stage.get(f"{API}/repositories?repo={ALPHA}", stranger).json()
    assert (standing["refs"], standing["lately"]) == ([], [])


def test_whoever_may_see_more_repositories_than_a_list_takes_is_told_to_name_one(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "REPOS_MAX", 1)
    both = token(stage, "grace", ("read", "/srv/*"))
    refused = stage.get(f"{API}/builds", both)
    assert (refused.status_code, refused.json()["exit_code"]) == (400, ExitCode.USAGE)
    assert refused.json()["detail"] == (
        "Your roles let you see 2 repositories, and a list is made of at most 1: name one with `repo`, or ask an "
        "administrator for the role `read` in all repositories."
    )
    assert "Your roles let you see 2 repositories" in stage.get(f"{API}/artifacts", both).json()["detail"]
    for named in ("alpha", ALPHA):
        assert [each["id"] for each in stage.get(f"{API}/builds?repo={named}", both).json()["builds"]] == [1]
    assert stage.get(f"{API}/builds?repo=srv/none", both).json()["builds"] == []
    assert len(stage.get(f"{API}/builds", token(stage, "ada", ("read", "*"))).json()["builds"]) == 2


def test_what_jobs_wait_for_is_asked_of_the_repositories_that_the_list_was_made_of(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "REPOS_MAX", 1)
    stage.desk.store.commit(new(make_build(3, repo=ALPHA), make_job(3, repo=ALPHA)))
    made_of: list[tuple[str, ...]] = []

    async def ask(_what: str, about: Mapping[str, Any], **_: object) -> NoReturn:
        made_of.append(about["among"])
        raise UnreachableError("No dispatcher answers.")

    monkeypatch.setattr(stage.dispatcher, "ask", ask)
    both = token(stage, "grace", ("read", "/srv/*"))
    found = stage.post(f"{API}/questions/builds", both, json={"repo": "alpha"}).json()["body"]
    assert ([each["id"] for each in found], made_of) == ([3, 1], [(ALPHA,)])


def visitor(*roles: tuple[str, str], most: str = "admin") -> Visitor:
    rights = rights_of([Role(repo=repo, scope=role) for role, repo in roles], Scope[most.upper()])
    return Visitor(person="grace", rights=rights, pass_id="x", csrf=None, user="grace")


def asked(stage: Stage, question: Question, about: dict[str, Any], *roles: tuple[str, str]) -> str:
    """What becomes of a question of somebody with these roles: the answer as text, or the name of what is wrong."""
    books = OwnBooks(stage.app.state.books, visitor(*roles))
    try:
        return str(asyncio.run(books.ask(question, about)).body)
    except SurveilError as error:
        # A wish may be refused for other reasons as well.
        return type(error).__name__ if not isinstance(error, NotAllowedError) or REFUSED.search(str(error)) else "asked"


ABOUT: Mapping[str, dict[str, Any]] = {
    "build": {"build": 1}, "job": {"job": f"1/{MARK}", "attempt": 1}, "repo": {"repo": ALPHA}, "seen": {}, "": {},
}  # fmt: skip


@pytest.mark.parametrize("question", list(Question))
def test_every_question_takes_its_role_where_its_rule_says(stage: Stage, question: Question) -> None:
    rule = RULES[question]
    ask = partial(asked, stage, question, ABOUT[rule.by])
    enough, refused = rule.scope.word, {"NotAllowedError"}
    less = [Scope(rule.scope - 1).word] if rule.scope > Scope.READ else []
    assert ask() in refused | {"NotFoundError"}
    for role in less:
        assert ask((role, "*")) == "NotAllowedError"
        assert ask((role, ALPHA)) == "NotAllowedError"
    assert ask((enough, "*")) not in refused
    if rule.by == "seen":
        assert ask((enough, ALPHA)) not in refused
        assert MARK not in ask(("admin", BETA))
    else:
        assert (ask((enough, ALPHA)) in refused) == (rule.by == "")
        assert ask(("admin", BETA)) in refused | ({"NotFoundError"} if rule.by in {"build", "job"} else set())


@pytest.mark.parametrize("build", [None, 77, "1", "x", True, 1.0, -1, 2**60, [1]])
def test_no_strange_argument_leads_around_a_rule(stage: Stage, build: Any) -> None:
    found = asked(stage, Question.BUILD, {"build": build}, ("read", BETA))
    assert found in {"NotFoundError", "UsageError"}
    assert asked(stage, Question.JOURNAL, {"build": build, "after": 0}, ("read", BETA)).count(MARK) == 0


def test_the_journal_tells_of_what_may_be_seen_and_leads_past_the_rest(stage: Stage) -> None:
    def journal(*roles: tuple[str, str]) -> Any:
        return asyncio.run(OwnBooks(stage.app.state.books, visitor(*roles)).ask("journal", {"after": 0})).body

    everything, own = journal(("read", "*")), journal(("read", ALPHA))
    assert {note["build"] for note in everything["notes"]} >= {1, 2}
    assert {note["build"] for note in own["notes"]} == {1}
    assert own["position"] == everything["position"]


def test_a_command_and_a_commit_of_ones_own_take_an_administrator_of_the_repository(stage: Stage) -> None:
    wanted = {"repo": ALPHA, "command": "make"}
    for role, name in (("run", ALPHA), ("admin", BETA)):
        answer = stage.post(f"{API}/builds", token(stage, "grace", (role, name)), json=wanted)
        assert answer.status_code in {403, 404}
        answer = stage.post(f"{API}/questions/submit", token(stage, "grace", (role, name)), json={"repo": ALPHA})
        assert answer.status_code == 403
    assert stage.post(f"{API}/questions/submit", token(stage, "ada", ("admin", ALPHA)), json={}).status_code == 403
    admitted = stage.post(f"{API}/questions/submit", token(stage, "ada", ("admin", ALPHA)), json={"repo": ALPHA})
    assert admitted.status_code == 400
    assert stage.dispatcher.wishes == []


@pytest.mark.parametrize(
    ("pattern", "status"), [(ALPHA, 200), ("/srv/alpha.git*", 403), ("/srv/*", 403), ("*", 403), ("", 403), (BETA, 403)]
)
def test_a_secret_takes_an_administrator_of_all_that_its_pattern_names(stage: Stage, pattern: str, status: int) -> None:
    own = token(stage, "grace", ("admin", ALPHA))
    answer = stage.request("PUT", f"{API}/secrets/S", own, json={"value": "a secret", "repo": pattern})
    assert answer.status_code == status
    wide = token(stage, "ada", ("admin", "/srv/*"))
    answer = stage.request("PUT", f"{API}/secrets/S", wide, json={"value": "a secret", "repo": pattern})
    assert answer.status_code == (403 if pattern in {"*", ""} else 200)


def test_secrets_of_others_are_not_even_named(stage: Stage) -> None:
    scopes = {"OWN": SecretScope(repo=ALPHA), "THEIRS": SecretScope(repo=BETA), "ALL": SecretScope()}
    stage.desk.store.put_secrets([make_secret(name, scope=scope) for name, scope in scopes.items()])
    listed = stage.get(f"{API}/secrets", token(stage, "grace", ("admin", ALPHA))).json()
    assert [each["name"] for each in listed] == ["OWN"]
    assert len(stage.get(f"{API}/secrets", token(stage, "ada", ("admin", "*"))).json()) == len(scopes)


@pytest.mark.parametrize(
    ("pattern", "repo", "fits"),
    [
        ("/srv/a.git", "/srv/a.git", True), ("/srv/a.git", "/evil/srv/a.git", False), ("a.git", "/srv/a.git", False),
        ("/srv/*", "/srv/a/b.git", True), ("/srv/*", "/srv", False), ("*/a.git", "https://evil.example/a.git", True),
        ("/srv/a.gi?", "/srv/a.git", False), ("/srv/[a].git", "/srv/a.git", False), ("/srv/.*", "/srv/a.git", False),
    ],
)  # fmt: skip
def test_a_pattern_means_a_whole_address_and_only_its_stars_are_anything(pattern: str, repo: str, fits: bool) -> None:
    assert covers(pattern, repo) is fits


def test_rights_are_the_most_that_any_role_gives_and_at_most_what_the_pass_does() -> None:
    roles = [
        Role(repo="/srv/*", scope="read"),
        Role(repo=ALPHA, scope="admin", source="forge"),
        Role(repo="**", scope="read"),
    ]
    rights = rights_of(roles, Scope.ADMIN)
    assert (rights.at(ALPHA), rights.at(BETA), rights.at("elsewhere")) == (Scope.ADMIN, Scope.READ, Scope.READ)
    clipped = rights_of(roles, Scope.RUN)
    assert (clipped.at(ALPHA), clipped.at(BETA), clipped.everywhere) == (Scope.RUN, Scope.READ, Scope.READ)
    assert rights_of([], Scope.ADMIN) == Rights(Scope.NONE)


@pytest.mark.parametrize("path", ["/", "/builds", "/repositories"])
def test_who_may_see_nothing_of_what_is_there_is_not_told_that_there_is_nothing(stage: Stage, path: str) -> None:
    text = stage.get(path, token(stage, "grace", ("read", "/srv/elsewhere.git"))).text
    assert "that you may see" in text
    assert "<code>surveil" not in text


def test_roles_are_given_and_taken_at_once_and_whoever_is_removed_is_out(stage: Stage) -> None:
    admin = stage.token("admin")
    grace = token(stage, "grace", ("read", ALPHA))
    assert stage.get(f"{API}/builds/1", grace).status_code == 200
    given = {"roles": [{"role": "run", "repo": BETA}]}
    changed = stage.request("PUT", f"{API}/users/grace", admin, json=given).json()
    assert changed["roles"] == [{"repo": BETA, "role": "run", "source": None}]
    assert stage.get(f"{API}/builds/1", grace).status_code == 404
    assert stage.post(f"{API}/builds/2/cancel", grace).status_code == 200
    assert stage.get(f"{API}/me", grace).json() == {
        "person": "grace", "user": "grace", "everywhere": None, "roles": [{"repo": BETA, "role": "run"}],
    }  # fmt: skip
    twice = stage.request("PUT", f"{API}/users/grace?new=true", admin, json={"roles": [{"role": "admin"}]})
    assert (twice.status_code, twice.json()["exit_code"]) == (400, 2)
    assert twice.json()["detail"].startswith("grace is known already: ")
    assert [each.subject for each in stage.acts.listed(what="user", limit=9)] == [f"grace may `run` in {BETA}"]
    stage.request("PUT", f"{API}/users/grace", admin, json={"roles": []})
    assert stage.get(f"{API}/builds", grace).status_code == 403
    assert stage.request("DELETE", f"{API}/users/grace", admin).json() == {"name": "grace", "ended": 1}
    assert stage.get(f"{API}/me", grace).status_code == 401
    stage.request("PUT", f"{API}/users/grace", admin, json={"roles": [{"role": "admin"}]})
    assert stage.get(f"{API}/me", grace).status_code == 401, "a new person of the name has nothing of the old one"
    assert stage.request("DELETE", f"{API}/users/nobody", admin).status_code == 404


def test_roles_are_changed_only_from_what_they_were_where_that_is_said(stage: Stage) -> None:
    admin = stage.token("admin")
    arrived = Role(repo="*", scope="run", source="corp")
    stage.passes.people.arrive("corp", "7", "grace", [arrived], issuer="https://id.example.org", now=stage.now)
    read, run = {"role": "read", "repo": ALPHA}, {"role": "run", "repo": ALPHA}

    def put(roles: list[Any], was: list[Any], name: str = "grace@corp") -> int:
        return stage.request("PUT", f"{API}/users/{name}", admin, json={"roles": roles, "was": was}).status_code

    assert put([read], [run]) == 400
    assert [put([read], []), put([run], [read])] == [200, 200], "a provider's roles are not among them"
    assert put([run], [read]) == 200, "said twice, it is as it was wanted"
    assert [put([], [read]), put([], [], "nobody")] == [400, 404]
    refused = stage.request("PUT", f"{API}/users/grace@corp", admin, json={"roles": [], "was": []}).json()
    assert refused["detail"].startswith("Somebody else changed what grace@corp may do at this moment: ")
    known = {each.name: [(role.repo, role.scope) for role in each.roles] for each in stage.passes.people.listed()}
    assert known == {"grace@corp": [(ALPHA, "run"), ("*", "run")]}
    assert len(stage.acts.listed(what="user", limit=9)) == 3, "of what was refused there is no line"


def test_a_session_from_a_link_is_bound_to_the_person_as_the_link_was(stage: Stage) -> None:
    stage.passes.people.put("grace", [Role(repo=ALPHA, scope="read")], now=stage.now)
    link = stage.passes.issue(Kind.LINK, "grace", "admin", now=stage.now, lasts_ms=1000, user="grace")
    entered = stage.post("/login", data={"key": link})
    session = entered.headers["set-cookie"].partition(";")[0].partition("=")[2]
    shown = {"cookie": f"{COOKIE}={session}", "accept": "text/html"}
    assert stage.get("/builds/1", shown).status_code == 200
    main = stage.get("/builds/1", shown).text.partition("<main")[2].partition("</main>")[0]
    assert MARK in main
    assert "<button" not in main
    assert stage.post("/builds/1/retry", shown, data={"csrf": csrf_of(session)}).status_code == 403
    assert stage.get("/builds/2", shown).status_code == 404
    assert ALPHA in stage.get("/settings", shown).text
    assert 'href="/runners"' not in stage.get("/", shown).text


def test_nothing_is_public_until_somebody_says_so_and_then_only_that(stage: Stage) -> None:
    page = {"accept": "text/html"}
    assert stage.get("/builds/1", page).headers["location"] == "/login"
    stage.passes.people.put(ANYBODY, [Role(repo=ALPHA, scope="read")], now=stage.now)
    for headers in ({}, {"cookie": f"{COOKIE}=svs_over"}):
        assert MARK in stage.get("/builds/1", {**page, **headers}).text
        assert "beta" not in stage.get("/builds", {**page, **headers}).text
        assert stage.get("/builds/2", {**page, **headers}).status_code == 404
        assert stage.get(f"{API}/builds/1", headers).status_code == 200
        assert stage.post(f"{API}/builds/1/retry", headers).status_code == 401
        assert stage.get("/settings", {**page, **headers}).headers["location"] == "/login"
        assert stage.get(f"{API}/me", headers).status_code == 401
        assert stage.get(f"{API}/secrets", headers).status_code == 401
    assert stage.get(f"{API}/builds/1", {"authorization": "Bearer svt_wrong"}).status_code == 401
    assert stage.dispatcher.wishes == []
    answer = stage.request(
        "PUT", f"{API}/users/{ANYBODY}", stage.token("admin"), json={"roles": [{"role": "run", "repo": ALPHA}]}
    )
    assert answer.status_code == 422


def test_an_administrator_of_one_repository_ends_no_session_of_others(stage: Stage) -> None:
    stage.session()
    (bobs,) = stage.passes.listed(Kind.SESSION)
    own = token(stage, "grace", ("admin", ALPHA))
    assert [each["person"] for each in stage.get(f"{API}/passes", own).json()] == ["grace"]
    assert stage.request("DELETE", f"{API}/passes/{bobs.id}", own).status_code == 404


def test_people_are_shown_to_administrators_of_everything_alone(stage: Stage) -> None:
    stage.passes.people.put("hidden-person", [Role(repo=ALPHA, scope="read")], now=stage.now)
    page = {"cookie": f"{COOKIE}={stage.session('admin')}", "accept": "text/html"}
    assert "hidden-person" in stage.get("/settings", page).text
    for role in ("read", "run"):
        page = {"cookie": f"{COOKIE}={stage.session(role)}", "accept": "text/html"}
        assert "hidden-person" not in stage.get("/settings", page).text
