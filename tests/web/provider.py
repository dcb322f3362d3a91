"""A provider of identities that is played: it keeps to the protocol, or breaks it in one way.

What belongs here: its answers. What does not: what is expected of us (`test_arriving`).
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from surveil.calling import Answer, CallError

ISSUER: Final = "https://id.example.org"
CLIENT: Final = "surveil"
_KEY: Final = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
_NEXT: Final = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"})


class Played:
    """What `surveil.calling.Caller` is, with only this provider to be called. `claims` change those of the next proof;
    what is None is left out.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.keys: list[Any] = [_KEY]
        self.claims: dict[str, Any] = {}
        self.document: dict[str, Any] = {
            "issuer": ISSUER, "authorization_endpoint": f"{ISSUER}/auth", "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys", "userinfo_endpoint": f"{ISSUER}/me",
        }  # fmt: skip
        self.person: dict[str, Any] = {"sub": "248289761001"}
        self.signing: tuple[str, Any] = ("RS256", _KEY)
        self.instead: dict[str, Answer | CallError] = {}
        """By path what is answered instead."""
        self.now = 0
        self._codes: dict[str, dict[str, str]] = {}

    def rotate(self) -> None:
        """Sign by a new key from now on, and show that one."""
        self.keys, self.signing = [_NEXT], ("ES256", _NEXT)

    def sign_in(self, address: str) -> dict[str, str]:
        """What a browser brings back that was led here, once somebody signed in."""
        asked = {name: found[0] for name, found in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{ISSUER}/auth?")
        assert (asked["client_id"], asked["response_type"], asked["code_challenge_method"]) == (CLIENT, "code", "S256")
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    async def call(
        self, method: str, url: str, *, headers: Mapping[str, str], document: Any = None, content: bytes | None = None
    ) -> Answer:
        await asyncio.sleep(0)
        assert document is None
        path = urlsplit(url).path
        self.asked.append(f"{method} {path}")
        self.headers.append(headers)
        instead = self.instead.get(path)
        if isinstance(instead, CallError):
            raise instead
        return instead or _said(self._answer(path, content or b""))

    def _answer(self, path: str, content: bytes) -> dict[str, Any]:
        match path:
            case "/.well-known/openid-configuration":
                return self.document
            case "/keys":
                return {"keys": [key.as_dict(private=False) for key in self.keys]}
            case "/me":
                return self.person
            case _:
                return self._tokens({name: found[0] for name, found in parse_qs(content.decode()).items()})

    def _tokens(self, form: dict[str, str]) -> dict[str, Any]:
        self.forms.append(form)
        asked = self._codes.pop(form["code"], None)
        challenge = _plain(sha256(form["code_verifier"].encode()).digest())
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return {"error": "invalid_grant"}
        now_s = self.now // 1000
        claims = {
            "iss": ISSUER, "sub": "248289761001", "aud": CLIENT, "iat": now_s, "exp": now_s + 300,
            "nonce": asked["nonce"], "preferred_username": "grace", "groups": ["platform"], **self.claims,
        }  # fmt: skip
        told = {name: value for name, value in claims.items() if value is not None}
        return {"access_token": "at", "token_type": "Bearer", "id_token": self._signed(told)}

    def _signed(self, claims: dict[str, Any]) -> str:
        algorithm, key = self.signing
        if key is not None:
            # What JSON can spell, whether or not it means anything.
            said = json.dumps(claims).encode()
            return jws.serialize_compact({"alg": algorithm, "kid": key.kid}, said, key, algorithms=[algorithm])
        # What no library signs: with nothing, or with what everybody knows.
        parts = [_plain(json.dumps(each).encode()) for each in ({"alg": algorithm, "kid": _KEY.kid}, claims)]
        known = hmac.digest(_KEY.as_pem(private=False), ".".join(parts).encode(), "sha256")
        return ".".join([*parts, _plain(known) if algorithm == "HS256" else ""])


def _plain(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _said(document: dict[str, Any]) -> Answer:
    return Answer(status=400 if "error" in document else 200, headers={}, body=json.dumps(document).encode())
