"""A button at a forge that has something built again: whether it may, what it means here, and asking for it.

What belongs here: from a wish that a delivery proved to a retry. What does not: proving it (`receiving`), and who may
press the button at the forge, which the forge knows.

Nobody's webhooks may do this unless somebody who runs this installation said so for that repository. What is built
again is a build of that very repository and commit, with the trust and the approval that it had.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from surveil.core.spelling import printable
from surveil.errors import NotFoundError
from surveil.frozen import dataclass
from surveil.mirror.place import place_of
from surveil.say import Voice
from surveil.store.hooks import Hooks
from surveil.web import behalf
from surveil.web.books import Books
from surveil.web.hooks.forges import Again

LOOKED_THROUGH: Final = 200
"""So many of the newest builds are looked through for one of a commit."""
PERSON_CHARACTERS_MAX: Final = 100

voice = Voice("web")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a forge is answered: a status, and a sentence or a document."""

    status: int
    sentence: str = ""
    document: dict[str, Any] | None = None


class Retrying:
    """Has builds of the installation `cluster` built again."""

    def __init__(self, books: Books, hooks: Hooks, cluster: str) -> None:
        self._books = books
        self._hooks = hooks
        self._cluster = cluster

    async def retry(self, repo: str, again: Again, digest: bytes) -> Outcome:
        """Have it built again; the same `digest` of a delivery, of what is proved of it, makes one build.

        Raises:
            SurveilError: it cannot be, or the dispatcher cannot be asked.
        """
        if repo not in await asyncio.to_thread(self._hooks.retrying):
            sentence = f"Webhooks of {repo} may not ask for retries: `surveil hook allow {repo} retry` lets them."
            return Outcome(status=403, sentence=sentence)
        found = await self._meant(repo, again)
        if found is None:
            return Outcome(status=404, sentence="There is no build of this repository and commit by that name here.")
        build, job = found
        person = printable(again.person)[:PERSON_CHARACTERS_MAX] or "somebody"
        behalf.remember(f"{person} at GitHub", behalf.API)
        mid = f"manual:{UUID(bytes=sha256(b'retry' + digest).digest()[:16])}"
        made = (await self._books.ask("retry", {"build": build, "mid": mid, "jobs": [job] if job else []})).body
        voice.info("a webhook asked for a retry", repo=repo, build=build, job=job, made=made["build"], person=person)
        return Outcome(status=202, document={"repo": repo, "heard": "a retry", "build": made["build"]})

    async def _meant(self, repo: str, again: Again) -> tuple[int, str] | None:
        """The build, and the job of it if only that is meant."""
        if not again.external_id:
            return await self._newest(repo, again.sha)
        cluster, _, rest = again.external_id.partition(":")
        number, _, job = rest.partition("/")
        if cluster != self._cluster or not number.isascii() or not number.isdecimal() or len(number) > 15:  # noqa: PLR2004
            return None
        try:
            build = await self._books.build(int(number))
        except NotFoundError:
            return None
        if place_of(build["repo"]) != place_of(repo) or build["sha"] != again.sha:
            return None
        if job and job not in {each["name"] for each in build["jobs"]}:
            return None
        return int(number), job

    async def _newest(self, repo: str, sha: str) -> tuple[int, str] | None:
        """The newest build of a commit."""
        for build in (await self._books.ask("builds", {"limit": LOOKED_THROUGH})).body:
            if build["sha"] == sha and place_of(build["repo"]) == place_of(repo):
                return int(build["id"]), ""
        return None
