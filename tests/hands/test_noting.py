"""What is wished for is written down before it is done, and not done where it cannot be written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from surveil.answer import LookWish, Reply, RevokeTokenWish, SecretWish, TokenWish, Wish
from surveil.answer.auditing import What, said_of
from surveil.core.scopes import Scope, Source
from surveil.errors import InfrastructureError, NotFoundError
from surveil.hands.noting import Noting
from surveil.protocol import Ask
from surveil.store import StoreError
from surveil.store.acts import Act, Acts

NOW = 1_750_000_000_000
ASK = Ask(id=1, what="token_revoke", about={"id": "4f1c"}, person="ada", way="page")
WISH = RevokeTokenWish(token="4f1c")
SECRET = SecretWish(name="KEY", scope=Scope(), value=b"hunter2-hunter2", source=Source.HERE, by="ada")


@pytest.fixture
def acts(tmp_path: Path) -> Acts:
    return Acts(tmp_path)


def noted(acts: Acts, wish: Wish, ask: Ask = ASK, error: Exception | None = None) -> list[Act]:
    """What stands in the book at the moment when the wish is fulfilled."""
    seen: list[Act] = []

    async def fulfil(_: Wish) -> Reply:
        seen.extend(acts.listed(limit=9))
        if error is not None:
            raise error
        return Reply(body={})

    asyncio.run(Noting(acts, lambda: NOW).noted(ask, "laptop", wish, fulfil))
    return seen


def test_the_line_is_there_before_the_wish_is_fulfilled(acts: Acts) -> None:
    (line,) = noted(acts, WISH)
    said = (line.at, line.person, line.client, line.way, line.what, line.subject)
    assert said == (NOW, "ada", "laptop", "page", "join-token-revoke", "4f1c")


def test_who_says_nothing_of_a_way_typed_a_command(acts: Acts) -> None:
    (line,) = noted(acts, WISH, Ask(id=1, what="token_revoke", about={}))
    assert (line.person, line.client, line.way) == ("", "laptop", "command")


def test_what_fails_gets_a_line_more(acts: Acts) -> None:
    with pytest.raises(NotFoundError):
        noted(acts, WISH, error=NotFoundError("There is no such token."))
    assert [line.detail for line in acts.listed(limit=9)] == ["was not done: There is no such token.", ""]


def test_nothing_is_done_that_cannot_be_written_down(acts: Acts, tmp_path: Path) -> None:
    acts.close()
    (tmp_path / "acts.db").unlink()
    (tmp_path / "acts.db").mkdir()
    done = InfrastructureError("it was done")
    with pytest.raises(StoreError):
        noted(acts, WISH, error=done)


def test_no_line_holds_the_value_of_a_secret(acts: Acts, tmp_path: Path) -> None:
    (line,) = noted(acts, SECRET)
    assert (line.what, line.subject, line.detail) == (What.SECRET_SET, "KEY", "for all jobs, here")
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"hunter2" not in written


def test_a_line_about_a_join_token_says_what_it_is_good_for() -> None:
    plain = TokenWish(role="runner", labels=(), expires_ms=600_000, uses=1)
    assert said_of(plain, {}) == (What.JOIN_TOKEN, "for 1 of role runner", "good for 10m")
    labelled = TokenWish(role="runner", labels=("gpu", "big"), expires_ms=600_000, uses=2)
    assert said_of(labelled, {}) == (What.JOIN_TOKEN, "for 2 of role runner", "good for 10m; gpu, big")


def test_a_hint_is_no_act(acts: Acts) -> None:
    assert said_of(LookWish(repo="/srv/lib.git"), {}) is None
    assert noted(acts, LookWish(repo="/srv/lib.git")) == []
