"""The webhooks of a dispatcher elsewhere, through the pages before it.

What belongs here: their routes. What does not: how they are asked (`surveil.client.over_http`), and their other end
(`surveil.web.api.hooks`).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from surveil.cli.blocking import Pages
from surveil.cli.webhooks import Document, Webhooks
from surveil.client.asking import LOST

_HOOKS: Final = "/api/v1/hooks"
_ONCE: Final = f"{LOST}look with `surveil hook ls`, and type it again."


class WebhooksThere(Webhooks):
    """Asks the pages at an address; the rights are those of the token that is shown there."""

    def __init__(self, pages: Pages, address: str) -> None:
        self._pages = pages
        self._address = address

    def address(self) -> str:
        """Where the pages are, as they were named here."""
        return self._address

    def listed(self) -> list[Document]:
        """All of them."""
        return list(self._pages.request("GET", _HOOKS))

    def set(self, repo: str, secret: str, *, overlap_ms: int) -> Document:
        """Set the secret of one. Said twice, it would take the place of the one that is to stay good for a while."""
        about = {"repo": repo, "secret": secret, "overlap_ms": overlap_ms}
        return dict(self._pages.request("PUT", _HOOKS, about, once=_ONCE))

    def allow(self, repo: str, may: str) -> None:
        """Say what one may ask for."""
        self._pages.request("POST", f"{_HOOKS}/allow", {"repo": repo, "may": may})

    def forget(self, repo: str) -> None:
        """Take no more of them."""
        self._pages.request("DELETE", f"{_HOOKS}?repo={quote(repo, safe='')}", once=_ONCE)
