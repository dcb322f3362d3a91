"""Signing in at a provider: who is let in as whom, and that no forger, no other site and no other sign-in is."""

from __future__ import annotations

import asyncio
import math
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from surveil.calling import TIMEOUT_S, Answer, Caller, CallError
from surveil.errors import SurveilError
from surveil.store.people import Role
from surveil.web.pages.arriving import ON_THE_WAY_S, RETURNS_MAX
from surveil.web.providers import openid
from surveil.web.providers.openid import KEYS_AGAIN_MS, KNOWN_MS, TROUBLE_MS, OpenID
from surveil.web.providers.rules import Grant, Kind, ProviderRule
from surveil.web.visitors import COOKIE
from tests.web.provider import CLIENT, ISSUER, Played
from tests.web.stage import HERE, PATIENCE_S, Stage

WAY = f"{COOKIE}-way"
DISCOVERY = "/.well-known/openid-configuration"


class Scene:
    """Pages with a provider, whose people administer if they are of the platform."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.stage = Stage(folder)
        self.stage.public_url = HERE
        self.secret_file = folder / "corp.secret"
        self.secret_file.write_text("a secret of the client\n")
        grants = (Grant(group="platform", role=Role(repo="*", scope="admin", source="corp")),)
        self.about: dict[str, Any] = {
            "kind": Kind.OIDC, "client_id": CLIENT, "issuer": ISSUER, "grants": grants, "title": "Corp",
            "client_secret_file": self.secret_file, **changes,
        }  # fmt: skip
        self.meet(Played())

    def meet(self, played: Played) -> None:
        """Have this be the provider from now on, under both of its names."""
        self.played = played
        for name in ("corp", "other"):
            self.stage.providers[name] = OpenID(
                ProviderRule(**{"name": name, **self.about}),
                cast("Caller", played),
                back=f"{HERE}/login/{name}/back",
                now=lambda: self.stage.now,
            )

    def depart(self, name: str = "corp") -> tuple[str, httpx2.Response]:
        """The secret on the way, and the answer that leads there."""
        answer = self.stage.get(f"/login/{name}")
        return answer.cookies.get(WAY) or "", answer

    def back(self, way: str, brought: dict[str, str], name: str = "corp") -> httpx2.Response:
        self.played.now = self.stage.now
        return self.stage.get(f"/login/{name}/back", {"cookie": f"{WAY}={way}"}, params=brought)

    def sign_in(self) -> httpx2.Response:
        way, answer = self.depart()
        return self.back(way, self.played.sign_in(answer.headers["location"]))

    def seen_by(self, answer: httpx2.Response) -> int:
        """What somebody is answered who comes with the session of this answer."""
        cookie = answer.cookies.get(COOKIE, "")
        return self.stage.get("/builds", {"cookie": f"{COOKIE}={cookie}"}).status_code

    def is_refused(self, answer: httpx2.Response, code: int = 403) -> str:
        """See that nobody was let in; the text of the page that says why."""
        assert answer.status_code == code, answer.text
        assert COOKIE not in answer.cookies
        assert self.stage.passes.people.listed() == []
        return answer.text


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_whoever_signs_in_at_the_provider_has_the_roles_of_their_groups_and_a_new_session(scene: Scene) -> None:
    assert 'href="/login/corp">Sign in with Corp</a>' in scene.stage.get("/login").text
    way, there = scene.depart()
    kept = there.headers["set-cookie"]
    assert all(part in kept for part in ("HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={ON_THE_WAY_S}"))
    assert way not in there.headers["location"]
    answer = scene.back(way, scene.played.sign_in(there.headers["location"]))
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert scene.seen_by(answer) == 200
    (person,) = scene.stage.passes.people.listed()
    assert (person.name, person.provider, person.subject) == ("grace@corp", "corp", "248289761001")
    assert person.roles == (Role(repo="*", scope="admin", source="corp"),)
    assert scene.sign_in().cookies[COOKIE] != answer.cookies[COOKIE]
    (again,) = scene.stage.passes.people.listed()
    assert again.name == person.name
    (act, *_) = scene.stage.acts.listed(person="grace@corp", what="", since=0, before=None, limit=10)
    assert (act.what, act.subject) == ("sign-in", "at corp")


def test_the_client_proves_itself_as_the_provider_wants_and_the_code_goes_with_its_verifier(scene: Scene) -> None:
    scene.sign_in()
    posted = scene.played.headers[scene.played.asked.index("POST /token")]
    assert posted["content-type"] == "application/x-www-form-urlencoded"
    assert posted["authorization"].startswith("Basic ")
    assert "client_secret" not in scene.played.forms[0]
    scene.stage.now += KNOWN_MS
    scene.played.document["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    scene.sign_in()
    assert scene.played.forms[1]["client_secret"] == "a secret of the client"


def test_no_other_browser_and_no_earlier_sign_in_is_that_one(scene: Scene) -> None:
    way, there = scene.depart()
    brought = scene.played.sign_in(there.headers["location"])
    others, _ = scene.depart()
    for stolen in ("", others, "x"):
        assert "not the sign-in that this browser began" in scene.is_refused(scene.back(stolen, brought))
    scene.is_refused(scene.back(way, {**brought, "state": ""}))
    scene.is_refused(scene.back(way, {**brought, "state": "ä" * 43}))
    assert "POST /token" not in scene.played.asked, "nothing is asked for who did not begin"
    entered = scene.back(way, brought)
    assert f'{WAY}=""; ' in str(entered.headers.get_list("set-cookie"))
    replayed = scene.back(way, brought)
    assert (replayed.status_code, COOKIE in replayed.cookies) == (403, False)
    assert "invalid_grant" in replayed.text


def test_strangers_with_codes_that_they_made_up_keep_nobody_out(scene: Scene) -> None:
    """Three hundred at once were three hundred questions to the provider, and whoever had signed in got no answer."""
    silence, asked = asyncio.Event(), scene.played.call

    async def slow(method: str, url: str, **more: Any) -> Answer:
        if url.endswith("/token"):
            await silence.wait()
        return await asked(method, url, **more)

    async def story() -> list[int]:
        scene.stage.come_to_loop()
        scene.played.now = scene.stage.now
        returns = scene.stage.app.state.returns["corp"]
        strangers, ada = (
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app=scene.stage.app, client=(host, 4)), base_url=HERE)
            for host in ("192.0.2.1", "192.0.2.2")
        )
        async with asyncio.timeout(PATIENCE_S), strangers, ada:
            there = await ada.get("/login/corp")
            scene.played.call = slow  # type: ignore[method-assign]
            words = scene.played.sign_in((await strangers.get("/login/corp")).headers["location"])
            path = "/login/corp/back"
            many = [
                asyncio.create_task(strangers.get(path, params={**words, "code": f"{each}"}))
                for each in range(RETURNS_MAX)
            ]
            while returns.busy.total() + returns.waiting < RETURNS_MAX:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert returns.busy == {"192.0.2.1": RETURNS_MAX // 2}
            own = asyncio.create_task(ada.get(path, params=scene.played.sign_in(there.headers["location"])))
            while returns.busy.total() == RETURNS_MAX // 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            returns.wait_s = 0.0
            crowded = await strangers.get(path, params={**words, "code": "x"})
            assert "So many sign in at this moment" in crowded.text
            assert "set-cookie" not in crowded.headers, "whoever loads the page again is still on their way"
            words = scene.played.sign_in((await strangers.get("/login/other")).headers["location"])
            many.append(asyncio.create_task(strangers.get("/login/other/back", params={**words, "code": "x"})))
            while not scene.stage.app.state.returns["other"].busy:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            silence.set()
            return [
                crowded.status_code,
                (await own).status_code,
                *{each.status_code for each in await asyncio.gather(*many)},
            ]

    assert asyncio.run(story()) == [503, 303, 403]


def test_what_one_provider_gave_is_nothing_at_another(scene: Scene) -> None:
    way, there = scene.depart("other")
    brought = scene.played.sign_in(there.headers["location"])
    assert "not the sign-in that this browser began" in scene.is_refused(scene.back(way, brought, "corp"))
    way, there = scene.depart()
    brought = scene.played.sign_in(there.headers["location"])
    assert "another provider" in scene.is_refused(scene.back(way, {**brought, "iss": "https://id.example.com"}))
    scene.stage.now += KNOWN_MS
    scene.played.document["authorization_response_iss_parameter_supported"] = True
    assert "another provider" in scene.is_refused(scene.back(way, brought))
    assert scene.back(way, {**brought, "iss": ISSUER}).status_code == 303


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"iss": "https://id.example.com"}, "of another provider"),
    "another audience": ({"aud": "wiki"}, "meant for another service"),
    "no audience": ({"aud": None}, "meant for another service"),
    "several audiences": ({"aud": [CLIENT, "wiki"]}, "another service asked for"),
    "another party": ({"aud": [CLIENT, "wiki"], "azp": "wiki"}, "another service asked for"),
    "another party alone": ({"azp": "wiki"}, "another service asked for"),
    "wrong nonce": ({"nonce": "x"}, "of another sign-in"),
    "no nonce": ({"nonce": None}, "of another sign-in"),
    "over": ({"exp": 1}, "too old"),
    "without an end": ({"exp": None}, "too old"),
    "an end in words": ({"exp": "tomorrow"}, "too old"),
    "an end that is true": ({"exp": True}, "too old"),
    "an end that is no number": ({"exp": math.nan}, "too old"),
    "without end": ({"exp": math.inf}, "too old"),
    "half a character": ({"nonce": "\ud800"}, "of another sign-in"),
    "old": ({"iat": 1}, "of another time"),
    "of tomorrow": ({"iat": 2**40}, "of another time"),
    "for tomorrow": ({"nbf": 2**40}, "a time to come"),
    "nobody": ({"sub": ""}, "about nobody"),
    "a number": ({"sub": 7}, "about nobody"),
    "a long one": ({"sub": "x" * 256}, "about nobody"),
}


def test_a_proof_that_is_not_of_this_sign_in_lets_nobody_in(scene: Scene) -> None:
    for kind, (claims, why) in FORGED.items():
        scene.played.claims = claims
        assert why in scene.is_refused(scene.sign_in()), kind


def test_a_proof_may_name_several_services_if_we_asked_for_it(scene: Scene) -> None:
    scene.played.claims = {"aud": ["wiki", CLIENT], "azp": CLIENT}
    assert scene.sign_in().status_code == 303


def test_a_signature_that_anybody_can_make_is_none(scene: Scene) -> None:
    for algorithm in ("none", "None", "HS256"):
        scene.played.signing = (algorithm, None)
        assert "by an algorithm that anybody could have used" in scene.is_refused(scene.sign_in()), algorithm


def test_a_signature_by_another_key_of_the_same_name_is_none(scene: Scene) -> None:
    shown = scene.played.keys
    scene.played.rotate()
    _, key = scene.played.signing
    forger = type(key).generate_key("P-256", {"kid": "two", "use": "sig"})
    scene.played.signing = ("ES256", forger)
    assert "not signed by it" in scene.is_refused(scene.sign_in())
    scene.played.keys = shown


def test_new_keys_are_looked_at_once_and_made_up_ones_not_without_end(scene: Scene) -> None:
    scene.sign_in()
    assert scene.played.asked.count("GET /keys") == 1
    scene.played.rotate()
    assert "a key that it does not show" in scene.sign_in().text, "they were looked at just now"
    assert scene.played.asked.count("GET /keys") == 1
    scene.stage.now += KEYS_AGAIN_MS
    assert scene.sign_in().status_code == 303
    assert scene.played.asked.count("GET /keys") == 2


def test_a_key_that_is_another_by_now_under_the_same_name_is_looked_at(scene: Scene) -> None:
    scene.sign_in()
    fresh = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
    scene.played.keys, scene.played.signing = [fresh], ("RS256", fresh)
    assert "not signed by it" in scene.sign_in().text, "they were looked at just now"
    scene.stage.now += KEYS_AGAIN_MS
    assert scene.sign_in().status_code == 303


def test_of_many_who_come_with_a_new_key_at_once_one_has_it_looked_at_and_all_come_in(scene: Scene) -> None:
    scene.sign_in()
    scene.played.rotate()
    scene.stage.now += KEYS_AGAIN_MS
    scene.played.now = scene.stage.now
    provider = scene.stage.providers["corp"]

    async def come(secret: str) -> str:
        brought = scene.played.sign_in(await provider.way_there(secret))
        return (await provider.arrival(secret, **brought, issuer=None)).subject

    async def all_come() -> list[str]:
        return await asyncio.gather(*(come(f"secret {number}") for number in range(20)))

    assert asyncio.run(all_come()) == ["248289761001"] * 20
    assert scene.played.asked.count("GET /keys") == 2


def test_of_many_who_come_while_a_provider_is_silent_one_waits_for_it_and_the_others_for_nobody_else(
    scene: Scene,
) -> None:
    """Each asked anew once it was their turn, so the last of a hundred waited for as long as all of them together."""
    call = scene.played.call

    async def silent(*asked: Any, **more: Any) -> Answer:
        scene.played.asked.append(asked[1])
        await asyncio.sleep(0)
        scene.stage.now += int(TIMEOUT_S * 1000)
        raise CallError("does not answer within 10 s")

    async def depart_at_once(count: int) -> list[object]:
        provider = scene.stage.providers["corp"]
        return await asyncio.gather(*(provider.way_there(f"{each}") for each in range(count)), return_exceptions=True)

    scene.played.call = silent  # type: ignore[method-assign]
    found = asyncio.run(depart_at_once(20))
    assert {str(each).partition(":")[0] for each in found} == {"Corp does not answer within 10 s"}
    assert len(scene.played.asked) == 1

    async def keys_are_not_shown(method: str, url: str, **more: Any) -> Answer:
        return await (silent(method, url) if url.endswith("/keys") else call(method, url, **more))

    async def come_at_once(count: int) -> list[object]:
        provider = scene.stage.providers["corp"]
        brought = [(each, scene.played.sign_in(await provider.way_there(each))) for each in map(str, range(count))]
        return await asyncio.gather(
            *(provider.arrival(each, **words, issuer=None) for each, words in brought), return_exceptions=True
        )

    scene.meet(Played())
    call, scene.played.call = scene.played.call, keys_are_not_shown  # type: ignore[method-assign]
    found = asyncio.run(come_at_once(20))
    assert all(isinstance(each, SurveilError) for each in found)
    assert [each for each in scene.played.asked if each.endswith("/keys")] == [f"{ISSUER}/keys"]


def test_keys_that_cannot_be_had_for_a_moment_shut_nobody_out_for_longer(scene: Scene) -> None:
    scene.played.instead["/keys"] = CallError("does not answer within 10 s")
    assert "Corp does not answer within 10 s" in scene.is_refused(scene.sign_in(), 503)
    scene.played.instead = {}
    assert "did not show its keys just now" in scene.is_refused(scene.sign_in())
    scene.stage.now += TROUBLE_MS
    assert scene.sign_in().status_code == 303
    known, scene.played.signing = scene.played.signing, ("ES256", ECKey.generate_key("P-256", {"kid": "made up"}))
    scene.played.instead["/keys"] = Answer(status=200, headers={}, body=b"{}")
    scene.stage.now += KEYS_AGAIN_MS
    assert "shows no keys" in scene.sign_in().text
    scene.played.signing = known
    assert scene.sign_in().status_code == 303, "who comes with a key that is known is let in"
    scene.stage.now += KNOWN_MS
    assert scene.sign_in().status_code == 403, "keys that nobody shows any more for an hour are none"


def test_a_signature_by_a_short_key_is_none(scene: Scene) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SecurityWarning)
        short = RSAKey.generate_key(1024, {"kid": "short"})
        scene.played.keys, scene.played.signing = [short], ("RS256", short)
        assert "a key that is so short" in scene.is_refused(scene.sign_in())


def test_nobody_inherits_from_who_had_their_number_at_the_provider_before(scene: Scene) -> None:
    scene.sign_in()
    scene.stage.passes.people.put("grace@corp", [Role(repo="/srv/a.git", scope="admin")], now=scene.stage.now)
    scene.about["issuer"] = "https://id.example.com"
    played = Played()
    played.document["issuer"] = played.claims["iss"] = scene.about["issuer"]
    scene.meet(played)
    answer = scene.sign_in()
    assert (answer.status_code, COOKIE in answer.cookies) == (403, False)
    assert "came from https://id.example.org, and corp is https://id.example.com now" in answer.text
    scene.stage.passes.forget("grace@corp", now=scene.stage.now)
    assert scene.sign_in().status_code == 303
    (person,) = scene.stage.passes.people.listed()
    assert (person.issuer, [role.source for role in person.roles]) == ("https://id.example.com", ["corp"])


WRONG: dict[str, Callable[[Played], None]] = {
    "away": lambda played: played.instead.update({DISCOVERY: CallError("does not answer within 10 s")}),
    "huge": lambda played: played.instead.update({DISCOVERY: Answer(status=200, headers={}, body=b"[" * 65_536)}),
    "led elsewhere": lambda played: played.instead.update({DISCOVERY: _led()}),
    "another's": lambda played: played.document.update(issuer=f"{ISSUER}/"),
    "in the clear": lambda played: played.document.update(authorization_endpoint="http://id.example.org/auth"),
    "a script": lambda played: played.document.update(authorization_endpoint="javascript:alert(1)"),
    "a password": lambda played: played.document.update(authorization_endpoint="https://a@id.example.org/auth"),
    "our neighbour": lambda played: played.document.update(token_endpoint="https://127.0.0.1/token"),
    "our neighbour in the clear": lambda played: played.document.update(userinfo_endpoint="http://localhost:9200/me"),
    "two lines": lambda played: played.document.update(authorization_endpoint="https://id.example.org/\r\nset-cookie:"),
    "no address": lambda played: played.document.update(token_endpoint="https://["),
    "no keys": lambda played: played.document.pop("jwks_uri"),
}


def _led() -> Answer:
    return Answer(status=302, headers={"location": "http://169.254.169.254/"}, body=b"")


def test_nobody_is_sent_to_a_provider_that_does_not_say_who_it_is(scene: Scene) -> None:
    for kind, break_it in WRONG.items():
        scene.meet(Played())
        break_it(scene.played)
        way, answer = scene.depart()
        assert (way, answer.status_code) == ("", 503 if kind == "away" else 403), kind
        assert "Corp" in answer.text
        assert "location" not in answer.headers
        scene.depart()
        assert len(scene.played.asked) == 1, f"{kind}: it is left in peace for a while"
        scene.stage.now += TROUBLE_MS
        scene.depart()
        assert len(scene.played.asked) == 2, kind


def test_a_provider_that_falls_silent_says_so_on_the_page(scene: Scene) -> None:
    scene.played.instead["/token"] = CallError("does not answer within 10 s")
    assert "Corp does not answer within 10 s" in scene.is_refused(scene.sign_in(), 503)
    scene.played.instead = {"/token": _led()}
    assert "answers 302 at /token" in scene.is_refused(scene.sign_in())
    scene.played.instead = {"/token": Answer(status=200, headers={}, body=b"{}")}
    assert "gives no <code>id_token</code>" in scene.is_refused(scene.sign_in(), 500)
    scene.played.instead = {}
    scene.secret_file.unlink()
    assert "the secret of the client at Corp" in scene.is_refused(scene.sign_in(), 500)


def test_claims_that_are_only_told_when_asked_for_are_asked_for_and_are_of_the_same_person(scene: Scene) -> None:
    scene.played.claims = {"preferred_username": None, "groups": None}
    scene.played.person = {"sub": "somebody-else", "groups": ["platform"]}
    assert "tells of somebody else" in scene.is_refused(scene.sign_in())
    scene.played.person = {"sub": "248289761001", "preferred_username": "ada", "groups": "platform"}
    assert scene.sign_in().status_code == 303
    assert scene.stage.passes.people.listed()[0].name == "ada@corp"


def test_of_the_groups_that_a_provider_names_so_many_count_and_no_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openid, "GROUPS_MAX", 3)
    scene.played.claims = {"groups": ["sales", "support", "board", "platform"]}
    assert "nobody gave you a role here" in scene.is_refused(scene.sign_in())
    scene.played.claims = {"groups": ["sales", "support", "platform", "board"]}
    assert scene.sign_in().status_code == 303


def test_whoever_has_no_role_is_told_so_and_is_not_written_down(scene: Scene) -> None:
    scene.played.claims = {"groups": ["sales", 7, None], "preferred_username": "<script>alert(1)</script>"}
    text = scene.is_refused(scene.sign_in())
    assert "nobody gave you a role here" in text
    assert "<script>alert" not in text
    assert "248289761001" in text, "an administrator can give a role to this very person"
    scene.played.claims = {"groups": ["sales"], "preferred_username": "\ud800"}
    assert "nobody gave you a role here" in scene.is_refused(scene.sign_in())


def test_a_role_for_one_person_is_for_nobody_else(tmp_path: Path) -> None:
    grants = (Grant(subject="248289761001", role=Role(repo="*", scope="run", source="corp")),)
    scene = Scene(tmp_path, grants=grants)
    scene.played.claims = {"sub": "248289761002"}
    scene.is_refused(scene.sign_in())
    scene.played.claims = {}
    assert scene.sign_in().status_code == 303


def test_whoever_left_a_group_loses_its_role_and_keeps_what_was_given_by_hand(scene: Scene) -> None:
    first = scene.sign_in()
    assert scene.seen_by(first) == 200
    scene.played.claims = {"groups": []}
    assert scene.sign_in().status_code == 403
    assert scene.seen_by(first) == 403, "the sessions of before have what is left"
    scene.stage.passes.people.put("grace@corp", [Role(repo="/srv/a.git", scope="read")], now=scene.stage.now)
    assert scene.sign_in().status_code == 303
    assert scene.seen_by(first) == 200


def test_nobody_is_somebody_else_by_a_name(scene: Scene) -> None:
    scene.sign_in()
    scene.played.claims = {"sub": "another"}
    scene.sign_in()
    scene.stage.passes.people.put("ada@corp", [Role(repo="/srv/a.git", scope="admin")], now=scene.stage.now)
    scene.played.claims = {"sub": "a third", "preferred_username": "ada"}
    scene.sign_in()
    scene.played.claims = {"sub": "a fourth", "preferred_username": "../ada@corp\0"}
    scene.sign_in()
    found = {person.subject: person for person in scene.stage.passes.people.listed()}
    names = [found[subject].name for subject in ("248289761001", "another", "a third", "a fourth", None)]
    assert names[0] == "grace@corp"
    assert names[4] == "ada@corp"
    assert names[1].startswith("grace-")
    assert names[2].startswith("ada-")
    assert names[3] == "ada-corp-@corp"
    assert len(set(names)) == 5


def test_whoever_takes_the_name_beforehand_that_another_would_get_shuts_nobody_out(scene: Scene) -> None:
    marks = [sha256(b"the second").hexdigest()[at : at + 8] for at in (0, 8)]
    for subject, called in (("1", "grace"), ("2", f"grace-{marks[0]}"), ("the second", "grace")):
        scene.played.claims = {"sub": subject, "preferred_username": called}
        assert scene.sign_in().status_code == 303
    found = {person.subject: person.name for person in scene.stage.passes.people.listed()}
    assert found == {"1": "grace@corp", "2": f"grace-{marks[0]}@corp", "the second": f"grace-{marks[1]}@corp"}
    (listed, *_) = scene.stage.get("/api/v1/users", scene.stage.token("admin")).json()
    assert (listed["subject"], listed["issuer"]) == ("2", ISSUER)


def test_names_are_believed_where_the_file_says_so_and_only_until_somebody_came(tmp_path: Path) -> None:
    scene = Scene(tmp_path, trust_names=True)
    scene.stage.passes.people.put("grace@corp", [Role(repo="/srv/a.git", scope="run")], now=scene.stage.now)
    scene.played.claims = {"groups": []}
    assert scene.sign_in().status_code == 303
    assert scene.stage.passes.people.find("grace@corp").subject == "248289761001"  # type: ignore[union-attr]
    scene.played.claims = {"groups": [], "sub": "another"}
    assert scene.sign_in().status_code == 403
    scene.stage.passes.people.put("ada-@corp", [Role(repo="*", scope="admin")], now=scene.stage.now)
    scene.played.claims = {"groups": [], "sub": "a third", "preferred_username": "ada/"}
    assert scene.sign_in().status_code == 403, "a name that only looks like it is another one"


def test_the_session_ends_when_the_file_says(tmp_path: Path) -> None:
    scene = Scene(tmp_path, lasts_ms=300_000)
    answer = scene.sign_in()
    assert "Max-Age=300;" in answer.headers["set-cookie"]
    scene.stage.now += 299_999
    assert scene.seen_by(answer) == 200
    scene.stage.now += 1
    assert scene.seen_by(answer) == 401


def test_a_refusal_of_the_provider_is_said_in_its_word_and_nothing_else_of_it(scene: Scene) -> None:
    way, there = scene.depart()
    state = scene.played.sign_in(there.headers["location"])["state"]
    said = {"state": state, "error": "access_denied", "error_description": "Call 555"}
    text = scene.is_refused(scene.back(way, said))
    assert "Corp did not sign you in (<code>access_denied</code>)" in text
    assert "555" not in text
    assert "Send money" not in scene.is_refused(scene.back(way, {"state": state, "error": "Send money"}))
    assert "did not sign you in" in scene.is_refused(scene.back(way, {"state": state}))


def test_whoever_is_led_back_by_a_stranger_reads_nothing_of_theirs_and_stays_on_their_way(scene: Scene) -> None:
    way, there = scene.depart()
    for led in ({"error": "call_mallory"}, {"error": "call_mallory", "state": "x"}, {"code": "x", "state": "x"}, {}):
        answer = scene.back(way, led)
        text = scene.is_refused(answer)
        assert "not the sign-in that this browser began" in text
        assert "call_mallory" not in text
        assert "set-cookie" not in answer.headers
    assert scene.back(way, scene.played.sign_in(there.headers["location"])).status_code == 303


def test_whoever_comes_by_another_address_begins_at_that_of_the_pages(scene: Scene) -> None:
    answer = scene.stage.get("/login/corp", {"host": "localhost:7380"})
    assert answer.headers["location"] == f"{HERE}/login/corp"
    assert "set-cookie" not in answer.headers


def test_below_a_prefix_and_over_https_the_cookies_are_for_nobody_else(scene: Scene) -> None:
    scene.stage.public_url, scene.stage.proxies = "https://ci.example.org/ci", ("127.0.0.1",)
    scene.stage.providers["corp"].back = "https://ci.example.org/ci/login/corp/back"
    secure = {"x-forwarded-proto": "https", "host": "ci.example.org"}
    there = scene.stage.get("/ci/login/corp", secure)
    name = "__Secure-surveil-way"
    kept = there.headers["set-cookie"]
    assert kept.startswith(f"{name}=")
    assert "Path=/ci/" in kept
    assert "Secure" in kept
    scene.played.now = scene.stage.now
    brought = scene.played.sign_in(there.headers["location"])
    way = kept.partition("=")[2].partition(";")[0]
    answer = scene.stage.get("/ci/login/corp/back", {**secure, "cookie": f"{name}={way}"}, params=brought)
    assert answer.headers["location"] == "/ci/"
    assert "__Secure-surveil=" in str(answer.headers.get_list("set-cookie"))
