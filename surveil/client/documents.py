"""Documents that are larger than one answer: builds with many jobs, long lists, stories, test results.

What belongs here: asking for page after page, and putting them together. What does not: how a question is asked, which
is the dispatcher's client (`asking`) or whoever reads the same store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

from surveil.client import Answered

BUILDS_PAGE: Final = 100
LISTED_PAGE: Final = 1000


class Documents(ABC):
    """Whole documents of whatever answers questions.

    `outage_ms` is how long whoever follows something waits for a dispatcher that is away.
    """

    outage_ms: int

    @abstractmethod
    async def ask(
        self, what: str, about: Mapping[str, Any] | None = None, *, patience_ms: int | None = None
    ) -> Answered:
        """Ask one question and return its answer. Raises SurveilError."""

    async def build(self, build: int) -> dict[str, Any]:
        """One build with all its jobs, however many messages they take."""
        document: dict[str, Any] = (await self.ask("build", {"build": build})).body
        return await self.complete(document)

    async def builds(
        self, *, repo: str | None = None, ref: str | None = None, author: str | None = None, limit: int = 20
    ) -> list[dict[str, Any]]:
        """The newest builds first, each with all its jobs."""
        # A dispatcher of an older version knows no authors, and is not asked for any where nobody is meant.
        named = {} if author is None else {"author": author}
        found: list[dict[str, Any]] = []
        before: int | None = None
        while len(found) < limit:
            about = {"repo": repo, "ref": ref, **named, "limit": min(BUILDS_PAGE, limit - len(found)), "before": before}
            page = (await self.ask("builds", about)).body
            if not page:
                break
            found += [await self.complete(document) for document in page]
            before = found[-1]["id"]
        return found

    async def story(self, build: int, job: str = "") -> list[dict[str, Any]]:
        """The lines of a build's story, or of one of its jobs', however many messages they take."""
        found: list[dict[str, Any]] = []
        at: int | None = 0
        while at is not None:
            page = (await self.ask("story", {"build": build, "job": job, "at": at})).body
            found += page["lines"]
            at = page["next"]
        return found

    async def tests(self, build: int, job: str = "") -> dict[str, Any]:
        """The test results of a build, or of one of its jobs, however many messages they take."""
        document: dict[str, Any] = (await self.ask("tests", {"build": build, "job": job})).body
        while (at := document.pop("next")) is not None:
            page = (await self.ask("tests", {"build": build, "job": job, "at": at})).body
            document["cases"] += page["cases"]
            document["next"] = page["next"]
        return document

    async def listed(self, what: str, about: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        """All of `runners`, `tokens`, `peers` or `artifacts`, however many messages they take."""
        found: list[dict[str, Any]] = []
        while True:
            page = (await self.ask(what, {**(about or {}), "at": len(found), "limit": LISTED_PAGE})).body
            found += page
            if len(page) < LISTED_PAGE:
                return found

    async def complete(self, document: dict[str, Any]) -> dict[str, Any]:
        """A build's document with the jobs that did not fit into its message, fetched page by page."""
        while (jobs_at := document.pop("jobs_next", None)) is not None:
            more = (await self.ask("build", {"build": document["id"], "jobs_at": jobs_at})).body
            document["jobs"] += more["jobs"]
            if "jobs_next" in more:
                document["jobs_next"] = more["jobs_next"]
        return document
