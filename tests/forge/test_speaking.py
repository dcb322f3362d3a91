"""What a forge's answer means for what is told next."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from surveil import calling
from surveil.calling import Answer, Caller
from surveil.core.outbox import Fate, Outcome
from surveil.forge import CommitStatus, State
from surveil.forge.gitea import Gitea
from surveil.forge.github import GitHub
from surveil.forge.gitlab import GitLab
from surveil.forge.speaking import BUSY_MS, Forge, read_token
from tests.forge.played import Mood, PlayedForge

NOW = 1_750_000_000_000
RESET = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW // 1000 + 90)}
STATUS = CommitStatus(
    project="acme/it", sha="a" * 40, context="surveil/push", state=State.SUCCESS, description="", url=""
)


def judged(status: int, headers: dict[str, str] | None = None, said: str = "", words: object = None) -> Outcome:
    forge = Forge(url="https://git.example.org", words=words or Gitea(), token=Path("token"))  # type: ignore[arg-type]
    return forge.judged(
        Answer(status=status, headers=headers or {}, body=json.dumps({"message": said}).encode()), STATUS, now=NOW
    )


@pytest.mark.parametrize(
    ("status", "headers", "said", "fate", "again_ms"),
    [
        (201, {}, "", Fate.DELIVERED, 0),
        (201, RESET, "", Fate.DELIVERED, 90_000),
        (401, {}, "Bad credentials", Fate.UNAVAILABLE, 0),
        (403, {}, "Resource not accessible by personal access token", Fate.REFUSED, 0),
        (403, RESET, "API rate limit exceeded", Fate.UNAVAILABLE, 90_000),
        (403, {"retry-after": "60"}, "You have exceeded a secondary rate limit", Fate.UNAVAILABLE, 60_000),
        (403, {}, "You have exceeded a secondary rate limit", Fate.UNAVAILABLE, BUSY_MS),
        (429, {}, "", Fate.UNAVAILABLE, BUSY_MS),
        (429, {"retry-after": "7"}, "", Fate.UNAVAILABLE, 7_000),
        (429, {"ratelimit-remaining": "0", "ratelimit-reset": str(NOW // 1000 + 5)}, "", Fate.UNAVAILABLE, 5_000),
        (429, {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, "", Fate.UNAVAILABLE, BUSY_MS),
        (429, {"retry-after": "9" * 30}, "", Fate.UNAVAILABLE, BUSY_MS),
        (503, {"retry-after": "30"}, "", Fate.UNAVAILABLE, 30_000),
        (500, {}, "", Fate.UNAVAILABLE, 0),
        (404, {}, "Not Found", Fate.REFUSED, 0),
        (422, {}, "No commit found for SHA", Fate.REFUSED, 0),
        (301, {"location": "https://evil.example/"}, "", Fate.REFUSED, 0),
    ],
)
def test_an_answer_says_who_is_in_the_way_and_for_how_long(
    status: int, headers: dict[str, str], said: str, fate: Fate, again_ms: int
) -> None:
    outcome = judged(status, headers, said)
    assert (outcome.fate, outcome.again_ms) == (fate, again_ms)
    assert said in outcome.reason or fate is Fate.DELIVERED


def test_github_is_left_alone_for_a_moment_after_each_and_gitlab_knows_what_it_has() -> None:
    assert judged(201, words=GitHub()).again_ms == GitHub.pace_ms
    known = judged(400, said="Cannot transition status via :enqueue from :pending", words=GitLab())
    assert known.fate is Fate.DELIVERED


def test_what_a_forge_says_stays_a_line_of_bounded_length() -> None:
    outcome = judged(422, said="\x1b]0;evil\x07\n" + "no " * 1000)
    assert outcome.reason.isprintable()
    assert len(outcome.reason) < 500
    for body in (b"", b"[" * 60_000, b"\xff", b"[1]", b'{"message": ["a", "list"]}', b"null"):
        forge = Forge(url="https://git.example.org", words=Gitea(), token=Path("token"))
        assert forge.judged(Answer(status=404, headers={}, body=body), STATUS, now=NOW).fate is Fate.REFUSED


def test_a_forge_that_misbehaves_is_away_and_nothing_worse(
    forge: PlayedForge, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forge.moods = [Mood(cut=True), Mood(hang_s=30), Mood(status=500, body=b"x" * 1_000_000), Mood(body=b"no JSON")]

    async def tell() -> list[Outcome]:
        spoken = Forge(url=forge.url, words=Gitea(), token=token)
        async with Caller() as caller:
            told = [await spoken.tell(caller, STATUS, now=NOW)]
            with monkeypatch.context() as patched:  # No other one is to be done so soon.
                patched.setattr(calling, "TIMEOUT_S", 0.3)
                told.append(await spoken.tell(caller, STATUS, now=NOW))
            return told + [await spoken.tell(caller, STATUS, now=NOW) for _ in range(2)]

    cut, hung, broken, strange = asyncio.run(tell())
    assert [each.fate for each in (cut, hung, broken, strange)] == [Fate.UNAVAILABLE] * 3 + [Fate.DELIVERED]
    assert "cannot be reached" in cut.reason
    assert "does not answer within" in hung.reason
    assert "answers 500" in broken.reason


def test_a_token_is_read_each_time_and_one_that_cannot_be_is_no_reason_to_end(tmp_path: Path) -> None:
    spoken = Forge(url="http://127.0.0.1:9", words=Gitea(), token=tmp_path / "none")

    async def tell() -> Outcome:
        async with Caller() as caller:
            return await spoken.tell(caller, STATUS, now=NOW)

    outcome = asyncio.run(tell())
    assert outcome.fate is Fate.UNAVAILABLE
    assert str(tmp_path / "none") in outcome.reason
    for text in (b"", b"two\nlines", b"\xff\xfe"):
        (tmp_path / "token").write_bytes(text)
        with pytest.raises(Exception, match="token"):
            read_token(tmp_path / "token")
    (tmp_path / "token").write_bytes(b"  hush-hush\n")
    assert read_token(tmp_path / "token") == "hush-hush"
