"""A GitHub App of one's own: proves who it is, gets tokens for a project, and tells checks.

What belongs here: the app's key, its tokens, and the order of questions. What does not: the words of checks (`checks`),
what an answer means in general (`speaking`), and when it is tried again (`core.outbox`).

The key signs that it is the app, for nine minutes. That buys a token for one project, which may write checks and
nothing else, for an hour. Neither is kept on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from surveil.calling import Answer, Caller, CallError
from surveil.core.outbox import Fate, Outcome
from surveil.errors import InfrastructureError
from surveil.forge.checks import CheckRun, document, known_in, path_of, runs_path
from surveil.forge.github import VERSION, GitHub
from surveil.forge.speaking import GOOD, exhausted_ms, minded
from surveil.frozen import dataclass

KEY_BYTES_MAX: Final = 16 * 1024
PROOF_S: Final = 540
"""GitHub takes none that lasts longer than ten minutes."""
CLOCKS_APART_S: Final = 60
RENEWED_MS: Final = 5 * 60_000
"""A token that ends within so long is renewed before it is used."""
TOKENS_MAX: Final = 1_000
_UNKNOWN: Final = 401
_MISSING: Final = 404


class _RefusedError(Exception):
    """It does not go on, and this is what becomes of it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app at a GitHub: its id (or client id), and the file that holds its private key."""

    url: str
    id: str
    key: Path


class Checks:
    """Tells checks as the app. Used by one task at a time."""

    def __init__(self, app: App, caller: Caller) -> None:
        self._app = app
        self._caller = caller
        self._api = GitHub().api(app.url)
        self._tokens: dict[str, tuple[str, int]] = {}
        """By project a token, and until when it is good."""

    async def tell(self, run: CheckRun, *, now: int) -> Outcome:
        """Tell it once: change the check run that was made for the same, or make it."""
        try:
            token = await self._token(run.project, now)
            listed = await self._ask("GET", runs_path(run), token, project=run.project, now=now)
            known = known_in(listed.document(), run)
            method, path = path_of(run, known)
            answer = await self._ask(method, path, token, project=run.project, now=now, said=document(run, known))
        except _RefusedError as error:
            return error.outcome
        except CallError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"{self._app.url} {error}")
        except ValueError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=f"{self._app.url} does not answer as GitHub does: {error}")
        except InfrastructureError as error:
            return Outcome(fate=Fate.UNAVAILABLE, reason=str(error))
        return Outcome(fate=Fate.DELIVERED, again_ms=max(GitHub.pace_ms, exhausted_ms(answer, now)))

    async def _token(self, project: str, now: int) -> str:
        """A token for this project that is good for a while."""
        token, until = self._tokens.get(project, ("", 0))
        if now + RENEWED_MS < until:
            return token
        proof = await asyncio.to_thread(signed, self._app, now)
        found = await self._ask("GET", f"/repos/{quote(project)}/installation", proof, project=project, now=now)
        number = _field(found, "id", int)
        wanted = {"repositories": [project.rpartition("/")[2]], "permissions": {"checks": "write"}}
        made = await self._ask(
            "POST", f"/app/installations/{number}/access_tokens", proof, project=project, now=now, said=wanted
        )
        token = str(_field(made, "token", str))
        if not token.isascii() or not token.isprintable():
            raise ValueError("its token is none")
        until = int(datetime.fromisoformat(_field(made, "expires_at", str)).timestamp() * 1000)
        if len(self._tokens) >= TOKENS_MAX:
            self._tokens.clear()
        self._tokens[project] = (token, until)
        return token

    async def _ask(
        self, method: str, path: str, token: str, *, project: str, now: int, said: Mapping[str, Any] | None = None
    ) -> Answer:
        """An answer that is good; raises _RefusedError for others, and CallError."""
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": VERSION,
        }
        answer = await self._caller.call(method, self._api + path, headers=headers, document=said)
        if answer.status in GOOD:
            return answer
        if answer.status == _UNKNOWN:
            # It may have been taken back before its time.
            self._tokens.pop(project, None)
        outcome = minded(answer, url=self._app.url, project=project, now=now)
        if answer.status == _MISSING and path.endswith("/installation"):
            reason = f"the app {self._app.id} is not installed for {project}: install it there, on its page at GitHub"
            outcome = Outcome(fate=Fate.REFUSED, reason=reason)
        raise _RefusedError(outcome)


def signed(app: App, now: int) -> str:
    """The proof that whoever shows it is the app; the key is read each time, so that it may be changed.

    Raises:
        InfrastructureError: the file holds no key.
    """
    from joserfc import jwt  # noqa: PLC0415  # Only who has an app needs it.
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import RSAKey  # noqa: PLC0415

    claims = {"iat": now // 1000 - CLOCKS_APART_S, "exp": now // 1000 + PROOF_S, "iss": app.id}
    try:
        with app.key.open("rb") as file:
            key = RSAKey.import_key(file.read(KEY_BYTES_MAX))
        return jwt.encode({"alg": "RS256"}, claims, key)
    except (OSError, ValueError, TypeError, JoseError) as error:
        raise InfrastructureError(
            f"the private key of the app {app.id} cannot be used from {app.key} ({error}): make one on the page of the "
            "app at GitHub, and put the file there"
        ) from error


def _field(answer: Answer, name: str, kind: type[Any]) -> Any:
    """A field of an answer. Raises ValueError where there is none."""
    found = answer.document()
    value = found.get(name) if isinstance(found, dict) else None
    if not isinstance(value, kind):
        raise ValueError(f"it gives no `{name}`")
    return value
