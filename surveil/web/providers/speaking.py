"""The conversation with one provider: where somebody signs in, and who came back (OpenID Connect, code flow with PKCE).

What belongs here: addresses, keys and questions of one provider, and what is kept of its answers. What does not: what a
proof is worth (`proofs`), and what somebody may do who came (`rules`, `surveil.store.people`).

Nothing is kept here of those who are on their way: a browser has one secret in a cookie, and the three words that
tell one sign-in from all others follow from that secret and the provider's name. So a word of one provider, of another
browser or of an earlier sign-in fits nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

from surveil.calling import Answer, Caller, CallError, read_credential
from surveil.errors import InfrastructureError, NotAllowedError, SurveilError, UnreachableError, UsageError
from surveil.frozen import dataclass
from surveil.web.providers.proofs import ProofError, UnknownKeyError, Wanted, claims_of
from surveil.web.providers.rules import FILE, Arrival, ProviderRule, load_providers

DISCOVERY: Final = "/.well-known/openid-configuration"
KNOWN_MS: Final = 3_600_000
"""So long what a provider says of itself is believed without asking again."""
KEYS_AGAIN_MS: Final = 60_000
"""Keys are looked at at most so often: whoever comes with a key that nobody knows may make it up."""
TROUBLE_MS: Final = 5_000
"""So long nobody asks a provider again that did not say who it is."""
ADDRESS_CHARACTERS_MAX: Final = 2_000
GROUPS_MAX: Final = 10_000
_GOOD: Final = 200
_FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What a provider says of itself. `by_form`: who we are goes into the form and not into a header."""

    sign_in: str
    tokens: str
    keys: str
    people: str | None
    by_form: bool
    says_issuer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """What tells one sign-in from all others; `verifier` is the one that the provider sees last."""

    state: str
    nonce: str
    verifier: str


class Provider:
    """One provider, to which people are led, and from which they come to the address `back`; `now` is in milliseconds
    since 1970.
    """

    def __init__(self, rule: ProviderRule, caller: Caller, *, back: str, now: Callable[[], int]) -> None:
        self.rule = rule
        self.back = back
        self._caller = caller
        self._now = now
        self._lock = asyncio.Lock()
        self._known: _Known | None = None
        self._known_at = 0
        self._keys: list[Mapping[str, Any]] = []
        self._keys_at: int | None = None
        self._trouble: SurveilError | None = None
        self._trouble_at = 0

    async def way_there(self, secret: str) -> str:
        """Where a browser goes that keeps this secret.

        Raises:
            SurveilError: the provider does not say where that is.
        """
        known, words = await self._learnt(), self._words(secret)
        asked = {
            "response_type": "code",
            "client_id": self.rule.client_id,
            "redirect_uri": self.back,
            "scope": " ".join(dict.fromkeys(("openid", "profile", *self.rule.scopes))),
            "state": words.state,
            "nonce": words.nonce,
            "code_challenge": _plain(sha256(words.verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        return f"{known.sign_in}{'&' if '?' in known.sign_in else '?'}{urlencode(asked)}"

    async def arrival(self, secret: str, *, code: str, state: str, issuer: str | None) -> Arrival:
        """Who came back with this code and state to the browser that keeps this secret.

        Raises:
            NotAllowedError: it is not this sign-in's, or proves nothing.
            SurveilError: the provider does not answer.
        """
        words = self._words(secret)
        if not secret or not hmac.compare_digest(state.encode(), words.state.encode()):
            raise NotAllowedError("This is not the sign-in that this browser began: begin it again.")
        known = await self._learnt()
        if issuer != self.rule.issuer and (issuer is not None or known.says_issuer):
            raise NotAllowedError(f"This comes from another provider than {self.rule.title}: begin again.")
        given = await self._redeemed(known, code, words.verifier)
        wanted = Wanted(issuer=self.rule.issuer, client_id=self.rule.client_id, nonce=words.nonce)
        claims = await self._proven(known, _text(given, "id_token"), wanted)
        return self._arrival(await self._completed(known, claims, given))

    def _words(self, secret: str) -> _Words:
        def word(what: str) -> str:
            return _plain(hmac.digest(secret.encode(), f"{what} {self.rule.name}".encode(), "sha256"))

        return _Words(state=word("state"), nonce=word("nonce"), verifier=word("verifier"))

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
                found = await self._asked("GET", f"{self.rule.issuer.rstrip('/')}{DISCOVERY}")
                self._known, self._known_at, self._trouble = _known(found, self.rule.issuer), now, None
            except SurveilError as error:
                self._trouble, self._trouble_at = self._said(error), now
                raise self._trouble from error
            return self._known

    async def _redeemed(self, known: _Known, code: str, verifier: str) -> Mapping[str, Any]:
        """What a code is good for."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.back, "code_verifier": verifier}
        headers, who = dict(_FORM), self.rule.client_id
        if self.rule.client_secret_file is None:
            form["client_id"] = who
        else:
            what = f"the secret of the client at {self.rule.title}"
            proof = await asyncio.to_thread(read_credential, self.rule.client_secret_file, what)
            if known.by_form:
                form |= {"client_id": who, "client_secret": proof}
            else:
                pair = f"{quote_plus(who)}:{quote_plus(proof)}"
                headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        with self._saying():
            return await self._asked("POST", known.tokens, headers=headers, content=urlencode(form).encode())

    async def _proven(self, known: _Known, token: str, wanted: Wanted) -> dict[str, Any]:
        """What a token says; by keys that are looked at again where its key is unknown."""
        with self._saying():
            if self._keys_at is None or not 0 <= self._now() - self._keys_at < KNOWN_MS:
                await self._look_at_keys(known)
            try:
                return claims_of(token, self._keys, wanted, now=self._now())
            except UnknownKeyError:
                if not await self._look_at_keys(known):
                    raise
            return claims_of(token, self._keys, wanted, now=self._now())

    async def _look_at_keys(self, known: _Known) -> bool:
        """Ask for the keys, unless that was done just now; whether it was done."""
        async with self._lock:
            now = self._now()
            if self._keys_at is not None and 0 <= now - self._keys_at < KEYS_AGAIN_MS:
                return False
            self._keys_at = now
            keys = (await self._asked("GET", known.keys)).get("keys")
            self._keys = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
            return True

    async def _completed(self, known: _Known, claims: dict[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The claims with those that the provider tells only whoever asks for them."""
        wanted = {self.rule.name_claim} | ({self.rule.groups_claim} if self.rule.needs_groups else set())
        if wanted <= set(claims) or known.people is None:
            return claims
        with self._saying():
            headers = {"authorization": f"Bearer {_text(given, 'access_token')}", "accept": "application/json"}
            more = await self._asked("GET", known.people, headers=headers)
            if more.get("sub") != claims["sub"]:
                raise ProofError("tells of somebody else than who signed in")
        return {**more, **claims}

    async def _asked(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Mapping[str, Any]:
        """A document. Raises ProofError, or CallError."""
        answer: Answer = await self._caller.call(method, url, headers=headers or {}, content=content)
        found = answer.document()
        if answer.status == _GOOD and isinstance(found, dict):
            return found
        # Only a word that the protocol knows: whatever else stands there may be anything.
        error = found.get("error") if isinstance(found, dict) else None
        known = f" (`{error}`)" if isinstance(error, str) and is_word(error) else ""
        raise ProofError(f"answers {answer.status}{known} at {urlsplit(url).path or '/'}")

    @contextlib.contextmanager
    def _saying(self) -> Any:
        """Have what goes wrong be said in a sentence about this provider."""
        try:
            yield
        except SurveilError as error:
            raise self._said(error) from error

    def _said(self, error: SurveilError) -> SurveilError:
        if isinstance(error, ProofError):
            return NotAllowedError(
                f"{self.rule.title} {error}: begin again, and if it stays so, tell an administrator."
            )
        if isinstance(error, CallError):
            return UnreachableError(f"{self.rule.title} {error}: try again in a while, or tell an administrator.")
        return error


@contextlib.asynccontextmanager
async def opened_providers(
    data: Path, public_url: str | None, now: Callable[[], int]
) -> AsyncIterator[Mapping[str, Provider]]:
    """The providers that the data folder names, by name.

    Raises:
        InvalidError: its file says what cannot be.
        UsageError: nobody could come back from them.
    """
    rules = await asyncio.to_thread(load_providers, data)
    if rules and public_url is None:
        raise UsageError(
            f"{data / FILE} says where people sign in, and they come back to the address of the pages: say it with "
            "--public-url."
        )
    async with contextlib.AsyncExitStack() as stack:
        found: dict[str, Provider] = {}
        for rule in rules:
            caller = await stack.enter_async_context(Caller(private=rule.private))
            found[rule.name] = Provider(rule, caller, back=f"{public_url}/login/{rule.name}/back", now=now)
        yield found


def is_word(text: str) -> bool:
    """Whether this is a word as the protocol has them for what went wrong."""
    return text.isascii() and text.replace("_", "").isalnum() and len(text) <= 60  # noqa: PLR2004  # longer than any


def _known(found: Mapping[str, Any], issuer: str) -> _Known:
    """What a provider's own document says. Raises ProofError where it is another's, or lacks what is needed."""
    if found.get("issuer") != issuer:
        raise ProofError(f"says that it is another issuer than {issuer}, which has to be written as it writes it")
    ways = found.get("token_endpoint_auth_methods_supported")
    return _Known(
        sign_in=_address(found, "authorization_endpoint"),
        tokens=_address(found, "token_endpoint"),
        keys=_address(found, "jwks_uri"),
        people=_address(found, "userinfo_endpoint") if "userinfo_endpoint" in found else None,
        by_form=isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
        says_issuer=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _address(found: Mapping[str, Any], name: str) -> str:
    """An address to which people or questions may be sent: encrypted, and without a password in it."""
    value = found.get(name)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise ProofError(f"does not say its `{name}`")
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError as error:
        raise ProofError(f"has no address as its `{name}`") from error
    safe = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    if not safe or not host or "@" in parts.netloc or parts.fragment or len(value) > ADDRESS_CHARACTERS_MAX:
        raise ProofError(f"has an address as its `{name}` to which nobody is sent")
    return value


def _text(given: Mapping[str, Any], name: str) -> str:
    found = given.get(name)
    if not isinstance(found, str) or not found.isascii() or not found.isprintable():
        raise InfrastructureError(f"The provider gives no `{name}`: tell an administrator.")
    return found


def _plain(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
