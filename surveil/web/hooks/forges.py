"""How each forge says that something moved: what proves it, what names the delivery, the event and the repository.

What belongs here: headers, signatures and fields of payloads. What does not: secrets (`secrets`), and what becomes of a
delivery (`receiving`). Pure.

Sources: GitHub's "Validating webhook deliveries", GitLab's "Webhooks" and its merge request 230944, Gitea's and
Forgejo's "Webhooks", and the specification of Standard Webhooks 1.0, which GitLab's signatures follow.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import parse_qs

from surveil.errors import UsageError
from surveil.frozen import dataclass

CLOCKS_APART_S: Final = 300
"""A signature with a time in it is good for so long."""
ADDRESSES_MAX: Final = 16
ID_CHARACTERS_MAX: Final = 200
FORM: Final = "application/x-www-form-urlencoded"
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_PREFIX: Final = "sha256="
_STANDARD_KEY: Final = b"whsec_"
_SECONDS: Final = re.compile(r"[0-9]{1,12}")

Headers = Callable[[str], str]
"""The value of a header that was given once; empty where it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What headers prove: `fits` says whether a secret and a body go together with them. Whether that proves the
    delivery's id, and this very body, makes a difference when it comes again.
    """

    fits: Callable[[bytes, bytes], bool]
    of_id: bool = False
    of_body: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What somebody at a forge wants to be built again: what it is called with us, or where that is empty, all of a
    commit; and what they are called there.
    """

    external_id: str
    sha: str
    person: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forge:
    """What tells one forge from another. `proof` is None where the headers prove nothing, whatever the secret is."""

    name: str
    proof: Callable[[Headers, int], Proof | None]
    event: Callable[[Headers], str]
    delivery: Callable[[Headers], str]
    moving: frozenset[str]
    """Events that mean that a ref may have moved."""
    addresses: Callable[[Mapping[str, Any]], Sequence[object]]
    again: Callable[[Headers, Mapping[str, Any]], Again | None] = lambda _headers, _payload: None


# ---- proofs


def _hexadecimal(shown: str) -> Proof | None:
    """HMAC-SHA-256 over the raw body, in hexadecimal."""
    if not _HEX.fullmatch(shown):
        return None
    wanted = bytes.fromhex(shown)
    return Proof(fits=lambda secret, body: hmac.compare_digest(hmac.digest(secret, body, "sha256"), wanted))


def _hub(headers: Headers, _now: int) -> Proof | None:
    shown = headers("x-hub-signature-256")
    return _hexadecimal(shown.removeprefix(_PREFIX)) if shown.startswith(_PREFIX) else None


def _gitea(headers: Headers, _now: int) -> Proof | None:
    return _hexadecimal(headers("x-forgejo-signature") or headers("x-gitea-signature"))


def _gitlab(headers: Headers, now: int) -> Proof | None:
    if headers("webhook-signature"):
        return _standard(headers, now)
    shown = headers("x-gitlab-token").encode("latin-1")
    return Proof(fits=lambda secret, _: hmac.compare_digest(secret, shown), of_body=False) if shown else None


def _generic(headers: Headers, now: int) -> Proof | None:
    return _standard(headers, now) if headers("webhook-signature") else _hub(headers, now)


def _standard(headers: Headers, now: int) -> Proof | None:
    """Standard Webhooks: over the delivery's id, its time and the body, in base64, perhaps by several keys."""
    said_at, shown = headers("webhook-timestamp"), headers("webhook-signature")
    if not _SECONDS.fullmatch(said_at) or abs(now // 1000 - int(said_at)) > CLOCKS_APART_S:
        return None
    wanted = [_base64(each[3:]) for each in shown.split(" ")[:8] if each.startswith("v1,")]
    delivery = headers("webhook-id")
    before = f"{delivery}.{said_at}.".encode("latin-1")

    def fits(secret: bytes, body: bytes) -> bool:
        made = hmac.digest(signing_key(secret), before + body, "sha256")
        return any(hmac.compare_digest(made, each) for each in wanted)

    return Proof(fits=fits, of_id=True) if delivery and any(wanted) else None


def signing_key(secret: bytes) -> bytes:
    """What Standard Webhooks sign with: the bytes that a secret of their form holds, else the secret itself."""
    return _base64(secret.removeprefix(_STANDARD_KEY)) or secret if secret.startswith(_STANDARD_KEY) else secret


def _base64(text: str | bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""


# ---- payloads


def read_payload(body: bytes, content_type: str) -> Mapping[str, Any]:
    """The object in a body, which may be the field of a form. Raises UsageError where there is none."""
    try:
        if content_type.partition(";")[0].strip().lower() == FORM:
            body = parse_qs(body.decode("ascii"), max_num_fields=8)["payload"][0].encode()
        found = json.loads(body)
    except (ValueError, KeyError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            "The body is no JSON object: choose `application/json` in the forge's settings, or send it with the header "
            "`Content-Type: application/json`."
        )
    return found


def _fields(payload: Mapping[str, Any], part: str, names: Sequence[str]) -> list[object]:
    found = payload.get(part)
    return [found.get(name) for name in names] if isinstance(found, dict) else []


def _of_repository(payload: Mapping[str, Any]) -> list[object]:
    return _fields(payload, "repository", ("clone_url", "ssh_url", "git_url", "html_url"))


def _of_project(payload: Mapping[str, Any]) -> list[object]:
    return [
        *_fields(payload, "project", ("git_http_url", "git_ssh_url", "web_url")),
        *_fields(payload, "repository", ("git_http_url", "git_ssh_url", "homepage")),
    ]


def _asked_of_github(headers: Headers, payload: Mapping[str, Any]) -> Again | None:
    """The buttons beside a check run and a suite of them."""
    event = headers("x-github-event")
    if event not in {"check_run", "check_suite"} or payload.get("action") != "rerequested":
        return None
    [sha] = _fields(payload, event, ("head_sha",)) or [""]
    [name] = _fields(payload, "check_run", ("external_id",)) or [""]
    [person] = _fields(payload, "sender", ("login",)) or [""]
    if not isinstance(sha, str) or not isinstance(name, str) or (event == "check_run" and not name):
        return None
    return Again(external_id=name, sha=sha, person=person if isinstance(person, str) else "")


def addresses_in(forge: Forge, payload: Mapping[str, Any]) -> list[str]:
    """Under which addresses the payload knows its repository."""
    return [each for each in forge.addresses(payload) if isinstance(each, str)][:ADDRESSES_MAX]


def told_apart(forge: Forge, proof: Proof, headers: Headers, body: bytes) -> list[bytes]:
    """What tells this delivery from any other, as digests: its id, and unless that is proved, the body that is.

    Whoever has seen a delivery could send it again otherwise, under another id or event, or as if it came from another
    forge, as none of these is signed and several forges sign alike.
    """
    name, delivery = forge.name.encode(), forge.delivery(headers)[:ID_CHARACTERS_MAX].encode("latin-1")
    by_id = [_digest(b"id", name, delivery)] if delivery else []
    if by_id and (proof.of_id or not proof.of_body):
        return by_id
    return [*by_id, _digest(b"body", body)]


def _digest(*parts: bytes) -> bytes:
    return sha256(b"\0".join(parts)).digest()


_PULLS: Final = frozenset({"push", "create", "pull_request"})

FORGES: Final[Mapping[str, Forge]] = {
    forge.name: forge
    for forge in (
        Forge(
            name="github", proof=_hub, moving=_PULLS, addresses=_of_repository, again=_asked_of_github,
            event=lambda headers: headers("x-github-event"), delivery=lambda headers: headers("x-github-delivery"),
        ),
        *(
            Forge(
                name=name, proof=_gitea, moving=_PULLS, addresses=_of_repository,
                event=lambda headers: headers("x-forgejo-event") or headers("x-gitea-event"),
                delivery=lambda headers: headers("x-forgejo-delivery") or headers("x-gitea-delivery"),
            )
            for name in ("gitea", "forgejo")
        ),
        Forge(
            name="gitlab", proof=_gitlab, addresses=_of_project,
            moving=frozenset({"Push Hook", "Tag Push Hook", "Merge Request Hook"}),
            event=lambda headers: headers("x-gitlab-event"),
            # Its `X-Gitlab-Event-UUID` is the same for all that follow from one another.
            delivery=lambda headers: headers("webhook-id") or headers("idempotency-key"),
        ),
        Forge(
            name="generic", proof=_generic, moving=frozenset({"push"}), event=lambda _: "push",
            addresses=lambda payload: [payload.get("repository")], delivery=lambda headers: headers("webhook-id"),
        ),
    )
}  # fmt: skip
PING: Final = "ping"
