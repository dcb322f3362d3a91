"""The conversation with a provider that speaks OpenID Connect: where somebody signs in, and who came back (code flow
with PKCE).

What belongs here: addresses, keys and questions of one provider, and what is kept of its answers. What does not: what a
proof is worth (`proofs`), what tells sign-ins apart (`words`), and what somebody may do who came (`rules`,
`surveil.store.people`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from surveil.calling import Caller
from surveil.errors import NotAllowedError, SurveilError
from surveil.frozen import dataclass
from surveil.web.providers.asking import LOOPBACK, Questions, word_in
from surveil.web.providers.proofs import ProofError, UnknownKeyError, Wanted, claims_of
from surveil.web.providers.rules import Arrival, ProviderRule
from surveil.web.providers.words import begun_words, is_begun, words_of

DISCOVERY: Final = "/.well-known/openid-configuration"
KNOWN_MS: Final = 3_600_000
"""So long what a provider says of itself is believed without asking again."""
KEYS_AGAIN_MS: Final = 60_000
"""Keys are looked at at most so often: whoever comes with a key that nobody knows may make it up."""
TROUBLE_MS: Final = 5_000
"""So long nobody asks a provider again that did not say who it is."""
ADDRESS_CHARACTERS_MAX: Final = 2_000
GROUPS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a provider says of itself. `by_form`: who we are goes into the form and not into a header."""

    sign_in: str
    tokens: str
    keys: str
    people: str | None
    by_form: bool
    says_issuer: bool


class OpenID:
    """See `surveil.web.providers.Provider`; `now` is in milliseconds since 1970."""

    def __init__(self, rule: ProviderRule, caller: Caller, *, back: str, now: Callable[[], int]) -> None:
        self.rule = rule
        self.back = back
        self._questions = Questions(rule, caller)
        self._now = now
        self._lock = asyncio.Lock()
        self._known: _Known | None = None
        self._known_at = 0
        self._keys: Sequence[Mapping[str, Any]] = []
        self._keys_at: int | None = None
        self._keys_asked_at: int | None = None
        self._trouble: SurveilError | None = None
        self._trouble_at = 0

    async def way_there(self, secret: str) -> str:
        """See `Provider`."""
        known, words = await self._learnt(), words_of(secret, self.rule.name)
        asked = {
            "response_type": "code",
            "client_id": self.rule.client_id,
            "redirect_uri": self.back,
            "scope": " ".join(dict.fromkeys(("openid", "profile", *self.rule.scopes))),
            "state": words.state,
            "nonce": words.nonce,
            **words.challenge,
        }
        return f"{known.sign_in}{'&' if '?' in known.sign_in else '?'}{urlencode(asked)}"

    def began(self, secret: str, state: str) -> bool:
        """See `Provider`."""
        return is_begun(secret, self.rule.name, state)

    async def arrival(self, secret: str, *, code: str, state: str, issuer: str | None) -> Arrival:
        """See `Provider`."""
        words = begun_words(secret, self.rule.name, state)
        known = await self._learnt()
        if issuer != self.rule.issuer and (issuer is not None or known.says_issuer):
            raise NotAllowedError(f"This comes from another provider than {self.rule.title}: begin again.")
        with self._questions.saying():
            given = await self._questions.redeemed(
                known.tokens, code, words.verifier, back=self.back, by_form=known.by_form
            )
            wanted = Wanted(issuer=self.rule.issuer, client_id=self.rule.client_id, nonce=words.nonce)
            claims = await self._proven(known, word_in(given, "id_token"), wanted)
            return self._arrival(await self._completed(known, claims, given))

    def _arrival(self, claims: Mapping[str, Any]) -> Arrival:
        called, groups = claims.get(self.rule.name_claim), claims.get(self.rule.groups_claim)
        found = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
        return Arrival(
            rule=self.rule, subject=claims["sub"], called=called if isinstance(called, str) else "",
            groups=frozenset(each for each in found[:GROUPS_MAX] if isinstance(each, str)),
        )  # fmt: skip

    async def _learnt(self) -> _Known:
        """What the provider says of itself, asked at most once at a time."""
        async with self._lock:
            now = self._now()
            if self._known is not None and 0 <= now - self._known_at < KNOWN_MS:
                return self._known
            if self._trouble is not None and 0 <= now - self._trouble_at < TROUBLE_MS:
                raise type(self._trouble)(str(self._trouble))
            try:
                found = await self._questions.document("GET", f"{self.rule.issuer.rstrip('/')}{DISCOVERY}")
                self._known, self._known_at, self._trouble = _known(found, self.rule.issuer), now, None
            except SurveilError as error:
                # From its end on: whoever waited here meanwhile is told the same, and does not wait for it once more.
                self._trouble, self._trouble_at = self._questions.said(error), self._now()
                raise self._trouble from error
            return self._known

    async def _proven(self, known: _Known, token: str, wanted: Wanted) -> dict[str, Any]:
        """What a token says; by keys that are looked at again where its key is unknown, or is another by now."""
        if self._keys_are_old():
            await self._look_at_keys(known, after=self._keys)
        tried = self._keys
        try:
            return claims_of(token, tried, wanted, now=self._now())
        except UnknownKeyError:
            if not await self._look_at_keys(known, after=tried):
                raise
        return claims_of(token, self._keys, wanted, now=self._now())

    def _keys_are_old(self) -> bool:
        return self._keys_at is None or not 0 <= self._now() - self._keys_at < KNOWN_MS

    async def _look_at_keys(self, known: _Known, *, after: Sequence[Mapping[str, Any]]) -> bool:
        """Have other keys than those in `after`; False where they were looked at just now. Those of before stay until
        the provider shows others: an answer without any is an accident, and ends the sign-in of nobody who has a proof
        by them.
        """
        async with self._lock:
            if self._keys is not after:
                return True  # Somebody who came at the same moment looked.
            now, are_old = self._now(), self._keys_are_old()
            patience_ms = TROUBLE_MS if are_old else KEYS_AGAIN_MS
            if self._keys_asked_at is not None and 0 <= now - self._keys_asked_at < patience_ms:
                if are_old:
                    raise ProofError("did not show its keys just now")
                return False
            try:
                keys = (await self._questions.document("GET", known.keys)).get("keys")
            finally:
                self._keys_asked_at = self._now()
            found = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
            if not found:
                raise ProofError("shows no keys by which its proofs could be signed")
            self._keys, self._keys_at = found, now
            return True

    async def _completed(self, known: _Known, claims: dict[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims with those that the provider tells only whoever asks for them."""
        wanted = {self.rule.name_claim} | ({self.rule.groups_claim} if self.rule.needs_groups else set())
        if wanted <= set(claims) or known.people is None:
            return claims
        headers = {"authorization": f"Bearer {word_in(given, 'access_token')}", "accept": "application/json"}
        more = await self._questions.document("GET", known.people, headers=headers)
        if more.get("sub") != claims["sub"]:
            raise ProofError("tells of somebody else than who signed in")
        return {**more, **claims}


def _known(found: Mapping[str, Any], issuer: str) -> _Known:
    """What a provider's own document says. Raises ProofError where it is another's, or lacks what is needed."""
    if found.get("issuer") != issuer:
        raise ProofError(f"says that it is another issuer than {issuer}, which has to be written as it writes it")
    ways = found.get("token_endpoint_auth_methods_supported")
    near = urlsplit(issuer).hostname in LOOPBACK
    return _Known(
        sign_in=_address(found, "authorization_endpoint", near=near),
        tokens=_address(found, "token_endpoint", near=near),
        keys=_address(found, "jwks_uri", near=near),
        people=_address(found, "userinfo_endpoint", near=near) if "userinfo_endpoint" in found else None,
        by_form=isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
        says_issuer=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _address(found: Mapping[str, Any], name: str, *, near: bool) -> str:
    """An address to which people or questions may be sent: encrypted, without a password in it, and on this machine
    only if the provider is: nobody else sends us to what listens here for its neighbours alone.
    """
    value = found.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ProofError(f"does not say its `{name}`")
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError as error:
        raise ProofError(f"has no address as its `{name}`") from error
    safe = (parts.scheme == "https" and (near or host not in LOOPBACK)) or (
        parts.scheme == "http" and near and host in LOOPBACK
    )
    if not safe or not host or "@" in parts.netloc or parts.fragment or len(value) > ADDRESS_CHARACTERS_MAX:
        raise ProofError(f"has an address as its `{name}` to which nobody is sent")
    return value
