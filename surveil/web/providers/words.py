"""The words that tell one sign-in from all others, as long as somebody is on their way to a provider and back.

What belongs here: how they follow from a browser's secret, and what a provider's own word for a mistake looks like.
What does not: who is told which (`openid`, `forges`).

Nothing is kept here of those who are on their way: a browser has one secret in a cookie, and the words follow from that
secret and the provider's name. So a word of one provider, of another browser or of an earlier sign-in fits nowhere.
"""

from __future__ import annotations

import base64
import hmac
from hashlib import sha256
from typing import Final

from surveil.errors import NotAllowedError
from surveil.frozen import dataclass

_WORD_CHARACTERS_MAX: Final = 60
NOT_BEGUN: Final = "This is not the sign-in that this browser began: begin it again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Of one sign-in; `verifier` is the one that the provider sees last."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> dict[str, str]:
        """What the provider is told first of the verifier (PKCE, RFC 7636)."""
        hashed = _plain(sha256(self.verifier.encode()).digest())
        return {"code_challenge": hashed, "code_challenge_method": "S256"}


def words_of(secret: str, provider: str) -> Words:
    """The words of the sign-in at this provider that the browser with this secret began."""

    def word(what: str) -> str:
        return _plain(hmac.digest(secret.encode(), f"{what} {provider}".encode(), "sha256"))

    return Words(state=word("state"), nonce=word("nonce"), verifier=word("verifier"))


def is_begun(secret: str, provider: str, state: str) -> bool:
    """Whether this state is that of the sign-in which the browser with this secret began."""
    return bool(secret) and hmac.compare_digest(state.encode(), words_of(secret, provider).state.encode())


def begun_words(secret: str, provider: str, state: str) -> Words:
    """The words of the sign-in of this state. Raises NotAllowedError where this browser did not begin it."""
    if not is_begun(secret, provider, state):
        raise NotAllowedError(NOT_BEGUN)
    return words_of(secret, provider)


def is_word(text: str) -> bool:
    """Whether this is a word as the protocol has them for what went wrong."""
    return text.isascii() and text.replace("_", "").isalnum() and len(text) <= _WORD_CHARACTERS_MAX


def _plain(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
