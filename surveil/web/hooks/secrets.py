"""The secrets with which forges prove who they are: encrypted at rest, and two of them while one takes the other's
place.

What belongs here: setting and opening them. What does not: rows (`surveil.store.hooks`), and what is proved with them
(`forges`). Imports nothing of the web framework.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from surveil.answer.views import time_text
from surveil.codec import pack_row
from surveil.encryption import DecryptionError, decrypt, encrypt, key_id
from surveil.errors import InfrastructureError, InvalidError, NotFoundError, UsageError
from surveil.frozen import dataclass
from surveil.hands.safe_keys import SafeKeys
from surveil.mirror.place import place_of
from surveil.store.hooks import Hook, Hooks, open_hooks
from surveil.store.sqlite import FILE as DATABASE

KEY_FILE: Final = "hooks.key"
SECRET_CHARACTERS_MIN: Final = 16
"""Whoever has one signed body can try guesses at home, as fast as they like."""
SECRET_CHARACTERS_MAX: Final = 200
OVERLAP_MS: Final = 24 * 3_600_000
"""How long the secret before stays good unless somebody says otherwise."""
_MADE_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A repository, by the name under which its secret was set, and what is good as its secret now."""

    repo: str
    secrets: tuple[bytes, ...]


class HookSecrets:
    """All of an installation. Methods block on a disk, and may be called by any thread."""

    def __init__(self, data: Path, *, going_on: bool = False) -> None:
        """Open or make the file; whoever is `going_on` whatever becomes of it does so as `open_hooks`. Raises as that,
        or `Hooks`, does.
        """
        self.hooks = open_hooks(data) if going_on else Hooks(data)
        self._data = data

    def close(self) -> None:
        """Let go of the file."""
        self.hooks.close()

    def set(self, repo: str, secret: str, *, now: int, overlap_ms: int) -> Hook:
        """Have deliveries for `repo` prove themselves with this secret; the one before stays good for `overlap_ms`.

        Raises:
            UsageError: it cannot be a secret, or `repo` no repository.
        """
        check_secret(secret)
        place = place_of(repo)
        if place is None:
            raise UsageError(f"{repo} is no address of a repository.")

        def changed(before: Hook | None) -> Hook:
            keys = SafeKeys(self._data, KEY_FILE)
            key = keys.current()
            # Encrypted anew, so that one key is enough for both.
            previous = None if before is None else _open(keys, before, before.current)
            return Hook(
                repo=repo, place=place, key=key_id(key), current=encrypt(key, secret.encode(), _bound_to(repo)),
                previous=None if previous is None or not overlap_ms else encrypt(key, previous, _bound_to(repo)),
                previous_until=now + overlap_ms if before is not None else 0,
                created_at=now if before is None else before.created_at, changed_at=now,
                heard_at=None if before is None else before.heard_at,
            )  # fmt: skip

        return self.hooks.change(repo, changed)

    def forget(self, repo: str) -> None:
        """Take no more deliveries for it. Raises NotFoundError."""
        if not self.hooks.remove(repo):
            raise _no_hook(repo)

    def allow(self, repo: str, *, retry: bool) -> None:
        """Let its webhooks ask for builds again, or not any more. Raises NotFoundError."""
        if not self.hooks.allow(repo, retry=retry):
            raise NotFoundError(f"No webhook is known for {repo}; `surveil hook secret {repo}` sets its secret first.")

    def views(self, now: int) -> list[dict[str, Any]]:
        """All of them without anything secret, by repository."""
        retrying = self.hooks.retrying()
        return [hook_view(each, now, may_retry=each.repo in retrying) for each in self.hooks.listed()]

    def view(self, repo: str, now: int) -> dict[str, Any]:
        """One of them in the same way. Raises NotFoundError."""
        found = next((each for each in self.views(now) if each["repo"] == repo), None)
        if found is None:
            raise _no_hook(repo)
        return found

    def at(self, places: Sequence[str], *, now: int) -> list[Opened]:
        """Who may be meant by these places, with what each may be proved with now.

        Raises:
            InfrastructureError: a secret does not open.
        """
        found = self.hooks.at(places)
        if not found:
            return []
        keys = SafeKeys(self._data, KEY_FILE)
        return [Opened(repo=hook.repo, secrets=tuple(_good(keys, hook, now))) for hook in found]


def make_secret() -> str:
    """A new one that nobody can guess."""
    return secrets.token_urlsafe(_MADE_BYTES)


def check_secret(secret: str) -> None:
    """Raise UsageError for what is no secret."""
    if not SECRET_CHARACTERS_MIN <= len(secret) <= SECRET_CHARACTERS_MAX or not secret.isprintable():
        raise UsageError(
            f"A webhook's secret has {SECRET_CHARACTERS_MIN} to {SECRET_CHARACTERS_MAX} printable characters, and no "
            "line break: `surveil hook secret REPO --make` makes one."
        )


def open_secrets(data: Path) -> HookSecrets:
    """Those of the dispatcher whose folder this is. Raises InvalidError where it is not one."""
    if not (data / DATABASE).exists():
        raise InvalidError(f"{data} is not the folder of a dispatcher: name that with --data, on its machine.")
    return HookSecrets(data)


def hook_view(hook: Hook, now: int, *, may_retry: bool = False) -> dict[str, Any]:
    """A hook without anything secret."""
    return {
        "repo": hook.repo,
        "created_at": time_text(hook.created_at),
        "changed_at": time_text(hook.changed_at),
        "previous_until": time_text(hook.previous_until) if _has_previous(hook, now) else None,
        "heard_at": time_text(hook.heard_at),
        "may": "retry" if may_retry else "look",
    }


def _no_hook(repo: str) -> NotFoundError:
    return NotFoundError(f"No webhook is known for {repo}; `surveil hook ls` lists those that are.")


def _has_previous(hook: Hook, now: int) -> bool:
    return hook.previous is not None and now < hook.previous_until


def _good(keys: SafeKeys, hook: Hook, now: int) -> list[bytes]:
    kept = [hook.current]
    if hook.previous is not None and now < hook.previous_until:
        kept.append(hook.previous)
    return [_open(keys, hook, each) for each in kept]


def _open(keys: SafeKeys, hook: Hook, encrypted: bytes) -> bytes:
    key = keys.get(hook.key)
    try:
        if key is not None:
            return decrypt(key, encrypted, _bound_to(hook.repo))
    except DecryptionError:
        pass
    raise InfrastructureError(
        f"The secret of the webhook of {hook.repo} does not open with {keys.path}: put back your copy of that file, or "
        f"type `surveil hook forget {hook.repo}` and set it anew."
    )


def _bound_to(repo: str) -> bytes:
    return b"surveil webhook\0" + pack_row((repo,))
