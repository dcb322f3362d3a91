"""Who did what by page and API: every act leaves a line, none of which holds anything secret, for administrators."""

from __future__ import annotations

import pytest

from surveil.client import Behalf
from surveil.store.acts import BEGUN, ITSELF, Act
from surveil.store.passes import Kind
from surveil.web.visitors import COOKIE, csrf_of
from tests.corpora.naughty import NAUGHTY
from tests.web.stage import HERE, Stage

API = "/api/v1"


def whats(stage: Stage) -> list[tuple[str, str, str]]:
    return [(each.what, each.person, each.way) for each in stage.acts.listed(limit=99)]


def browser(secret: str) -> dict[str, str]:
    return {"cookie": f"{COOKIE}={secret}", "origin": HERE}


def test_a_wish_says_for_whom_it_is_and_how_that_one_came(stage: Stage) -> None:
    stage.post(f"{API}/builds/2/cancel", stage.token("run"))
    session = stage.session("run")
    stage.post("/builds/2/cancel", browser(session), data={"csrf": csrf_of(session)})
    stage.post(f"{API}/questions/cancel", stage.token("run"), json={"build": 2})
    ways = ("api", "page", "command")
    assert stage.dispatcher.behalves == [Behalf(person="ada", way=way) for way in ways]


def test_what_people_come_in_with_leaves_lines_without_its_secret(stage: Stage) -> None:
    link = stage.passes.issue(Kind.LINK, "grace", "run", now=stage.now, lasts_ms=1000)
    entered = stage.post("/login", data={"key": link})
    session = entered.cookies[COOKIE]
    admin = stage.token("admin")
    (mine,) = stage.passes.listed(Kind.TOKEN)
    stage.request("DELETE", f"{API}/passes/{mine.id}", admin)
    stage.post("/logout", browser(session), data={"csrf": csrf_of(session)})
    assert whats(stage) == [
        ("sign-out", "grace", "page"), ("pass-end", "ada", "api"), ("sign-in", "grace", "page"),
    ]  # fmt: skip
    written = (stage.folder / "acts.db").read_bytes() + (stage.folder / "acts.db-wal").read_bytes()
    assert not any(secret.encode() in written for secret in (link, session, admin["authorization"][7:]))


def test_nobody_comes_in_whose_coming_cannot_be_written_down(stage: Stage) -> None:
    link = stage.passes.issue(Kind.LINK, "grace", "run", now=stage.now, lasts_ms=1000)
    stage.acts.close()
    (stage.folder / "acts.db").unlink()
    (stage.folder / "acts.db").mkdir()
    assert stage.post("/login", data={"key": link}).status_code == 500
    assert stage.passes.listed(Kind.SESSION) == []


def test_acts_are_found_page_by_page_by_administrators_alone(stage: Stage) -> None:
    for number in range(1, 6):
        act = Act(at=stage.now + number, person="ada", way="page", what="retry", subject=f"build {number}")
        stage.acts.write(act)
    assert stage.get(f"{API}/audit", stage.token("run")).status_code == 403
    admin = stage.token("admin")
    first = stage.get(f"{API}/audit?limit=3", admin).json()
    rest = stage.get(f"{API}/audit?limit=3&before={first['next']}", admin).json()
    assert [each["subject"] for each in first["acts"] + rest["acts"]] == [f"build {n}" for n in (5, 4, 3, 2, 1)]
    assert rest["next"] is None
    since = rest["acts"][0]["at"]
    assert len(stage.get(f"{API}/audit", admin, params={"since": since}).json()["acts"]) == 4
    assert stage.get(f"{API}/audit?person=grace", admin).json()["acts"] == []
    assert len(stage.get(f"{API}/audit?what=retry", admin).json()["acts"]) == 5
    assert stage.get(f"{API}/audit?what=nonsense", admin).status_code == 422
    assert len(stage.post(f"{API}/questions/audit", admin, json={"limit": 2}).json()["body"]) == 2


def test_the_page_shows_acts_to_administrators_and_its_texts_are_texts(stage: Stage) -> None:
    for text in ("<script>alert(1)</script>", *NAUGHTY[:40]):
        stage.acts.write(Act(at=stage.now, person=text[:200], way="api", what="cancel", subject=text, detail=text))
    assert stage.get("/audit", browser(stage.session("run"))).status_code == 403
    page = stage.get("/audit", browser(stage.session("admin")))
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert "&lt;script&gt;alert(1)" in page.text
    assert "Nobody did anything of the kind" in stage.get("/audit?what=retry", browser(stage.session("admin"))).text


def test_what_became_of_the_book_is_nobodys_act(stage: Stage) -> None:
    somebody = "<bdi>a person</bdi>"
    stage.acts.write(Act(at=stage.now, person="", way=ITSELF, what=BEGUN, subject="acts.db.damaged-1"))
    page = stage.get("/audit", browser(stage.session("admin"))).text
    assert ("acts.db.damaged-1" in page, somebody in page) == (True, False)
    stage.acts.write(Act(at=stage.now, person="", way="command", what="cancel", subject="build 1"))
    assert stage.get("/audit", browser(stage.session("admin"))).text.count(somebody) == 1


@pytest.mark.parametrize("scope", ["read", "admin"])
def test_the_way_to_the_page_is_shown_to_who_may_go_there(stage: Stage, scope: str) -> None:
    page = stage.get("/settings", browser(stage.session(scope)))
    assert ('href="/audit"' in page.text) == (scope == "admin")
