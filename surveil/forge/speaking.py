"""Tells a forge, with its token, and judges what it answers.

What belongs here: one forge as it was configured, and what an answer means for what is told next. What does not: the
words of each kind, and when it is tried again (`core.outbox`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from surveil.calling import Answer, Caller, CallError, read_credential
from surveil.core.outbox import Fate, Outcome
from surveil.core.spelling import printable
from surveil.errors import InfrastructureError
from surveil.forge import CommitStatus, Words
from surveil.forge.gitea import Gitea
from surveil.forge.github import GitHub
from surveil.forge.gitlab import GitLab
from surveil.frozen import dataclass

KINDS: Final[Mapping[str, Callable[[], Words]]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "gitea": Gitea,
    "forgejo": Gitea,
}
GOOD: Final = range(200, 300)
BUSY_MS: Final = 60_000
"""So long a forge is left alone that says that it is asked too often, and not until when."""
SAID_CHARACTERS_MAX: Final = 300
_TOO_OFTEN: Final = frozenset({403, 429})
_AWAY: Final = frozenset({401, 408, 425, 429})
_DURATION_S_MAX: Final = 1_000_000_000
"""A proxy may count seconds from now where forges name an instant."""
_SERVERS_OWN: Final = 500
_ELSEWHERE: Final = range(300, 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """A forge at an address, with the file that holds the token for it."""

    url: str
    words: Words
    token: Path

    async def tell(self, caller: Caller, status: CommitStatus, *, now: int) -> Outcome:
        """Tell it a status, once."""
        try:
            token = await asyncio.to_thread(read_token, self.token)
            request = self.words.request(status, token)
            answer = await caller.call(
                "POST", self.words.api(self.url) + request.path, headers=request.headers, document=request.document
            )
        except CallError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"{self.url} {error}")
        except InfrastructureError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        return self.judged(answer, status, now=now)

    def judged(self, answer: Answer, status: CommitStatus, *, now: int) -> Outcome:
        """What an answer means."""
        said = _said(answer)
        if answer.status in GOOD or self.words.known_already(answer.status, said):
            return Outcome(fate=Fate.DELIVERED, again_ms=max(self.words.pace_ms, exhausted_ms(answer, now)))
        return minded(answer, url=self.url, project=status.project, now=now)


def minded(answer: Answer, *, url: str, project: str, now: int) -> Outcome:
    """What an answer means that is not a good one."""
    said = _said(answer)
    reason = f"{url} answers {answer.status} for {project}: {said or 'and says nothing'}"
    patience_ms = _patience_ms(answer, said, now)
    if patience_ms or answer.status in _AWAY or answer.status >= _SERVERS_OWN:
        return Outcome(fate=Fate.UNAVAILABLE, reason=reason, again_ms=patience_ms)
    if answer.status in _ELSEWHERE:
        reason = f"{url} has {project} elsewhere ({answer.status}): is it called otherwise now?"
    return Outcome(fate=Fate.REFUSED, reason=reason)


def read_token(path: Path) -> str:
    """The token in a file; read each time, so that it may be changed. Raises InfrastructureError."""
    return read_credential(path, "the token of the forge")


def _patience_ms(answer: Answer, said: str, now: int) -> int:
    """How long it wants to be left alone, because it was asked too often or says so; 0 if it does not."""
    asked = _number(answer.headers.get("retry-after"))
    if asked and (answer.status in _TOO_OFTEN or answer.status >= _SERVERS_OWN):
        return asked * 1000
    if answer.status not in _TOO_OFTEN:
        return 0
    # So GitHub words it now, and its servers of older versions.
    busy = answer.status != 403 or any(word in said.lower() for word in ("rate limit", "abuse"))  # noqa: PLR2004
    return exhausted_ms(answer, now) or (BUSY_MS if busy else 0)


def exhausted_ms(answer: Answer, now: int) -> int:
    """How long until more questions are allowed, if the last one was just asked: GitHub, Gitea and GitLab spell it in
    two ways.
    """
    for prefix in ("x-ratelimit", "ratelimit"):
        left, reset = answer.headers.get(f"{prefix}-remaining"), _number(answer.headers.get(f"{prefix}-reset"))
        if left == "0" and reset:
            return max(1000, reset * 1000 - now if reset > _DURATION_S_MAX else reset * 1000)
    return 0


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 12 else 0  # noqa: PLR2004  # seconds


def _said(answer: Answer) -> str:
    """What it says is wrong, in a line."""
    found = answer.document()
    message = found.get("message") or found.get("error") if isinstance(found, dict) else None
    return printable(" ".join(str(message or "").split()))[:SAID_CHARACTERS_MAX]
