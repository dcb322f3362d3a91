"""The webhooks in a dispatcher's folder on this machine.

What belongs here: keeping them, and writing down what was done. What does not: their secrets
(`surveil.web.hooks.secrets`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

from surveil.answer.auditing import What
from surveil.cli.webhooks import Document, Webhooks
from surveil.web.hooks.secrets import open_secrets
from surveil.web.links import note_here
from surveil.web.whereabouts import address_of


class WebhooksHere(Webhooks):
    """Opens the folder `data` until the end of a `with`. Raises InvalidError where it is no dispatcher's, and
    StoreError.
    """

    def __init__(self, data: Path) -> None:
        self._data = data
        self._secrets = open_secrets(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._secrets.close()

    def address(self) -> str:
        """Where the pages are."""
        return address_of(self._data)

    def listed(self) -> list[Document]:
        """All of them."""
        return self._secrets.views(_now())

    def set(self, repo: str, secret: str, *, overlap_ms: int) -> Document:
        """Set the secret of one."""
        note_here(self._data, What.HOOK, repo, now=_now())
        self._secrets.set(repo, secret, now=_now(), overlap_ms=overlap_ms)
        return self._secrets.view(repo, _now())

    def allow(self, repo: str, may: str) -> None:
        """Say what one may ask for."""
        note_here(self._data, What.HOOK_ALLOW, repo, detail=may, now=_now())
        self._secrets.allow(repo, retry=may == "retry")

    def forget(self, repo: str) -> None:
        """Take no more of them."""
        note_here(self._data, What.HOOK_FORGET, repo, now=_now())
        self._secrets.forget(repo)


def _now() -> int:
    return time.time_ns() // 1_000_000
