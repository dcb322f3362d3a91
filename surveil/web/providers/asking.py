"""Questions to one provider, whatever it speaks: with our proof of who we are, and answers that are documents.

What belongs here: one question, what a code is good for, and what goes wrong as a sentence about the provider. What
does not: which questions there are (`openid`, `forges`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from surveil.calling import Answer, Caller, CallError, read_credential
from surveil.errors import InfrastructureError, NotAllowedError, SurveilError, UnreachableError
from surveil.web.providers.proofs import ProofError
from surveil.web.providers.rules import ProviderRule
from surveil.web.providers.words import is_word

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_GOOD: Final = 200
_FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


class Questions:
    """Asks the provider of a rule."""

    def __init__(self, rule: ProviderRule, caller: Caller) -> None:
        self._rule = rule
        self._caller = caller

    async def document(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Mapping[str, Any]:
        """An answer that is an object. Raises ProofError, or CallError."""
        answer = await self._caller.call(method, url, headers=headers or {}, content=content)
        found = self.understood(answer, url)
        # GitHub says so of codes that are good for nothing, with a status that means the opposite.
        if not isinstance(found, dict) or "error" in found:
            raise refusal(answer, url)
        return found

    def understood(self, answer: Answer, url: str) -> Any:
        """What is in a good answer. Raises ProofError for all others, and for one that is no document."""
        if answer.status != _GOOD:
            raise refusal(answer, url)
        if answer.is_cut:
            raise ProofError(f"answers at {_place(url)} with more than anybody reads")
        return answer.document()

    async def redeemed(self, url: str, code: str, verifier: str, *, back: str, by_form: bool) -> Mapping[str, Any]:
        """What a code is good for. With `by_form` who we are goes into the form and not into a header. Raises
        ProofError, CallError, or InfrastructureError.
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back, "code_verifier": verifier}
        headers, who = dict(_FORM), self._rule.client_id
        if self._rule.client_secret_file is None:
            form["client_id"] = who
        else:
            what = f"the secret of the client at {self._rule.title}"
            proof = await asyncio.to_thread(read_credential, self._rule.client_secret_file, what)
            if by_form:
                form |= {"client_id": who, "client_secret": proof}
            else:
                pair = f"{quote_plus(who)}:{quote_plus(proof)}"
                headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        return await self.document("POST", url, headers=headers, content=urlencode(form).encode())

    @contextlib.contextmanager
    def saying(self) -> Iterator[None]:
        """Have what goes wrong be said in a sentence about this provider."""
        try:
            yield
        except SurveilError as error:
            raise self.said(error) from error

    def said(self, error: SurveilError) -> SurveilError:
        """The same as a sentence about this provider."""
        title = self._rule.title
        if isinstance(error, ProofError):
            return NotAllowedError(f"{title} {error}: begin again, and if it stays so, tell an administrator.")
        if isinstance(error, CallError):
            return UnreachableError(f"{title} {error}: try again in a while, or tell an administrator.")
        return error


def refusal(answer: Answer, url: str) -> ProofError:
    """What an answer says that is not what was asked for."""
    found = answer.document()
    # Only a word that the protocol knows: whatever else stands there may be anything.
    error = found.get("error") if isinstance(found, dict) else None
    known = f" (`{error}`)" if isinstance(error, str) and is_word(error) else ""
    return ProofError(f"answers {answer.status}{known} at {_place(url)}")


def word_in(given: Mapping[str, Any], name: str) -> str:
    """A word of an answer that can stand in a header. Raises InfrastructureError."""
    found = given.get(name)
    if not isinstance(found, str) or not found or not found.isascii() or not found.isprintable():
        raise InfrastructureError(f"The provider gives no `{name}`: tell an administrator.")
    return found


def _place(url: str) -> str:
    return urlsplit(url).path or "/"
