"""For which repositories webhooks may come, as commands look after it.

What belongs here: what commands ask, and of whom. What does not: the dispatcher's folder (`webhooks_here`), the pages
before a dispatcher (`webhooks_there`), and what is said about it (`hooking`).

Both give the documents that `--json` prints, and refuse with the same sentences. Nothing here reads a secret back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from surveil.cli.connecting import site_of
from surveil.cli.settings import client_settings

Document = dict[str, Any]


class Webhooks(ABC):
    """The webhooks that are known. Every method raises SurveilError where they cannot be reached."""

    @abstractmethod
    def address(self) -> str:
        """Where the pages are that webhooks are sent to."""

    @abstractmethod
    def listed(self) -> list[Document]:
        """All of them, by repository."""

    @abstractmethod
    def set(self, repo: str, secret: str, *, overlap_ms: int) -> Document:
        """Have deliveries for `repo` prove themselves with this secret; the one before stays good for `overlap_ms`.
        Raises UsageError.
        """

    @abstractmethod
    def allow(self, repo: str, may: str) -> None:
        """Let its webhooks ask for a `look` alone, or for a `retry` as well. Raises NotFoundError."""

    @abstractmethod
    def forget(self, repo: str) -> None:
        """Take no more of them. Raises NotFoundError."""


@contextmanager
def opened_webhooks(flags: Mapping[str, str | None]) -> Iterator[Webhooks]:
    """Those of the dispatcher whose folder this machine has, or of the one behind the server that was named."""
    settings = client_settings(flags)
    site = site_of(settings, typed=flags.get("dispatcher"))
    if site is None:
        from surveil.cli.webhooks_here import WebhooksHere

        with WebhooksHere(settings.data) as webhooks:
            yield webhooks
        return
    from surveil.cli.blocking import Pages
    from surveil.cli.webhooks_there import WebhooksThere

    with Pages(site) as pages:
        yield WebhooksThere(pages, site.url)
