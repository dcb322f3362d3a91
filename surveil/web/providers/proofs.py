"""What a provider's proof of who somebody is, an ID token, is worth: whose it is, for whom, and for which sign-in.

What belongs here: signature and claims of a token, against keys that are given. What does not: getting either
(`openid`).

The token says itself by which algorithm it is signed, and a forger says what helps them. So only signatures by keys of
which nobody but the provider has the secret half are looked at, and a key only by an algorithm of its own kind.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from surveil.errors import NotAllowedError
from surveil.frozen import dataclass

CLOCKS_APART_S: Final = 60
SIGNED_S: Final = 600
"""A proof of an earlier sign-in than this one proves nothing."""
SUBJECT_CHARACTERS_MAX: Final = 255
RSA_BITS_LEAST: Final = 2048
"""RFC 7518, 3.3."""
_KINDS: Final = {
    "RS256": "RSA", "RS384": "RSA", "RS512": "RSA", "PS256": "RSA", "PS384": "RSA", "PS512": "RSA",
    "ES256": "EC", "ES384": "EC", "ES512": "EC", "EdDSA": "OKP",
}  # fmt: skip
"""Which kind of key each algorithm takes."""


class ProofError(NotAllowedError):
    """It proves nothing; the sentence is a clause about the provider."""


class UnknownKeyError(ProofError):
    """It is signed by a key that is not among those that are known, or that is another by now under the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the proof has to be about."""

    issuer: str
    client_id: str
    nonce: str


def claims_of(token: str, keys: Sequence[Mapping[str, Any]], wanted: Wanted, *, now: int) -> dict[str, Any]:
    """What a token says, which is so; `now` is in milliseconds since 1970.

    Raises:
        UnknownKeyError: whether it is so could be said with other keys.
        ProofError: it is not so.
    """
    from joserfc import jws, jwt  # noqa: PLC0415  # Only who has a provider needs it.
    from joserfc.errors import BadSignatureError, JoseError  # noqa: PLC0415
    from joserfc.jwk import RSAKey, import_key  # noqa: PLC0415

    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm = header.get("alg")
        key = import_key(dict(_key_for(header, keys)))
        if isinstance(key, RSAKey) and key.public_key.key_size < RSA_BITS_LEAST:
            raise ProofError("signs its proofs by a key that is so short that others could find its secret half")
        registry = jws.JWSRegistry(algorithms=[str(algorithm)], strict_check_header=False)
        claims = jwt.decode(token, key, algorithms=[str(algorithm)], registry=registry).claims
    except BadSignatureError as error:
        raise UnknownKeyError("gives a proof that is not signed by it") from error
    except (JoseError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise ProofError(f"gives a proof that is not signed by it ({type(error).__name__})") from error
    if because := _objection(claims, wanted, now // 1000):
        raise ProofError(f"gives a proof {because}")
    return dict(claims)


def _key_for(header: Mapping[str, Any], keys: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The one key by which a token with this header may be signed."""
    kind = _KINDS.get(str(header.get("alg")))
    if kind is None:
        raise ProofError("signs its proofs by an algorithm that anybody could have used")
    fit = [key for key in keys if key.get("kty") == kind and key.get("use", "sig") == "sig"]
    if "kid" in header:
        fit = [key for key in fit if key.get("kid") == header["kid"]]
    if not fit:
        raise UnknownKeyError("signs its proofs by a key that it does not show")
    if len(fit) > 1:
        raise ProofError("does not say by which of its keys a proof is signed")
    return fit[0]


def _objection(claims: Mapping[str, Any], wanted: Wanted, now_s: int) -> str:
    """Why these claims are not those of this sign-in, as a clause; empty if they are."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    if claims.get("iss") != wanted.issuer:
        return "of another provider"
    if wanted.client_id not in audiences:
        return "that is meant for another service"
    if party != wanted.client_id and (party is not None or len(audiences) > 1):
        return "that another service asked for"
    ends, began, starts = (claims.get(name) for name in ("exp", "iat", "nbf"))
    if not _is_number(ends) or ends <= now_s - CLOCKS_APART_S:
        return "that is too old, or the clocks are apart"
    if not _is_number(began) or not now_s - SIGNED_S <= began <= now_s + CLOCKS_APART_S:
        return "of another time, or the clocks are apart"
    if starts is not None and (not _is_number(starts) or starts > now_s + CLOCKS_APART_S):
        return "for a time to come, or the clocks are apart"
    nonce = claims.get("nonce")
    # Half a character, which JSON can spell, is no byte of anything.
    if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode("utf-8", "replace"), wanted.nonce.encode()):
        return "of another sign-in"
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARACTERS_MAX or not subject.isprintable():
        return "about nobody"
    return ""


def _is_number(value: object) -> TypeGuard[float]:
    """Whether this is an instant: `NaN` is before and after none, and comes after all checks that ask for either."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, int) or math.isfinite(value))
    )
