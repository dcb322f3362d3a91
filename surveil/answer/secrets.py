"""Questions about secrets, checked here: set, list, remove, a new key. No answer ever holds a value.

What belongs here: what such a wish must look like, and how a secret looks to people. What does not: keeping secrets
(`surveil.hands.safe`).
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from surveil.answer import RekeyWish, RemoveSecretWish, SecretWish
from surveil.answer.arguments import Arguments
from surveil.answer.views import time_text
from surveil.core.patterns import read_patterns
from surveil.core.scopes import NAME, Scope, Secret, Source
from surveil.core.spelling import quoted
from surveil.errors import UsageError

VALUE_BYTES_MAX: Final = 48 * 1024
VALUE_BYTES_MIN: Final = 4
"""What is shorter cannot be told from other text in a log, and so not be covered there."""
PATTERN_CHARACTERS_MAX: Final = 1000
PLACE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,499}#[A-Za-z0-9_.-]{1,200}")
"""Where in a Vault a value is: `PATH#FIELD`."""


def set_secret(about: Arguments, who: str) -> SecretWish:
    """A secret to be kept; its value comes in base64, as it may be any bytes."""
    name, scope = _name(about), _scope(about)
    source = about.choice("source", Source)
    encoded = about.text("value", most=2 * VALUE_BYTES_MAX)
    about.finish()
    try:
        value = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise UsageError("The argument `value` must be base64.") from None
    if len(value) > VALUE_BYTES_MAX:
        raise UsageError(f"The secret {name} is larger than {VALUE_BYTES_MAX // 1024} KiB, which is the most.")
    if len(value) < VALUE_BYTES_MIN:
        raise UsageError(
            f"The secret {name} is shorter than {VALUE_BYTES_MIN} bytes: it could not be told from other text in a "
            "log, and so not be covered there."
        )
    if source is Source.VAULT and not PLACE.fullmatch(value.decode(errors="replace")):
        raise UsageError("A place in a Vault is written as PATH#FIELD, like `ci/deploy#token`.")
    return SecretWish(name=name, scope=scope, value=value, source=source, by=who)


def remove_secret(about: Arguments, who: str) -> RemoveSecretWish:
    """A secret to be forgotten."""
    name, scope = _name(about), _scope(about)
    about.finish()
    return RemoveSecretWish(name=name, scope=scope, by=who)


def rekey(about: Arguments, who: str) -> RekeyWish:
    """A new key for all secrets."""
    about.finish()
    return RekeyWish(by=who)


def secret_view(secret: Secret) -> dict[str, Any]:
    """A secret without anything secret."""
    return {
        "name": secret.name,
        "repo": secret.scope.repo or None,
        "ref": secret.scope.ref or None,
        "job": secret.scope.job or None,
        "source": secret.source.value,
        "key": secret.key,
        "created_at": time_text(secret.created_at),
        "changed_at": time_text(secret.changed_at),
    }


def _name(about: Arguments) -> str:
    name = about.text("name", most=200)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{quoted(name)} cannot be a secret's name: use letters, digits and `_`, no digit first, at most 100."
        )
    return name


def _scope(about: Arguments) -> Scope:
    repo, ref, job = (about.text(name, "", most=PATTERN_CHARACTERS_MAX) for name in ("repo", "ref", "job"))
    for text in (repo, job):
        if not text.isprintable() or text != text.strip():
            raise UsageError(f"{quoted(text)} is no pattern for repositories or jobs: it has characters that none has.")
    return Scope(repo=repo, ref=_whole_ref(ref), job=job)


def _whole_ref(ref: str) -> str:
    """A ref as builds have it: `main` is a branch, `tags/v*` are tags."""
    if not ref:
        return ""
    if ref.startswith("!") or ref == "HEAD":
        raise UsageError(f"{quoted(ref)} is no pattern for refs here: write one like main, release/* or tags/v*.")
    (pattern,) = read_patterns([ref]).wanted
    return "*".join(pattern.parts)
