"""Who was let in a moment ago is not looked up again, and is let in no longer from the moment on at which that ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from surveil.store.passes import FILE, SEEN_MS, Kind, Passes
from surveil.store.people import Role
from surveil.web import recognised
from surveil.web.visitors import SESSION_MS
from tests.web.stage import Stage

STATUS = "/api/v1/builds"
EVERYWHERE = [Role(repo="*", scope="read")]


@pytest.fixture
def ann(stage: Stage) -> dict[str, str]:
    """The headers of somebody who was let in, more than once."""
    stage.passes.people.put("ann", EVERYWHERE, now=stage.now)
    secret = stage.passes.issue(Kind.TOKEN, "ann", "admin", now=stage.now, lasts_ms=SESSION_MS, user="ann")
    headers = {"authorization": f"Bearer {secret}"}
    assert [stage.get(STATUS, headers).status_code for _ in range(3)] == [200, 200, 200]
    return headers


@pytest.fixture
def looks(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How often somebody was looked up."""
    found: list[str] = []
    look = stage.passes.admit

    def counted(kind: Kind, secret: str, *, now: int) -> object:
        found.append(kind.value)
        return look(kind, secret, now=now)

    monkeypatch.setattr(stage.passes, "admit", counted)
    return found


def test_nobody_is_looked_up_again_while_nothing_changes(stage: Stage, ann: dict[str, str], looks: list[str]) -> None:
    for path in (STATUS, f"{STATUS}/1", "/api/v1/status", "/builds"):
        assert stage.get(path, ann).status_code == 200
    assert looks == []


def test_so_many_are_remembered_and_who_was_looked_up_last(
    stage: Stage, ann: dict[str, str], looks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recognised, "KEPT_MAX", 1)
    other = stage.token()
    for each in (other, other, ann):
        assert stage.get(STATUS, each).status_code == 200
    looks.clear()
    for each in (ann, other, other, ann, ann):
        assert stage.get(STATUS, each).status_code == 200
    assert looks == ["token", "token"]


def end(passes: Passes, now: int) -> None:
    (shown,) = passes.listed(Kind.TOKEN)
    assert passes.end(shown.id, now=now)


def forget(passes: Passes, now: int) -> None:
    passes.forget("ann", now=now)


@pytest.mark.parametrize("close", [end, forget])
@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_pass_that_ends_is_good_for_nothing_from_then_on(
    stage: Stage, ann: dict[str, str], close: Callable[[Passes, int], None], *, elsewhere: bool
) -> None:
    other = Passes(stage.folder) if elsewhere else stage.passes
    close(other, stage.now)
    assert [stage.get(STATUS, ann).status_code for _ in range(2)] == [401, 401]


def test_a_role_that_is_taken_away_is_gone_at_once(stage: Stage, ann: dict[str, str]) -> None:
    other = Passes(stage.folder)
    other.people.put("ann", [Role(repo="/srv/else", scope="read")], now=stage.now)
    assert stage.get(f"{STATUS}/1", ann).status_code == 404
    other.people.put("ann", [], now=stage.now)
    assert stage.get(STATUS, ann).status_code == 403
    other.people.put("ann", EVERYWHERE, now=stage.now)
    assert stage.get(f"{STATUS}/1", ann).status_code == 200


def test_a_pass_is_good_until_it_expires_and_no_longer(stage: Stage, ann: dict[str, str]) -> None:
    stage.now += SESSION_MS - 1
    assert [stage.get(STATUS, ann).status_code for _ in range(2)] == [200, 200]
    stage.now += 1
    assert stage.get(STATUS, ann).status_code == 401


def test_it_is_noted_when_a_pass_was_last_used(stage: Stage, ann: dict[str, str]) -> None:
    began = stage.now
    for _ in range(4):
        stage.now += SEEN_MS // 2 + 1
        stage.get(STATUS, ann)
    (shown,) = stage.passes.listed(Kind.TOKEN)
    assert shown.seen_at is not None
    assert stage.now - shown.seen_at <= SEEN_MS < shown.seen_at - began


def test_whoever_removes_the_file_lets_nobody_in(stage: Stage, ann: dict[str, str]) -> None:
    (stage.folder / FILE).unlink()
    assert stage.get(STATUS, ann).status_code == 401
    assert stage.get(STATUS, stage.token()).status_code == 200


def test_a_token_is_no_session_and_a_session_no_token(stage: Stage, ann: dict[str, str]) -> None:
    secret = ann["authorization"].removeprefix("Bearer ")
    assert stage.get(STATUS, {"cookie": f"surveil={secret}"}).status_code == 401
    session = stage.session()
    cookie = {"cookie": f"surveil={session}"}
    assert [stage.get(STATUS, cookie).status_code for _ in range(2)] == [200, 200]
    assert stage.get(STATUS, {"authorization": f"Bearer {session}"}).status_code == 401


def test_a_remembered_session_still_shows_the_word_of_its_own_pages(stage: Stage) -> None:
    cookie = {"cookie": f"surveil={stage.session('run')}"}
    assert [stage.get(STATUS, cookie).status_code for _ in range(2)] == [200, 200]
    assert stage.post(f"{STATUS}/2/cancel", cookie).status_code == 403
    assert stage.dispatcher.wishes == []
