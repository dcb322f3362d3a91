"""`OverHttp`: asks a dispatcher through the web pages before it, with a token instead of a key.

What belongs here: one question and its answer over HTTP, and one request to a route of what the pages themselves keep.
What does not: what questions there are (`surveil.answer`), and the other end (`surveil.web.api`).

It behaves as `Client` does: it is patient while the dispatcher is away, and says nothing twice that would be done
twice.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final, Self

import httpx2

from surveil import __version__
from surveil.client import Answered
from surveil.client.access import Site
from surveil.client.asking import ONCE, OUTAGE_MS, PATIENCE_MS
from surveil.client.documents import Documents
from surveil.errors import (
    ExitCode,
    InfrastructureError,
    NotAllowedError,
    SurveilError,
    UnreachableError,
    UsageError,
    error_of,
)

QUESTIONS: Final = "/api/v1/questions/"
CONNECT_S: Final = 5.0
AGAIN_S: Final = 0.5
"""How long a server that is away is left alone."""
GRACE_MS: Final = 3_000
"""So much longer than we would wait for the dispatcher the server gets to say that it is away."""
_TIMEOUT: Final = httpx2.Timeout(None, connect=CONNECT_S)
_AWAY: Final = frozenset({502, 503, 504})
_TOO_OFTEN: Final = 429
_BAD_REQUESTS: Final = frozenset({400, 413, 422})


class OverHttp(Documents):
    """Asks the dispatcher behind a site, between `async with` and its end."""

    def __init__(self, site: Site, *, patience_ms: int = PATIENCE_MS, outage_ms: int = OUTAGE_MS) -> None:
        self._url = site.url
        self._patience_ms = patience_ms
        self.outage_ms = outage_ms
        self._http = httpx2.AsyncClient(
            base_url=site.url,
            headers={"authorization": f"Bearer {site.token}", "user-agent": f"surveil/{__version__}"},
            verify=ssl.create_default_context() if site.url.startswith("https:") else False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self, what: str, about: Mapping[str, Any] | None = None, *, patience_ms: int | None = None
    ) -> Answered:
        """Ask one question and return its answer. `about["wait_ms"]` is added to the patience.

        Raises:
            UnreachableError: no answer within the patience.
            NotAllowedError: the token is good no longer, or not for this.
            SurveilError: the dispatcher's own sentence, as the error that its exit code stands for.
        """
        wait_ms = int((about or {}).get("wait_ms") or 0)
        patient_ms = (self._patience_ms if patience_ms is None else patience_ms) + wait_ms
        params = {} if patience_ms is None else {"patience_ms": patience_ms}
        asked = self._http.build_request(
            "POST", QUESTIONS + what, json=dict(about or {}), params=params, timeout=_TIMEOUT
        )
        answer = await self._patiently(asked, patient_ms, once=ONCE.get(what))
        try:
            document = json.loads(answer.content)
            return Answered(body=document["body"], data=base64.b64decode(document["data"], validate=True))
        except (ValueError, LookupError, TypeError, binascii.Error):
            raise self._not_surveil(answer) from None

    async def request(self, method: str, path: str, about: Any = None, *, once: str | None = None) -> Any:
        """Ask the route at this path, with `about` as the body, for the document that it answers with; None where it
        sends none. What cannot be said twice has a sentence, `once`, for when nobody knows whether it was done.

        Raises:
            SurveilError: as `ask` does.
        """
        asked = self._http.build_request(method, path, json=about, timeout=_TIMEOUT)
        answer = await self._patiently(asked, self._patience_ms, once=once)
        try:
            return json.loads(answer.content) if answer.content else None
        except ValueError:
            raise self._not_surveil(answer) from None

    async def _patiently(self, asked: httpx2.Request, patient_ms: int, *, once: str | None) -> httpx2.Response:
        """What a request is answered with, after as many tries as there is time for."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patient_ms / 1000
        while True:
            try:
                async with asyncio.timeout_at(until + GRACE_MS / 1000):
                    return await self._once(asked, once)
            except TimeoutError:
                raise _gone(f"{self._url} does not answer in time; look at what runs there.", once) from None
            except _Again as again:
                if loop.time() + again.after_s >= until:
                    raise again.error from None
                await asyncio.sleep(again.after_s)

    async def _once(self, asked: httpx2.Request, once: str | None) -> httpx2.Response:
        """One try. Raises _Again where another one may do better."""
        try:
            answer = await self._http.send(asked)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise self._not_connected(error) from error
        except httpx2.TransportError as error:
            lost = _gone(f"The connection to {self._url} was lost ({type(error).__name__}).", once)
            raise (_Again(lost) if isinstance(lost, UnreachableError) else lost) from error
        if answer.is_success:
            return answer
        raise self._refused(answer)

    def _refused(self, answer: httpx2.Response) -> SurveilError | _Again:
        """Why there is no answer, as the error of the same sentence; as _Again where that may change."""
        try:
            problem = json.loads(answer.content)
            sentence, code = str(problem["detail"]), int(problem.get("exit_code") or 0)
        except (ValueError, LookupError, TypeError, AttributeError):
            error = self._not_surveil(answer)
            return _Again(error) if answer.status_code in _AWAY else error
        if answer.status_code == _TOO_OFTEN:
            return _Again(NotAllowedError(sentence), after_s=_seconds(answer.headers.get("retry-after", "")))
        if code == ExitCode.UNREACHABLE:
            return _Again(UnreachableError(sentence))
        if not code and answer.status_code in _BAD_REQUESTS:
            return UsageError(sentence)
        return error_of(sentence, code)

    def _not_surveil(self, answer: httpx2.Response) -> SurveilError:
        moved = answer.headers.get("location", "")
        if answer.is_redirect and moved:
            return InfrastructureError(
                f"{self._url} leads on to {moved[:200]}: name that with --server if you trust it."
            )
        if answer.status_code in _AWAY:
            return UnreachableError(
                f"What stands before surveil at {self._url} cannot reach it (status {answer.status_code}): start "
                "`surveil web` on the dispatcher's machine."
            )
        return InfrastructureError(
            f"What answers at {self._url} is not surveil's pages (status {answer.status_code}): look at --server."
        )

    def _not_connected(self, error: Exception) -> SurveilError | _Again:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return NotAllowedError(
                    f"The certificate of {self._url} proves nothing ({cause.verify_message}): name the right address "
                    "with --server, or a file with its authority in SSL_CERT_FILE."
                )
            cause = cause.__cause__ or cause.__context__
        return _Again(
            UnreachableError(
                f"Nobody answers at {self._url}; start `surveil web` or `surveil up` on the dispatcher's machine, or "
                "name another address with --server."
            )
        )


class _Again(Exception):
    """It may be answered later; `error` is what is said if there is no time for that."""

    def __init__(self, error: SurveilError, *, after_s: float = AGAIN_S) -> None:
        super().__init__(str(error))
        self.error = error
        self.after_s = after_s


def _gone(sentence: str, once: str | None) -> SurveilError:
    return UnreachableError(sentence) if once is None else InfrastructureError(once)


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 6 else AGAIN_S  # noqa: PLR2004
