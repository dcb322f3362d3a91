"""Signing in at a forge: who is let in as whom, and that nobody is by a name, another's code or half an answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from surveil.calling import Answer, Caller
from surveil.errors import NotAllowedError
from surveil.store.people import Role
from surveil.web.providers.forges import ANSWER_BYTES_MAX, EACH, PAGES_MAX, ForgeProvider
from surveil.web.providers.rules import Arrival, Grant, Kind, ProviderRule
from surveil.web.visitors import COOKIE
from tests.system.browsing import browser
from tests.web.forge import CLIENT, SECRET, PlayedForge, Said, played_forge
from tests.web.served import served
from tests.web.stage import HERE, Stage

WAY = f"{COOKIE}-way"
SHOP = Role(repo="/srv/shop/*", scope="run", source="forge")
PLATFORM = Role(repo="*", scope="admin", source="forge")
GROUPS = (Grant(group="shop", role=SHOP), Grant(group="shop/platform", role=PLATFORM))


class Fresh:
    """Asks with a connection of its own each time: each request of a stage has a loop of its own."""

    async def call(self, method: str, url: str, **about: Any) -> Answer:
        async with Caller(answer_bytes_max=ANSWER_BYTES_MAX) as caller:
            return await caller.call(method, url, **about)


class Scripted:
    """Answers by the ends of addresses, without a server; `asked` are the addresses."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def call(self, method: str, url: str, **_: Any) -> Answer:
        self.asked.append(f"{method} {url}")
        path = urlsplit(url).path
        return next(answer for end, answer in self.answers.items() if path.endswith(end))


def said(document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status=200, headers=headers or {}, body=json.dumps(document).encode())


TOKEN = said({"access_token": "x", "token_type": "bearer"})
GRACE = said({"id": 7, "login": "grace"})


def arrive(
    folder: Path,
    kind: Kind,
    scripted: Scripted,
    grants: tuple[Grant, ...] = GROUPS,
    url: str = "https://git.example.org",
) -> Arrival:
    """Whoever comes from a forge that answers so."""
    (folder / "secret").write_text(SECRET)
    rule = ProviderRule(
        kind=kind, name="forge", title="The forge", issuer=url, client_id=CLIENT, grants=grants,
        client_secret_file=folder / "secret",
    )  # fmt: skip
    provider = ForgeProvider(rule, cast("Caller", scripted), back=f"{HERE}/login/forge/back")

    async def come() -> Arrival:
        there = await provider.way_there("secret")
        assert there.startswith(f"{url}/login/oauth/authorize?")
        state = parse_qs(urlsplit(there).query)["state"][0]
        return await provider.arrival("secret", code="x", state=state, issuer=None)

    return asyncio.run(come())


class Scene:
    """Pages whose people sign in at a forge."""

    def __init__(self, folder: Path, forge: PlayedForge, grants: tuple[Grant, ...] = GROUPS) -> None:
        self.forge = forge
        self.stage = Stage(folder)
        self.stage.public_url = HERE
        self.secret_file = folder / "forge.secret"
        self.secret_file.write_text(f"{SECRET}\n")
        self.give(grants)

    def give(self, grants: tuple[Grant, ...], *, patience_s: float = 30) -> None:
        """Give these roles from now on."""
        rule = ProviderRule(
            kind=self.forge.kind, name="forge", title="The forge", issuer=self.forge.address, client_id=CLIENT,
            grants=grants, client_secret_file=self.secret_file,
        )  # fmt: skip
        self.stage.providers["forge"] = ForgeProvider(
            rule, cast("Caller", Fresh()), back=f"{HERE}/login/forge/back", patience_s=patience_s
        )

    def depart(self) -> tuple[str, dict[str, str]]:
        """The secret on the way, and what the forge is asked."""
        answer = self.stage.get("/login/forge")
        there = urlsplit(answer.headers["location"])
        assert f"{there.scheme}://{there.netloc}{there.path}" == f"{self.forge.address}/login/oauth/authorize"
        return answer.cookies.get(WAY) or "", {name: found[0] for name, found in parse_qs(there.query).items()}

    def back(self, way: str, brought: Mapping[str, str]) -> httpx2.Response:
        return self.stage.get("/login/forge/back", {"cookie": f"{WAY}={way}"}, params=dict(brought))

    def sign_in(self) -> httpx2.Response:
        way, asked = self.depart()
        return self.back(way, self.forge.sign_in(asked))

    def roles(self) -> dict[str, tuple[str | None, set[str]]]:
        """Everybody who is known, with what their forge calls them for ever, and their roles' scopes."""
        people = self.stage.passes.people.listed()
        return {each.name: (each.subject, {role.scope for role in each.roles}) for each in people}

    def is_refused(self, answer: httpx2.Response, code: int = 403) -> str:
        """See that nobody was let in; the text of the page that says why."""
        assert answer.status_code == code, answer.text
        assert COOKIE not in answer.cookies
        assert self.roles() == {}
        return answer.text


@pytest.fixture(params=[Kind.GITHUB, Kind.GITEA])
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    with played_forge(request.param) as forge:
        yield Scene(tmp_path, forge)


def test_whoever_signs_in_has_the_roles_of_their_organisations_and_teams_and_is_known_by_their_number(
    scene: Scene,
) -> None:
    scene.forge.join(9919, "Shop", "Platform", "Sales")
    answer = scene.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    number = str(scene.forge.person["id"])
    assert scene.roles() == {"grace@forge": (number, {"run", "admin"})}
    session = {"cookie": f"{COOKIE}={answer.cookies[COOKIE]}"}
    assert scene.stage.get("/settings", session).status_code == 200
    scene.forge.person["login"] = "ada"
    assert scene.sign_in().status_code == 303
    assert list(scene.roles()) == ["grace@forge"], "they may be called otherwise at any time"


def test_whoever_takes_over_a_name_is_somebody_else(scene: Scene) -> None:
    scene.forge.join(9919, "shop")
    scene.sign_in()
    scene.stage.passes.people.put("ada@forge", [Role(repo="*", scope="admin")], now=scene.stage.now)
    for number, name in ((11, "grace"), (12, "ada")):
        scene.forge.person |= {"id": number, "login": name}
        assert scene.sign_in().status_code == 303
    found = {subject: (name, scopes) for name, (subject, scopes) in scene.roles().items()}
    assert found["11"][0].startswith("grace-")
    assert found["12"][0].startswith("ada-")
    assert found["12"][1] == {"run"}


def test_the_forge_is_asked_for_no_more_than_is_needed_and_nothing_is_kept_of_its_token(scene: Scene) -> None:
    scene.forge.join(9919, "shop", "platform")
    scene.sign_in()
    api = scene.forge.api
    asked = ["POST /login/oauth/access_token", f"GET {api}/user", f"GET {api}/user/orgs", f"GET {api}/user/teams"]
    assert scene.forge.asked == asked
    (began,), (form,) = scene.forge.began, scene.forge.forms
    is_github = scene.forge.kind is Kind.GITHUB
    assert began["scope"] == ("read:org" if is_github else "read:user read:organization")
    assert (began["client_id"], began["response_type"], began["code_challenge_method"]) == (CLIENT, "code", "S256")
    assert began["redirect_uri"] == form["redirect_uri"] == f"{HERE}/login/forge/back"
    assert SECRET not in json.dumps(began)
    assert len(form["code_verifier"]) == 43
    (token,) = scene.forge.tokens
    kept = b"".join(each.read_bytes() for each in scene.stage.folder.rglob("*") if each.is_file())
    assert token.encode() not in kept
    scene.give((Grant(subject=str(scene.forge.person["id"]), role=SHOP),))
    scene.forge.asked.clear()
    assert scene.sign_in().status_code == 303
    assert scene.forge.asked == asked[:2]
    assert scene.forge.began[-1].get("scope", "") == ("" if is_github else "read:user read:organization")


def test_an_organisation_can_be_meant_by_its_number_and_then_by_no_name(scene: Scene) -> None:
    scene.give((Grant(group="#9919", role=SHOP), Grant(group="#9919/platform", role=PLATFORM)))
    scene.forge.join(1, "#9919", "platform")
    scene.forge.join(2, "shop", "platform")
    scene.is_refused(scene.sign_in())
    scene.forge.join(9919, "shop-renamed", "Platform")
    assert scene.sign_in().status_code == 303
    assert scene.roles() == {"grace@forge": (str(scene.forge.person["id"]), {"run", "admin"})}


def test_names_that_only_look_like_those_of_an_organisation_are_others(scene: Scene) -> None:
    scene.give((Grant(group="kiosk", role=SHOP), Grant(group="shop/platform", role=PLATFORM)))
    # The sign for Kelvin becomes a plain `k` when it is made small.
    scene.forge.join(1, "\N{KELVIN SIGN}iosk")
    scene.forge.join(2, "shop/platform", "x")
    scene.forge.join(3, "shop-x", "platform")
    scene.forge.organisations += [None, 7, "kiosk", {"id": 8}, {"id": 9, "login": ["kiosk"]}, {"name": "shop/platform"}]
    scene.forge.teams += [{"name": "platform"}, {"name": "platform", "organization": "shop"}, {"slug": "shop/platform"}]
    scene.is_refused(scene.sign_in())


def test_all_pages_of_a_list_are_read_however_short_they_are(scene: Scene) -> None:
    for number in range(1, 3 * EACH[scene.forge.kind]):
        scene.forge.join(number, f"club-{number}")
    scene.forge.join(9919, "shop", "platform")
    if scene.forge.kind is not Kind.GITHUB:
        scene.forge.page_most = 10
    assert scene.sign_in().status_code == 303
    assert scene.roles()["grace@forge"][1] == {"run", "admin"}


@pytest.mark.parametrize("kind", [Kind.GITHUB, Kind.GITEA])
def test_a_list_without_an_end_ends_and_nobody_has_the_roles_of_a_part_of_it(tmp_path: Path, kind: Kind) -> None:
    page = [{"id": number, "login": "shop", "name": "shop"} for number in range(1, 101)]
    endless = said(page, {"link": '</next>; rel="next"'})
    scripted = Scripted({"/access_token": TOKEN, "/user": GRACE, "/user/orgs": endless})
    with pytest.raises(NotAllowedError, match="lists more than"):
        arrive(tmp_path, kind, scripted)
    assert len(scripted.asked) == 2 + PAGES_MAX


def test_no_other_browser_and_no_earlier_sign_in_is_that_one(scene: Scene) -> None:
    scene.forge.join(9919, "shop")
    way, asked = scene.depart()
    brought = scene.forge.sign_in(asked)
    others, _ = scene.depart()
    for stolen in ("", others, "x"):
        assert "not the sign-in that this browser began" in scene.is_refused(scene.back(stolen, brought))
    for state in ("", "x", "ä" * 43, others):
        assert "not the sign-in that this browser began" in scene.is_refused(
            scene.back(way, {**brought, "state": state})
        )
    assert scene.forge.asked == [], "nothing is asked for who did not begin"
    # Another's code, which a stranger puts into the sign-in of this browser, has another verifier.
    _, theirs = scene.depart()
    planted = {**scene.forge.sign_in(theirs), "state": asked["state"]}
    assert "at /login/oauth/access_token" in scene.is_refused(scene.back(way, planted))
    assert scene.back(way, brought).status_code == 303
    again = scene.back(way, brought)
    assert (again.status_code, COOKIE in again.cookies) == (403, False)
    refused = "bad_verification_code" if scene.forge.kind is Kind.GITHUB else "unauthorized_client"
    assert f"(<code>{refused}</code>)" in again.text
    assert "555" not in again.text


def test_what_was_given_to_another_client_or_by_another_forge_is_nothing_here(scene: Scene) -> None:
    scene.forge.join(9919, "shop")
    way, asked = scene.depart()
    stolen = scene.forge.sign_in(asked, client="wiki")
    assert "at /login/oauth/access_token" in scene.is_refused(scene.back(way, stolen))
    way, asked = scene.depart()
    brought = scene.forge.sign_in(asked)
    for issuer in ("https://github.com/login/oauth", f"{scene.forge.address}1", "https://[", ""):
        assert "another provider" in scene.is_refused(scene.back(way, {**brought, "iss": issuer}))
    scene.secret_file.write_text("of another client")
    assert "at /login/oauth/access_token" in scene.is_refused(scene.back(way, brought))
    scene.secret_file.write_text(SECRET)
    assert scene.back(way, {**brought, "iss": f"{scene.forge.address}/login/oauth"}).status_code == 303


NOBODY: tuple[Any, ...] = (
    {}, [], None, "grace", {"id": 7}, {"login": "grace"}, {"id": "7", "login": "grace"}, {"id": True, "login": "grace"},
    {"id": 7.0, "login": "grace"}, {"id": 0, "login": "grace"}, {"id": -2, "login": "gitea-actions"},
    {"id": 2**63, "login": "grace"}, {"id": 7, "login": ""}, {"id": 7, "login": "x" * 256}, {"id": 7, "login": "a\nb"},
    {"id": 7, "login": "gräce"}, {"id": 7, "login": ["grace"]}, {"id": 7, "login": "grace", "error": "none"},
)  # fmt: skip


def test_an_answer_without_a_number_and_a_name_is_nobody(tmp_path: Path) -> None:
    for person in NOBODY:
        with pytest.raises(NotAllowedError, match="The forge") as caught:
            arrive(tmp_path, Kind.GITEA, Scripted({"/access_token": TOKEN, "/user": said(person)}))
        assert "begin again" in str(caught.value), person


def _led() -> Said:
    return 302, {"location": "http://169.254.169.254/"}, b""


def _huge() -> Said:
    return 200, {}, b"[" + b'{"id": 1, "login": "shop"},' * 100_000


def _words() -> Said:
    return 200, {"content-type": "text/html"}, b"<h1>Be right back</h1>"


def _empty() -> Said:
    return 200, {}, b"{}"


@pytest.mark.parametrize("path", ["/login/oauth/access_token", "API/user", "API/user/orgs", "API/user/teams"])
def test_a_forge_that_answers_something_else_is_said_so_and_lets_nobody_in(scene: Scene, path: str) -> None:
    scene.forge.join(9919, "shop", "platform")
    path = path.replace("API", scene.forge.api)
    for instead, why in ((_led, "answers 302"), (_huge, "more than anybody reads"), (_words, ""), (_empty, "")):
        scene.forge.instead = {path: instead}
        answer = scene.sign_in()
        text = scene.is_refused(answer, 500 if instead is _empty and "token" in path else 403)
        assert why in text
        assert "begin again" in text or "tell an administrator" in text


def test_a_token_of_a_kind_that_nobody_can_use_is_none(scene: Scene) -> None:
    told = {"access_token": "x", "token_type": "mac"}
    scene.forge.instead["/login/oauth/access_token"] = lambda: (200, {}, json.dumps(told).encode())
    assert "a token of a kind" in scene.is_refused(scene.sign_in())
    told |= {"token_type": "bearer", "access_token": "x\r\ny"}
    assert "gives no <code>access_token</code>" in scene.is_refused(scene.sign_in(), 500)
    assert scene.forge.asked == ["POST /login/oauth/access_token"] * 2


def test_a_forge_that_takes_its_time_is_not_waited_for_without_end(scene: Scene) -> None:
    scene.give(GROUPS, patience_s=0)
    assert "does not say within 0 s who you are" in scene.is_refused(scene.sign_in(), 503)


def test_whoever_has_no_role_is_told_their_number_with_which_they_can_be_given_one(scene: Scene) -> None:
    scene.forge.join(5, "sales")
    number = str(scene.forge.person["id"])
    assert f"<code>grace</code> (<code>{number}</code>), and nobody gave you a role" in scene.is_refused(
        scene.sign_in()
    )
    scene.give((Grant(subject=number, role=SHOP), Grant(subject="1", role=PLATFORM)))
    assert scene.sign_in().status_code == 303
    assert scene.roles() == {"grace@forge": (number, {"run"})}


@pytest.mark.parametrize(
    ("kind", "url", "api"),
    [
        (Kind.GITHUB, "https://github.com", "https://api.github.com"),
        (Kind.GITHUB, "https://github.example.org", "https://github.example.org/api/v3"),
        (Kind.GITEA, "https://example.org/git", "https://example.org/git/api/v1"),
        (Kind.FORGEJO, "https://codeberg.org", "https://codeberg.org/api/v1"),
    ],
)
def test_a_forge_of_ones_own_and_that_of_everybody_are_asked_where_they_are(
    tmp_path: Path, kind: Kind, url: str, api: str
) -> None:
    team = {"id": 1, "name": "Platform", "slug": "platform", "organization": {"id": 9919, "login": "shop"}}
    scripted = Scripted({"/access_token": TOKEN, "/user": GRACE, "/user/teams": said([team], {"x-total-count": "1"})})
    arrival = arrive(tmp_path, kind, scripted, (Grant(group="shop/platform", role=PLATFORM),), url=url)
    assert (arrival.subject, arrival.called, arrival.roles) == ("7", "grace", (PLATFORM,))
    size = "per_page=100" if kind is Kind.GITHUB else "limit=50"
    assert scripted.asked == [
        f"POST {url}/login/oauth/access_token",
        f"GET {api}/user",
        f"GET {api}/user/teams?{size}&page=1",
    ]


@pytest.mark.timeout(300)
def test_whoever_signs_in_at_the_forge_in_a_browser_comes_back_signed_in(scene: Scene) -> None:
    scene.forge.join(9919, "shop")
    scene.stage.public_url = None
    provider = scene.stage.providers["forge"]
    with served(scene.stage) as server, browser() as seen:
        provider.back = f"{server.address}/login/forge/back"
        page = seen.page
        page.goto(server.address)
        page.click("text=Sign in with The forge")
        page.click("text=Authorize surveil")
        page.wait_for_url(f"{server.address}/")
        page.goto(f"{server.address}/settings")
        assert "grace@forge" in page.inner_text("main")
        assert [each["name"] for each in page.context.cookies(server.address)] == [COOKIE]
    assert scene.roles() == {"grace@forge": (str(scene.forge.person["id"]), {"run"})}
